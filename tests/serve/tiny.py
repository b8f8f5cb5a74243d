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


def write_tiny(folder: Path, bias: float = 0.0) -> Manifest:
    """Write it into a new folder; another `bias` is another identity."""
    text, stars = FEATURES.make("text"), FEATURES.make("number")
    bag = text.fit(TEXTS, Want("bag", BagConfig(ngram_max=2, min_rows=1)), 0)
    vector = stars.fit(STARS, Want("vector", VectorConfig()), 0)
    blocks = (bag.block("text"), vector.block("stars"))
    arrays = {**bag.encode(TEXTS).named(blocks[0]), **vector.encode(STARS).named(blocks[1])}
    rng = np.random.default_rng(0)
    weights = tuple(rng.normal(size=(block.size, 1)).astype(np.float32) for block in blocks)
    graph = GraphBuilder()
    fitted = FittedLinear(LinearWeights(blocks, weights, np.array([bias], np.float32)))
    data = graph.build(fitted.export(graph), 1).SerializeToString()
    examples = pad(arrays)
    folder.mkdir(parents=True)
    return write_bundle(
        folder,
        Draft(
            name="reviews",
            owner="team",
            purpose="Route unhappy guests to a person.",
            task=TaskSpec(
                kind="binary",
                config={},
                head="binary",
                width=1,
                decoding={"classes": ["bad", "good"], "temperature": 1.0, "threshold": 0.5},
                target="label",
            ),
            schema=Schema.model_validate(SCHEMA),
            row_steps=(),
            encoders=(("text", bag), ("stars", vector)),
            graph=data,
            examples={**examples, HEAD: GraphModel(data).predict(arrays)},
            example_rows=[{"text": TEXTS[0], "stars": 5.0}, {"text": TEXTS[2]}],
        ),
    )


if __name__ == "__main__":
    import sys

    write_tiny(Path(sys.argv[1]))
