"""What is settled before the first step: threads, precision, how many steps there is time for.

Decided here:

- the number of threads changes the last bits of sums, so it is a decision like the others;
- `auto` is bf16 only where the processor or accelerator has units for it, and where a batch really was
  faster; elsewhere bf16 is emulated and several times slower;
- where time is short, the schedule is planned for as many steps as there is time for, so that it
  still comes to its end; the clock stops training in any case;
- the generators, the number of threads and the switch for deterministic algorithms are put back afterwards.

Knows no model.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from luban.models.base import FitContext
from luban.models.neural.learner import Learner
from luban.models.neural.recipe import Recipe
from luban.train.loop.gradients import Gradients, Precision, is_out_of_memory
from luban.train.loop.order import batches, num_batches

TURNS = 3
"""How often a batch is timed, at most."""
BATCHES_PER_TURN = 50
"""Batches of the whole training for each turn, so that measuring stays a small share of it."""
GAIN = 1.2
"""bf16 is chosen where fp32 takes so many times as long."""
WORTH_S = 0.02
"""Batches that are faster than this stay in fp32: there is nothing to gain."""
RESERVE = 0.9
"""Of the time left: what is planned for."""


@dataclass(frozen=True)
class Machine:
    """The decision `machine`: what steps are computed with."""

    threads: int
    precision: Precision


@dataclass(frozen=True)
class Plan:
    """How far a run goes: `horizon` steps are scheduled, and it ends after `stop` at the latest."""

    precision: Precision
    per_epoch: int
    horizon: int
    stop: int
    evaluations: int
    seconds: float
    halved: tuple[int, ...] = ()
    pieces: tuple[tuple[int, int], ...] = ()

    @classmethod
    def first(cls, learner: Learner, recipe: Recipe, precision: Precision, pace: int | None, seconds: float) -> Plan:
        """As far as the recipe and the clock allow; `pace`: steps that there is time for."""
        per_epoch = steps_per_epoch(learner, recipe)
        bounds = [per_epoch * recipe.epochs, recipe.max_steps, pace]
        horizon = min(bound for bound in bounds if bound is not None)
        return cls(precision, per_epoch, horizon, horizon, recipe.evaluations_per_epoch, seconds)

    @classmethod
    def again(cls, learner: Learner, recipe: Recipe, precision: Precision, found: dict[str, Any], refit: bool) -> Plan:
        """As far as an earlier run went, by its decision `steps`; a refit as far as its best weights."""
        per_epoch = steps_per_epoch(learner, recipe)
        stretch = per_epoch / found["per_epoch"]

        def scaled(steps: int) -> int:
            return max(int(steps * stretch + 0.5), 1)

        return cls(
            precision,
            per_epoch,
            scaled(found["horizon"]),
            scaled(found["best_step"] if refit else found["steps"]),
            recipe.evaluations_per_epoch,
            math.inf,
            tuple(map(scaled, found["halved"])) if refit else (),
            tuple((0 if refit else step, pieces) for step, pieces in found["pieces"]),
        )

    def evaluates_after(self, step: int) -> bool:
        """Whether validation rows are asked after so many steps."""
        each = max(self.evaluations, 1)
        return step * each // self.per_epoch != (step - 1) * each // self.per_epoch


def steps_per_epoch(learner: Learner, recipe: Recipe) -> int:
    """Optimiser steps of an epoch."""
    return num_batches(num_batches(learner.num_rows, recipe.batch_rows), recipe.accumulate)


@contextmanager
def settled(learner: Learner) -> Iterator[None]:
    """Deterministic algorithms inside; threads, generators and switches as they were afterwards."""
    device = next(learner.module.parameters()).device
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what PyTorch asks for
    threads, filled = torch.get_num_threads(), torch.utils.deterministic.fill_uninitialized_memory
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    numpy_state = np.random.get_state()
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        try:
            torch.use_deterministic_algorithms(True)
            torch.utils.deterministic.fill_uninitialized_memory = False
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warns)
            torch.utils.deterministic.fill_uninitialized_memory = filled
            torch.set_num_threads(threads)
            np.random.set_state(numpy_state)


def machine(learner: Learner, recipe: Recipe, context: FitContext) -> Machine:
    """Threads and precision: measured now, or as they were decided before."""

    def make() -> dict[str, Any]:
        torch.set_num_threads(context.num_threads)
        return {"threads": context.num_threads, "precision": _precision(learner, recipe, context.seed)}

    return Machine(**context.decide("machine", make))


def pace(learner: Learner, recipe: Recipe, context: FitContext, precision: Precision, began: float) -> int | None:
    """Steps that there is time for, by one that is timed; None where there is time without end."""

    def make() -> int | None:
        if math.isinf(context.seconds_left):
            return None
        batch_s = _timed(learner, recipe, context.seed, [precision]).get(precision)
        if batch_s is None:
            return None
        left = context.seconds_left - (time.monotonic() - began)
        return max(int(left * RESERVE / max(batch_s * recipe.accumulate, 1e-9)), 1)

    steps: int | None = context.decide("pace", make)
    return steps


def _precision(learner: Learner, recipe: Recipe, seed: int) -> Precision:
    if recipe.precision != "auto":
        return recipe.precision
    if not computes_bf16(next(learner.module.parameters()).device):
        return "fp32"
    taken = _timed(learner, recipe, seed, ["fp32", "bf16"])
    if taken.get("fp32", 0.0) < WORTH_S:
        return "fp32"
    return "bf16" if taken["fp32"] >= GAIN * taken.get("bf16", math.inf) else "fp32"


def _timed(learner: Learner, recipe: Recipe, seed: int, precisions: Sequence[Precision]) -> dict[Precision, float]:
    """Seconds of a typical batch in each precision, the learner left as it was; none where memory is too short."""
    buffers = {name: tensor.clone() for name, tensor in learner.module.named_buffers()}
    try:
        return _fastest(learner, recipe, _typical(learner, recipe, seed), precisions)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return {}  # the loop will cut its batches, and say so
    finally:
        learner.module.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, tensor in learner.module.named_buffers():
                tensor.copy_(buffers[name])


def _typical(learner: Learner, recipe: Recipe, seed: int) -> np.ndarray:
    """The batch that costs what one costs on average, if padding is what it costs."""
    drawn = batches(learner.lengths, recipe.batch_rows, recipe.bucket, seed, 0)
    sizes = np.array([len(rows) * (1 + int(learner.lengths[rows].max(initial=0))) for rows in drawn])
    return drawn[int(np.abs(sizes - sizes.mean()).argmin())]


def _fastest(
    learner: Learner, recipe: Recipe, rows: np.ndarray, precisions: Sequence[Precision]
) -> dict[Precision, float]:
    """Seconds of a batch in each precision: the least of some turns."""
    learner.module.train()
    for precision in precisions:
        Gradients(learner, recipe, precision).compute([rows[:1]])  # whatever is set up at the first call
    planned = num_batches(learner.num_rows, recipe.batch_rows) * recipe.epochs
    if recipe.max_steps is not None:
        planned = min(planned, recipe.max_steps * recipe.accumulate)
    taken: dict[Precision, float] = {}
    for _ in range(min(TURNS, 1 + planned // BATCHES_PER_TURN)):
        for precision in precisions:
            start = time.perf_counter()
            Gradients(learner, recipe, precision).compute([rows])
            taken[precision] = min(taken.get(precision, math.inf), time.perf_counter() - start)
    return taken


def computes_bf16(device: torch.device) -> bool:
    """Whether this hardware computes in bf16 by itself."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    if device.type != "cpu":
        return False
    flags = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, flag, bool)() for flag in flags)
