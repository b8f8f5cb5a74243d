"""A small real bundle, made by hand: text and a number decide between two classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from luban.bundle.bundle import HEAD
from luban.bundle.graph import GraphBuilder
from luban.bundle.manifest import Manifest, TaskSpec
from luban.bundle.write import Draft, write_bundle
from luban.catalog import FEATURES
from luban.data.schema import Schema
from luban.features.kinds import BagConfig, VectorConfig, Want, pad
from luban.models.graph_model import GraphModel
from luban.models.linear import FittedLinear, LinearWeights

SCHEMA = {
    "columns": [
        {"name": "text", "type": "text"},
        {"name": "stars", "type": "number"},
        {"name": "label", "type": "category", "role": "target"},
    ]
}
TEXTS = ["房间很干净", "很好，下次还来", "隔音太差", "太差了，不来了"]
STARS = [5.0, 4.0, 1.0, None]


CLASSES = TaskSpec(
    kind="binary",
    config={},
    head="binary",
    width=1,
    decoding={"classes": ["bad", "good"], "temperature": 1.0, "threshold": 0.5},
    target="label",
)


def write_tiny(
    folder: Path,
    bias: float = 0.0,
    name: str = "reviews",
    ballast_mb: int = 0,
    left_out: str = "",
    task: TaskSpec = CLASSES,
    target: str = "category",
) -> Manifest:
    """Write it into a new folder; another `bias` is another identity. `ballast_mb`: weights that decide nothing.

    `left_out`: "stars", which the bundle then does not know. `task` reads its one output otherwise, `target` is the
    type of its target.
    """
    text, stars = FEATURES.make("text"), FEATURES.make("number")
    bag = text.fit(TEXTS, Want("bag", BagConfig(ngram_max=2, min_rows=1)), 0)
    vector = stars.fit(STARS, Want("vector", VectorConfig()), 0)
    blocks = (bag.block("text"), vector.block("stars"))
    arrays = {**bag.encode(TEXTS).named(blocks[0]), **vector.encode(STARS).named(blocks[1])}
    encoders = (("text", bag), ("stars", vector))
    row = {"text": TEXTS[0], "stars": 5.0}
    if left_out:
        blocks, encoders, arrays = blocks[:1], encoders[:1], bag.encode(TEXTS).named(blocks[0])
        del row[left_out]
    columns = [column for column in SCHEMA["columns"] if column["name"] != left_out]
    columns[-1] = {**columns[-1], "type": target}
    rng = np.random.default_rng(0)
    weights = tuple(rng.normal(size=(block.size, 1)).astype(np.float32) for block in blocks)
    graph = GraphBuilder()
    fitted = FittedLinear(LinearWeights(blocks, weights, np.array([bias], np.float32)))
    head = fitted.export(graph)
    data = graph.build(_ballast(graph, head, ballast_mb) if ballast_mb else head, 1).SerializeToString()
    examples = pad(arrays)
    folder.mkdir(parents=True)
    return write_bundle(
        folder,
        Draft(
            name=name,
            owner="team",
            purpose="Route unhappy guests to a person.",
            task=task,
            schema=Schema.model_validate({"columns": columns}),
            row_steps=(),
            encoders=encoders,
            graph=data,
            examples={**examples, HEAD: GraphModel(data).predict(arrays)},
            example_rows=[row, {"text": TEXTS[2]}],
        ),
    )


def _ballast(graph: GraphBuilder, head: str, megabytes: int) -> str:
    wide = rng_normal((1, 250))
    deep = rng_normal((250, megabytes * 1000))
    product = graph.node("MatMul", [graph.node("MatMul", [head, graph.constant(wide)]), graph.constant(deep)])
    mean = graph.node("ReduceMean", [product, graph.constant(np.array([1], np.int64))], keepdims=1)
    return graph.node("Add", [head, graph.node("Mul", [mean, graph.constant(np.float32(1e-9))])])


def rng_normal(shape: tuple[int, int]) -> np.ndarray:
    """Numbers that no memory is saved on."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


if __name__ == "__main__":
    import sys

    write_tiny(Path(sys.argv[1]))
