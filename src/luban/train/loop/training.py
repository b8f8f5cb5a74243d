"""The loop: batches in order, gradients, a step, now and then an evaluation, now and then a checkpoint.

Decided here:

- what the clock and the machine decide is settled before the first step (`machine`, `pace`) or recorded after the
  last (`steps`), and replayed: the same decisions give the same bits;
- the best weights are those of the least validation loss, and the module has them in the end;
- a refit has no validation rows: it makes as many epochs as gave the best weights before, on the same
  schedule stretched to the greater number of rows, and keeps the last weights;
- a loss or gradient that is not finite ends training before it touches a weight;
- too little memory for a batch: the batch is cut in two, and again, and the gradients are summed.

Knows no model, no task and no column type.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from luban.catalog import fingerprint
from luban.errors import DataError
from luban.models.base import FitContext
from luban.models.neural.learner import Learner, Trained
from luban.models.neural.recipe import Recipe
from luban.train.loop.checkpoint import Facts, State, generators, pack, restore, unpack
from luban.train.loop.gradients import Gradients, computing, is_out_of_memory
from luban.train.loop.order import batches
from luban.train.loop.pace import Plan, machine, pace, settled
from luban.train.loop.schedule import share
from luban.train.loop.weights import Average, Layers, Steps

WRITING_SHARE = 0.05
"""Of the time: what checkpoints may take, at most."""
PROGRESS_S = 0.1
TRY = "Try a smaller `learning_rate`, a longer `warmup`, a smaller `clip_norm`, or `precision: fp32`."


def train(learner: Learner, recipe: Recipe, context: FitContext) -> Trained:
    """See `luban.models.neural.learner.Loop`."""
    began = time.monotonic()
    with settled(learner):
        layers = Layers(learner, recipe)
        using = machine(learner, recipe, context)
        torch.set_num_threads(using.threads)
        if recipe.frozen_layers:
            with computing(learner, using.precision):
                learner.freeze(recipe.frozen_layers)
        fits = pace(learner, recipe, context, using.precision, began)
        made: list[Trained] = []

        def make() -> dict[str, Any]:
            plan = Plan.first(learner, recipe, using.precision, fits, context.seconds_left)
            run = _Run(learner, recipe, context, layers, plan, began)
            made.append(run.through())
            return run.decision()

        found = context.decide("steps", make)
        if not made:
            plan = Plan.again(learner, recipe, using.precision, found, refit=not len(context.y_valid))
            made.append(_Run(learner, recipe, context, layers, plan, began).through())
        return made[0]


class _Run:
    """One training run: its state, and what is done with it."""

    def __init__(
        self, learner: Learner, recipe: Recipe, context: FitContext, layers: Layers, plan: Plan, began: float
    ) -> None:
        self._learner, self._recipe, self._context, self._plan = learner, recipe, context, plan
        self._layers, self._began = layers, began
        self._validates = len(context.y_valid) > 0
        module = learner.module
        self._steps = Steps(layers, recipe)
        self._average = Average(recipe, layers.learning, plan.horizon // 2)
        self._gradients = Gradients(learner, recipe, plan.precision)
        weights = {**layers.learning, **dict(module.named_buffers())}
        self._facts = Facts(pieces=[list(p) for p in plan.pieces], halved=list(plan.halved))
        self._state = State(weights, layers.learning, self._steps.optimizer, self._average.mean, {}, self._facts)
        shapes = {name: list(tensor.shape) for name, tensor in weights.items()}
        rows = hashlib.sha256(np.ascontiguousarray(learner.lengths).tobytes()).hexdigest()
        self._of = fingerprint([recipe.identity(), context.seed, learner.num_rows, rows, shapes, plan.horizon])
        self._wrote = self._told = time.monotonic()
        self._writing_s = 0.0
        self._epoch = -1
        self._batches: list[np.ndarray] = []

    def through(self) -> Trained:
        """Train to the end, from where an earlier process was, if it was; the module then has the best weights."""
        facts = self._facts
        torch.manual_seed(self._context.seed)
        np.random.seed(self._context.seed % 2**32)  # for learners that draw from NumPy's global generator
        self._resume()
        self._learner.module.train()
        while not facts.ended and facts.step < self._plan.stop and not self._out_of_time():
            self._one_step()
        if facts.step != facts.evaluated:
            self._evaluate()
        facts.ended = True
        self._finish()
        return Trained(
            steps=facts.step,
            best_step=facts.best_step,
            best_loss=math.nan if facts.best_loss is None else facts.best_loss,
            history=tuple(facts.history),
            notes=tuple(facts.notes),
        )

    def decision(self) -> dict[str, Any]:
        """What is recorded of this run, for those that follow it."""
        facts, plan = self._facts, self._plan
        return {
            "steps": facts.step,
            "best_step": facts.best_step,
            "per_epoch": plan.per_epoch,
            "horizon": plan.horizon,
            "halved": facts.halved,
            "pieces": facts.pieces,
        }

    def _one_step(self) -> None:
        facts = self._facts
        self._layers.thaw(facts.step / self._plan.per_epoch)
        loss = self._compute(self._rows())
        norm = self._clip()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._not_finite(loss, norm)
            return
        rate = share(self._recipe, facts.step, self._plan.horizon, facts.halved)
        self._steps.step(rate)
        facts.step += 1
        facts.loss_sum += loss
        facts.loss_count += 1
        self._average.update(facts.step)
        facts.averaged = self._average.count
        if self._plan.evaluates_after(facts.step):
            self._evaluate()
            self._keep(evaluated=True)
        self._keep()
        self._tell(loss)

    def _rows(self) -> list[np.ndarray]:
        """The batches of the next step."""
        epoch, place = divmod(self._facts.step, self._plan.per_epoch)
        if epoch != self._epoch:
            recipe, lengths = self._recipe, self._learner.lengths
            self._batches = batches(lengths, recipe.batch_rows, recipe.bucket, self._context.seed, epoch)
            self._epoch = epoch
        return self._batches[place * self._recipe.accumulate : (place + 1) * self._recipe.accumulate]

    def _compute(self, rows: list[np.ndarray]) -> float:
        """The loss of a step, its gradients set; in smaller pieces where memory is too short."""
        facts = self._facts
        before = generators()
        while True:
            pieces = max((count for step, count in facts.pieces if step <= facts.step), default=1)
            try:
                return self._gradients.compute(rows, pieces)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                said = str(error)
            restore(before)
            self._cut(pieces, said)

    def _cut(self, pieces: int, said: str) -> None:
        """From this step on, twice as many pieces; written down at once, for a resumed run must do the same."""
        facts, size = self._facts, self._recipe.batch_rows
        self._learner.module.zero_grad(set_to_none=True)
        if pieces >= size:
            raise DataError(
                f"Memory is too short to train on a single row (step {facts.step + 1}): {said}",
                "Shorten the inputs, choose a smaller model, or use a machine with more memory.",
            )
        facts.pieces.append([facts.step, pieces * 2])
        facts.notes.append(
            f"memory was short at step {facts.step + 1}: batches of {size} rows are worked through "
            f"in {pieces * 2} pieces, their gradients summed"
        )
        self._keep(at_once=True)

    def _clip(self) -> float:
        """The norm of all gradients before they are scaled down."""
        moved = [p for p in self._layers.learning.values() if p.grad is not None]
        norm = get_total_norm([p.grad for p in moved])
        if self._recipe.clip_norm is not None:
            clip_grads_with_norm_(moved, self._recipe.clip_norm, norm)
        return float(norm)

    def _not_finite(self, loss: float, norm: float) -> None:
        facts = self._facts
        what = f"the loss was {loss}" if not math.isfinite(loss) else f"the gradients' norm was {norm}"
        if not facts.step:
            raise DataError(f"At the first step {what}, so nothing could be learnt.", TRY)
        facts.notes.append(f"at step {facts.step + 1} {what}: training ended with the best weights before it. {TRY}")
        facts.ended = True

    def _evaluate(self) -> None:
        """Ask the validation rows; remember the best weights, and whether it is time to stop."""
        facts = self._facts
        facts.evaluated = facts.step
        row = {
            "step": facts.step,
            "epoch": facts.step / self._plan.per_epoch,
            "learning_rate": self._recipe.learning_rate
            * share(self._recipe, max(facts.step - 1, 0), self._plan.horizon, facts.halved),
        }
        if facts.loss_count:
            row["loss"] = facts.loss_sum / facts.loss_count
        facts.loss_sum, facts.loss_count = 0.0, 0
        if self._validates:
            self._compare(row)
        else:
            facts.best_step = facts.step
        facts.history.append(row)

    def _compare(self, row: dict[str, float]) -> None:
        facts = self._facts
        self._learner.module.eval()
        with self._average.applied(), torch.no_grad():
            found = float(self._learner.validate())
            if math.isfinite(found) and (facts.best_loss is None or found < facts.best_loss):
                better = {name: tensor.detach().clone() for name, tensor in self._state.weights.items()}
                self._state.best.update(better)
                facts.best_loss, facts.best_step, facts.stale = found, facts.step, 0
            else:
                facts.stale += 1
        self._learner.module.train()
        if not math.isfinite(found):
            facts.notes.append(f"after step {facts.step} the validation loss was {found}: training ended. {TRY}")
            facts.ended = True
            return
        row["valid"] = found
        if facts.stale and self._recipe.schedule == "plateau":
            facts.halved.append(facts.step)
        facts.ended = facts.ended or facts.stale >= self._recipe.patience

    def _finish(self) -> None:
        """Load the best weights; averaged ones where there was nothing to choose by."""
        facts = self._facts
        if self._validates and facts.best_loss is None:
            raise DataError(f"No validation loss was finite in {facts.step} steps, so there is no model.", TRY)
        named = self._state.best if self._validates else self._average.mean
        with torch.no_grad():
            for name, tensor in named.items():
                self._state.weights[name].copy_(tensor)
        self._learner.module.zero_grad(set_to_none=True)
        self._learner.module.eval()

    def _resume(self) -> None:
        place = self._context.unfinished
        data = None if place is None else place.read()
        if data is None:
            return
        reason = unpack(data, self._state, self._of)
        if reason is not None:
            self._facts.notes.append(f"what an earlier process left could not be used: {reason}")
            return
        self._average.count = self._facts.averaged
        self._began = time.monotonic() - self._facts.seconds

    def _keep(self, evaluated: bool = False, at_once: bool = False) -> None:
        """Write a checkpoint if it is time; never so often that writing takes more than its share."""
        place, now = self._context.unfinished, time.monotonic()
        since = now - self._wrote
        due = since >= self._recipe.checkpoint_every_s or evaluated
        if place is None or not (at_once or (due and since >= self._writing_s / WRITING_SHARE)):
            return
        self._facts.seconds = now - self._began
        place.write(pack(self._state, self._of))
        self._wrote = time.monotonic()
        self._writing_s = self._wrote - now

    def _out_of_time(self) -> bool:
        return self._facts.step > 0 and time.monotonic() - self._began > self._plan.seconds

    def _tell(self, loss: float) -> None:
        now = time.monotonic()
        if now - self._told < PROGRESS_S:
            return
        self._told = now
        facts = self._facts
        best = "" if facts.best_loss is None else f", best on validation rows {facts.best_loss:.4f}"
        what = f"step {facts.step} of {self._plan.stop}, loss {loss:.4f}{best}"
        self._context.progress(what, facts.step / self._plan.stop)
