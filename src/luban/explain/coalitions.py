"""Which coalitions of n players are asked, and the linear map from what they are worth to Shapley values.

A Shapley value is linear in the worth of coalitions, so for n players, so many coalitions and a seed there is one
`Design`: coalitions [M, n] and weights [n, M], the same for every row; it is made once. Decided here:

- all 2^n coalitions where that is allowed, with Shapley's own weights (Shapley 1953);
- else pairs of a coalition and its complement (Covert and Lee, "Improving KernelSHAP", 2021). Half their difference
  is the odd part of the worth, and Shapley values depend on that part alone: for the even part a player's
  contribution to a coalition and to the complement cancel. The odd part is modelled as a Gaussian process over
  coalitions whose covariance falls with each player that differs (Rasmussen and Williams, "Gaussian Processes for
  Machine Learning", 2006, ch. 2), conditioned on what was asked, without noise; the Shapley values of its mean are a
  closed form. Nearly additive worths, which models mostly have, are so met with few coalitions, and interactions of
  three and more players are learnt too, which a linear regression (KernelSHAP) counts as noise;
- sizes are drawn alike (Musco and Witter, "Provably Accurate Shapley Value Estimation via Leverage Score Sampling",
  2025), no coalition twice; the full and the empty one are always asked, so that values sum to their difference.

It knows no bundle: players are numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

MOST_PLAYERS = 64
"""More than these are brought into groups first."""


@dataclass(frozen=True, eq=False)
class Design:
    """Coalitions [M, n] bool (the first is full, the last empty), weights [n, M] float64; and for the
    error the weights of two halves that share only the full and the empty one, None where all are asked."""

    coalitions: np.ndarray
    weights: np.ndarray
    halves: tuple[np.ndarray, np.ndarray] | None

    def values(self, worth_m: np.ndarray) -> np.ndarray:
        """Shapley values [n]; they sum to worth[0] - worth[-1] to rounding."""
        found = self.weights @ (worth_m - worth_m[-1])
        gap = worth_m[0] - worth_m[-1] - found.sum()
        return np.asarray(found + gap / max(len(found), 1))

    def error(self, worth_m: np.ndarray) -> np.ndarray | None:
        """Standard error [n], None where values are exact.

        Half the difference of two estimates from half the coalitions each: their deviation is that of the whole
        times the root of 2 or more, as errors fall at least as fast as that with more coalitions.
        """
        if self.halves is None:
            return None
        first, second = (half @ (worth_m - worth_m[-1]) for half in self.halves)
        return np.asarray(np.sqrt(np.mean((first - second) ** 2)) / 2 * np.ones(len(first)))


@lru_cache(maxsize=64)
def design(players: int, coalitions: int, seed: int) -> Design:
    """The design of at most so many coalitions, for 1 … `MOST_PLAYERS` players; all of them where they are no more."""
    if 2**players <= coalitions:
        return _all(players)
    masks = _drawn(players, max(coalitions // 2, 2), seed)
    full = _odd_weights(masks, players)
    order = np.arange(1, len(masks))
    halves = []
    for part in (order[0::2], order[1::2]):
        chosen = np.concatenate([[0], part])
        weights = np.zeros((players, len(masks)))
        weights[:, chosen] = _odd_weights(masks[chosen], players)
        halves.append(_both(weights))
    return Design(np.concatenate([masks, ~masks[::-1]]), _both(full), (halves[0], halves[1]))


def _both(weights_np: np.ndarray) -> np.ndarray:
    """Weights of worths [n, 2 p] from those of odd parts [n, p]; complements stand in reverse order."""
    return np.concatenate([weights_np, -weights_np[:, ::-1]], axis=1) / 2


def _all(players: int) -> Design:
    """Every coalition, the full one first and the empty one last."""
    numbers = np.arange(2**players - 1, -1, -1)
    masks = (numbers[:, None] >> np.arange(players) & 1).astype(bool)
    sizes = masks.sum(axis=1)
    inside = np.array([0.0] + [1 / (players * comb(players - 1, s - 1)) for s in range(1, players + 1)])
    outside = np.array([1 / (players * comb(players - 1, s)) for s in range(players)] + [0.0])
    weights = np.where(masks.T, inside[sizes], -outside[sizes])
    return Design(masks, weights, None)


def _drawn(players: int, pairs: int, seed: int) -> np.ndarray:
    """The full coalition, then distinct ones [pairs, n], no two of which are complements."""
    rng = np.random.default_rng([seed, players, pairs])
    drawn = [np.ones((1, players), bool)]
    seen: set[bytes] = {np.packbits(np.zeros(players, bool)).tobytes(), np.packbits(np.ones(players, bool)).tobytes()}
    count = 1
    while count < pairs:
        sizes = rng.integers(1, players, 2 * pairs)
        order = rng.random((2 * pairs, players)).argsort(axis=1).argsort(axis=1)
        masks = order < sizes[:, None]
        fresh: list[np.ndarray] = []
        for row, key, other in zip(masks, _keys(masks), _keys(~masks), strict=True):
            if count + len(fresh) < pairs and key not in seen:
                seen.update((key, other))
                fresh.append(row)
        count += len(fresh)
        drawn.append(np.array(fresh, bool).reshape(-1, players))
    return np.concatenate(drawn)


def _keys(masks: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(masks, axis=1)]


def _odd_weights(masks_pn: np.ndarray, players: int) -> np.ndarray:
    """[n, p]: Shapley values of the process' mean, per odd part that was observed at the masks."""
    correlation = 1 / (1 + players)
    spins = masks_pn * 2.0 - 1
    differing = np.rint((players - spins @ spins.T) / 2).astype(np.int64)
    table = _covariance(players, correlation)
    gram = table[differing]
    gram[np.diag_indices_from(gram)] += 1e-9 * table[0]
    mean = _shapley_of_covariance(players, correlation)
    of_masks = mean[masks_pn.astype(np.int64).T, masks_pn.sum(axis=1)[None]]
    found: np.ndarray = np.linalg.solve(gram, of_masks.T).T
    return found


def _covariance(players: int, correlation: float) -> np.ndarray:
    """Covariance [n + 1] of the odd part at two coalitions by how many players differ."""
    differing = np.arange(players + 1)
    near = np.exp((players - differing) * np.log1p(correlation) + differing * np.log1p(-correlation))
    return np.asarray((near - near[::-1]) / 2)


@lru_cache(maxsize=256)
def _shapley_of_covariance(players: int, correlation: float) -> np.ndarray:
    """[2, n + 1]: Shapley value, in the game S -> covariance(S, T), of a player outside (0) or inside (1) T, by |T|."""
    table = _covariance(players, correlation)
    found = np.zeros((2, players + 1))
    for size in range(players + 1):
        for inside in (0, 1):
            others_in, others_out = size - inside, players - size - (1 - inside)
            if others_in < 0 or others_out < 0:
                continue
            total = 0.0
            for drawn in range(players):
                low, high = max(0, drawn - others_out), min(others_in, drawn)
                for both in range(low, high + 1):
                    share = comb(others_in, both) * comb(others_out, drawn - both) / comb(players - 1, drawn)
                    differ = others_in - both + drawn - both
                    with_it, without = (differ, differ + 1) if inside else (differ + 1, differ)
                    total += share * (table[with_it] - table[without])
            found[inside, size] = total / players
    return found
