"""A package of a third party: a column type, a model family and a gate, each as one class."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from luban.errors import BadValue
from luban.features.base import Encoder, EncoderState, Feature, Guess, Parts
from luban.features.kinds import Encoded, VectorConfig, Want
from luban.models.base import Family, Fitted, Refusal
from luban.release.gates.base import Gate


class VersionParts(Parts):
    """A version is one part."""

    def without(self, removed: Any) -> Any:
        """Nothing, if its one part is taken."""
        return None if len(removed) else self.value


class VersionVector(Encoder):
    """Major, minor, patch, and whether the version is missing."""

    array_kind: ClassVar[Any] = "vector"
    size = 4

    @classmethod
    def fit(cls, values: Any, config: Any, seed: int, subjects: Any) -> VersionVector:
        """Nothing to learn."""
        return cls(config)

    @classmethod
    def restore(cls, state: EncoderState) -> VersionVector:
        """From its settings."""
        return cls(VectorConfig.model_validate(state.json["config"]))

    def state(self) -> EncoderState:
        """Its settings."""
        return EncoderState({"config": self.config.identity()})

    def encode(self, values: Any) -> Encoded:
        """[B, 4] float32."""
        rows = [[*map(float, v.split(".")), 0.0] if v is not None else [0.0, 0.0, 0.0, 1.0] for v in values]
        present = np.array([v is not None for v in values], bool)
        return Encoded({"value": np.array(rows, np.float32).reshape(len(values), 4), "present": present})


class Version(Feature):
    """Versions such as 1.12.3."""

    storage = pa.string()
    encoders: ClassVar[Any] = {"vector": VersionVector}
    samples = ("1.2.3", "0.0.1", "10.20.30", "2.0.0")

    def infer(self, sample: Any) -> Guess | None:
        """Sure, where all are three numbers with dots."""
        fits = sum(bool(re.fullmatch(r"\d+\.\d+\.\d+", value)) for value in sample)
        return Guess(0.99, "versions") if sample and fits == len(sample) else None

    def parse_value(self, raw: Any) -> Any:
        """Three numbers with dots."""
        if raw is None or not str(raw).strip():
            return None
        text = str(raw).strip()
        if not re.fullmatch(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}", text):
            raise BadValue("must look like 1.2.3")
        return text

    def parts(self, value: Any) -> Parts:
        """The version itself."""
        return VersionParts((str(value),), value)

    def signals(self, values: Any) -> dict[str, np.ndarray]:
        """The major version."""
        return {"major": np.array([np.nan if v is None else float(v.split(".")[0]) for v in values])}


class Centroids(Fitted):
    """One centre a class; the answer is by distance."""

    def __init__(self, block: Any, centres: np.ndarray) -> None:
        super().__init__()
        self.block, self.centres = block, centres.astype(np.float32)
        self.weights = (2 * (self.centres[1] - self.centres[0]))[:, None]
        self.bias = np.float32((self.centres[0] ** 2).sum() - (self.centres[1] ** 2).sum())

    def predict(self, arrays: Any) -> np.ndarray:
        """Difference of squared distances, [B, 1]."""
        return arrays[self.block.part("value")] @ self.weights + self.bias

    def export(self, graph: Any) -> str:
        """One product and one sum."""
        product = graph.node("MatMul", [graph.take(self.block, "value"), graph.constant(self.weights)])
        return str(graph.node("Add", [product, graph.constant(self.bias)]))

    def checkpoint(self) -> dict[str, np.ndarray]:
        """The centres."""
        return {"centres": self.centres}


class Nearest(Family):
    """Nearest centroid of the first vector column, for two classes."""

    heads = ("binary",)

    def wants(self, head: Any) -> Any:
        """Vectors."""
        if head.width > 1:
            return Refusal("it knows two classes, not several tags")
        return [Want("vector", VectorConfig())]

    def fit(self, arrays: Any, y: np.ndarray, context: Any) -> Centroids:
        """The mean of each class."""
        x = arrays[context.blocks[0].part("value")]
        return Centroids(context.blocks[0], np.stack([x[y == 0].mean(axis=0), x[y == 1].mean(axis=0)]))


class HasLongPurpose(Gate):
    """The purpose has at least five words."""

    code = "ACME-1"
    title = "Is the purpose said in at least five words?"

    def check(self, case: Any) -> Any:
        """Count them."""
        words = len(case.project["purpose"].split())
        return self.passed(f"{words} words.") if words >= 5 else self.failed(f"{words} words.", "Say more.")
