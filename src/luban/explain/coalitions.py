"""Which coalitions of n players are asked, and the linear map from what they are worth to Shapley values.

A Shapley value is linear in the worth of coalitions, so for n players, so many coalitions and a seed there is one
`Design`: coalitions [M, n] and weights, the same for every row; it is made once. Decided here:

- all 2^n coalitions where that is allowed, with Shapley's own weights (Shapley 1953);
- else pairs of a coalition and its complement (Covert and Lee, "Improving KernelSHAP", 2021). Half their difference
  is the odd part of the worth, and Shapley values depend on that part alone: for the even part a player's
  contribution to a coalition and to the complement cancel. The odd part is modelled as a Gaussian process over
  coalitions whose covariance falls with each player that differs (Rasmussen and Williams, "Gaussian Processes for
  Machine Learning", 2006, ch. 2), conditioned on what was asked, without noise; the Shapley values of its mean are a
  closed form. Nearly additive worths, which models mostly have, are so met with few coalitions, and interactions of
  three and more players are learnt too, which a linear regression (KernelSHAP) counts as noise. How much less alike
  two coalitions are per player is chosen, of three, by leaving out each of some pairs in turn;
- sizes are drawn alike (Musco and Witter, "Provably Accurate Shapley Value Estimation via Leverage Score Sampling",
  2025), no coalition twice; the full and the empty one are always asked, so that values sum to their difference.

It knows no bundle: players are numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb

import numpy as np

MOST_PLAYERS = 64
"""More than these are brought into groups first."""
MOST_PAIRS = 2048
CORRELATIONS = (0.5, 1.0, 2.0)
"""Over n + 1: how much less alike a coalition's odd part is for each player that differs. Small ones suit worths that
are nearly additive (trees, linear models), large ones such with many interactions (n-grams)."""

JUDGES = 160
"""Pairs by which the correlation is chosen."""
ADDITIVE = 300.0
"""Variance of what each player adds by itself, over that of the covariance: so large that it is not shrunk."""


@dataclass(frozen=True, eq=False)
class Shares:
    """Shapley values [n], and the standard error of each (root of the mean square), None where all was asked."""

    values: np.ndarray
    std_error: float | None


class Design(ABC):
    """Coalitions [M, n] bool, the first full and the last empty, and how their worths become Shapley values."""

    coalitions: np.ndarray

    @abstractmethod
    def shares(self, worth_m: np.ndarray) -> Shares:
        """Shapley values for worths [M]; they sum to worth[0] - worth[-1] to rounding."""


@lru_cache(maxsize=128)
def design(players: int, coalitions: int, seed: int) -> Design:
    """The design of at most so many coalitions, for 1 … `MOST_PLAYERS` players; all of them where they are no more."""
    if 2**players <= coalitions:
        return All(players)
    return Drawn(_drawn(players, min(max(coalitions // 2, 2), MOST_PAIRS), seed))


class All(Design):
    """Every coalition, with Shapley's own weights: exact."""

    def __init__(self, players: int) -> None:
        numbers = np.arange(2**players - 1, -1, -1)
        self.coalitions = (numbers[:, None] >> np.arange(players) & 1).astype(bool)
        sizes = self.coalitions.sum(axis=1)
        inside = np.array([0.0] + [1 / (players * comb(players - 1, s - 1)) for s in range(1, players + 1)])
        outside = np.array([1 / (players * comb(players - 1, s)) for s in range(players)] + [0.0])
        self._weights = np.where(self.coalitions.T, inside[sizes], -outside[sizes])

    def shares(self, worth_m: np.ndarray) -> Shares:
        """Exact values."""
        return Shares(self._weights @ (worth_m - worth_m[-1]), None)


