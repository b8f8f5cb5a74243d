"""Neural models: a net for each column, fused, a head; trained by gradient steps.

A text is read by a *tower* (`towers`), a value of few by its embedding, numbers by a layer; what they give
lies side by side and goes through layers that are common to all. Decided here: everything is drawn from the
seed; the loop is given (`context.loop`), and so is what it decides; numbers come as ranks, which no outlier
can throw. It knows no column type, no task and no loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from luban.catalog import TOWERS, Choice, need, searchable
from luban.choices import OneOf
from luban.features.kinds import Arrays, BagConfig, Block, IndexConfig, Kind, VectorConfig, Want
from luban.features.pretrained import PretrainedFiles
from luban.models.base import Family, FitContext, Fitted, Reading
from luban.models.neural.recipe import Recipe
from luban.models.neural.towers.base import Tower
from luban.tasks.base import Head


class Neural(Family):
    """A neural network over texts, categories and numbers."""

    extra: ClassVar[str] = "neural"
    requires: ClassVar[tuple[str, ...]] = ("torch",)
    costly: ClassVar[bool] = True
    heads: ClassVar[tuple[str, ...]] = ("binary", "softmax", "real")
    weighs: ClassVar[bool] = True
    exempt: ClassVar[dict[str, str]] = {
        "weights_are_rows": "a row that comes twice is met at other steps than one that weighs twice"
    }

    class Config(Reading):
        """What it is made of, and how it is trained."""

        tower: Annotated[Choice, OneOf(TOWERS)] = Field(default_factory=lambda: OneOf(TOWERS).read("conv"))
        """What reads texts: conv, transformer, pretrained or bag, with its settings."""
        embedding_dims: int = Field(16, ge=1)
        """Size of the embedding of a category."""
        number_dims: int = Field(64, ge=1)
        """Size of the layer over the numbers of a column."""
        scale: Literal["standard", "quantile"] = "quantile"
        """How numbers are scaled first."""
        hidden: tuple[int, ...] = (128,)
        """Sizes of the layers above all columns."""
        dropout: float = searchable(0.2, 0.0, 0.5, ge=0, lt=1)
        """Share of figures that is left out in training, in those layers."""
        recipe: Recipe = Recipe()
        """How it is trained; what is not said is as suits the tower."""
        start_from: PretrainedFiles | None = None
        """A folder with the `checkpoint.safetensors` of a former run whose weights are trained on."""

        @model_validator(mode="after")
        def _recipe_suits_tower(self) -> Self:
            suited = TOWERS.resolve(self.tower.kind).recipe
            said = {name: getattr(self.recipe, name) for name in self.recipe.model_fields_set}
            object.__setattr__(self, "recipe", Recipe.model_validate({**suited, **said}))
            return self

    @property
    def tower(self) -> Tower:
        """What reads texts."""
        found: Tower = TOWERS.resolve(self.config.tower.kind)(self.config.tower.config)
        return found

    def wants(self, head: Head) -> Sequence[Want]:
        """What the tower reads, then categories, then numbers, and bags where a column gives nothing else."""
        want = self.tower.want()
        rest = () if want.kind == "bag" else (Want("bag", BagConfig(ngram_max=1, max_terms=20_000)),)
        return (want, Want("index", IndexConfig()), Want("vector", VectorConfig(scale=self.config.scale)), *rest)

    def variants(self, num_rows: int, head: Head, kinds: frozenset[Kind] = frozenset()) -> Sequence[dict[str, Any]]:
        """One: convolutions over texts; over tables a small network."""
        return ({},)

    def fit(self, arrays: Arrays, y: np.ndarray, context: FitContext) -> Fitted:
        """Learn from training rows, in the loop that the context brings."""
        torch = need("torch", "neural")
        from luban.models.neural.fitted import FittedNet, threads
        from luban.models.neural.rows import NetLearner

        assert context.loop is not None, "a neural model needs a training loop in its context"
        count = int(context.decide("threads", lambda: context.num_threads))
        with threads(count), torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            module, notes = self._module(y, context)
            learner = NetLearner(module, arrays, y, context)
            trained = context.loop(learner, self.config.recipe, context)
            learner.thaw_rows()
        return FittedNet(module, context.blocks, count, "; ".join([*notes, *learner.notes, *trained.notes]))

    def gradients(self, checkpoint: Mapping[str, np.ndarray], blocks: Sequence[Block], head: Head) -> Any:
        """The trained network, read back."""
        need("torch", "neural")
        from luban.models.neural.gradients import NetGradients

        return NetGradients.reopened(self, checkpoint, blocks, head)

    def _module(self, y: np.ndarray, context: FitContext) -> tuple[Any, list[str]]:
        """The network before training, from a former run's weights where it is told so; and what to say of it."""
        from luban.models.neural.build import network
        from luban.models.neural.continued import start

        made = network(self, y, context)
        files = self.config.start_from
        return made, [] if files is None else start(made, files)