class Drawn(Design):
    """Pairs of coalitions: the full one and the empty one, and others that were drawn. `masks` are the first of each.

    The error is half the difference of two estimates, each from half the pairs: their deviation is that of the whole
    times the root of 2 or more, as errors fall at least as fast as that with more coalitions.
    """

    def __init__(self, masks_pn: np.ndarray) -> None:
        self.coalitions = np.concatenate([masks_pn, ~masks_pn[::-1]])
        self._whole = [_Process(masks_pn, scale) for scale in CORRELATIONS]
        self._judges = [_Process(masks_pn[:JUDGES], scale) for scale in CORRELATIONS]
        order = np.arange(1, len(masks_pn))
        self._parts = [np.concatenate([[0], part]) for part in (order[0::2], order[1::2])]
        self._halves = [[_Process(masks_pn[part], scale) for part in self._parts] for scale in CORRELATIONS]

    def shares(self, worth_m: np.ndarray) -> Shares:
        """Values under the correlation that foretells each pair from the others best."""
        worth_m = np.asarray(worth_m, np.float64)
        odd = (worth_m[: len(worth_m) // 2] - worth_m[: len(worth_m) // 2 - 1 : -1]) / 2
        best = int(np.argmin([process.surprise(odd[:JUDGES]) for process in self._judges]))
        whole = self._whole[best].shapley(odd)
        pair = zip(self._halves[best], self._parts, strict=True)
        first, second = (process.shapley(odd[part]) for process, part in pair)
        return Shares(whole, float(np.sqrt(np.mean((first - second) ** 2))) / 2)


class _Process:
    """The odd part of a worth as a Gaussian process, observed at masks [p, n], the full one first."""

    def __init__(self, masks_pn: np.ndarray, scale: float) -> None:
        self._masks, self._scale = masks_pn, scale

    @property
    def _gram(self) -> np.ndarray:
        """Covariance [p, p] of the observations."""
        players = self._masks.shape[1]
        spins = self._masks * 2.0 - 1
        table = _covariance(players, self._scale / (1 + players))
        gram: np.ndarray = table[np.rint((players - spins @ spins.T) / 2).astype(np.int64)]
        gram[np.diag_indices_from(gram)] += 1e-9 * table[0]
        return gram

    @cached_property
    def _precision(self) -> np.ndarray:
        return np.linalg.inv(self._gram)

    @cached_property
    def _map(self) -> np.ndarray:
        """Shapley values [n, p] of the process' mean per observation."""
        players = self._masks.shape[1]
        mean = _shapley_of_covariance(players, self._scale / (1 + players))
        of_masks = mean[self._masks.astype(np.int64).T, self._masks.sum(axis=1)[None]]
        return np.asarray(np.linalg.solve(self._gram, of_masks.T).T)

    def surprise(self, odd_p: np.ndarray) -> float:
        """Mean squared error of each observation, the full coalition's left out, foretold from all others."""
        missed = (self._precision @ odd_p / np.diag(self._precision))[1:]
        return float(np.mean(missed**2)) if len(missed) else 0.0

    def shapley(self, odd_p: np.ndarray) -> np.ndarray:
        """Values [n]; what rounding leaves of the full coalition's worth is spread over all."""
        found = self._map @ odd_p
        return np.asarray(found + (2 * odd_p[0] - found.sum()) / len(found))


def _drawn(players: int, pairs: int, seed: int) -> np.ndarray:
    """The full coalition, then distinct ones [pairs, n], no two of which are complements; all if there are no more."""
    rng = np.random.default_rng([seed, players, pairs])
    masks = np.ones((1, players), bool)
    powers = np.uint64(1) << np.arange(players, dtype=np.uint64)
    while len(masks) < min(pairs, 2 ** (players - 1)):
        sizes = rng.integers(1, players, 2 * pairs)
        order = rng.random((2 * pairs, players)).argsort(axis=1).argsort(axis=1)
        masks = np.concatenate([masks, order < sizes[:, None]])
        # a coalition and its complement have one code: that of the one without the last player
        codes = np.where(masks[:, -1:], ~masks, masks) @ powers
        first = np.sort(np.unique(codes, return_index=True)[1])
        masks = masks[first[:pairs]]
    return masks


def _covariance(players: int, correlation: float) -> np.ndarray:
    """Covariance [n + 1] of the odd part at two coalitions by how many players differ."""
    differing = np.arange(players + 1)
    near = np.exp((players - differing) * np.log1p(correlation) + differing * np.log1p(-correlation))
    return np.asarray((near - near[::-1]) / 2 + ADDITIVE * correlation * (players - 2 * differing))


@lru_cache(maxsize=256)
def _shapley_of_covariance(players: int, correlation: float) -> np.ndarray:
    """[2, n + 1]: Shapley value, in the game S -> covariance(S, T), of a player outside (0) or inside (1) T, by |T|.

    Covariance is a product over players, so its multilinear extension is one too, and its Shapley value the integral of
    that extension's derivative along the diagonal (Owen, "Multilinear Extensions of Games", 1972): a polynomial of
    degree n - 1, which Gauss-Legendre quadrature integrates exactly.
    """
    nodes, weights = np.polynomial.legendre.leggauss(players // 2 + 1)
    sizes = np.arange(players + 1)[:, None]
    near, far = np.log1p(correlation * nodes), np.log1p(-correlation * nodes)
    with np.errstate(over="ignore"):
        inside = np.exp((sizes - 1) * near + (players - sizes) * far) @ weights
        outside = np.exp(sizes * near + (players - 1 - sizes) * far) @ weights
    found: np.ndarray = correlation * np.stack([-outside - 2 * ADDITIVE, inside + 2 * ADDITIVE])
    return found
