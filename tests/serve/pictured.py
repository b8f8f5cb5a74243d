"""A small bundle, made by hand, that tells bright pictures from dark ones; and pictures to ask it with."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from luban.bundle.bundle import HEAD
from luban.bundle.graph import GraphBuilder
from luban.bundle.manifest import Manifest
from luban.bundle.write import Draft, write_bundle
from luban.catalog import FEATURES
from luban.data.binary import data_uri
from luban.data.schema import Schema
from luban.features.kinds import VectorConfig, Want, pad
from luban.models.graph_model import GraphModel
from luban.models.linear import FittedLinear, LinearWeights
from luban.policy.rules import Actor
from luban.release.registry import Registry, Release
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger

from .kept import PASSED
from .tiny import CLASSES

SCHEMA = {
    "columns": [
        {"name": "image", "type": "image"},
        {"name": "stars", "type": "number"},
        {"name": "note", "type": "text"},
        {"name": "label", "type": "category", "role": "target"},
    ]
}


def png(shade: int, width: int = 12, height: int = 10, kind: str = "PNG") -> bytes:
    """A picture of one shade."""
    out = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), shade, np.uint8)).save(out, kind)
    return out.getvalue()


DARK, LIGHT = png(20), png(230)


def b64(data: bytes) -> str:
    """As JSON has it."""
    return base64.b64encode(data).decode()


def write_pictured(folder: Path) -> Manifest:
    """Write it into a new folder: `good` for what is bright."""
    image, stars = FEATURES.make("image"), FEATURES.make("number")
    pixels = image.fit([DARK, LIGHT], Want("vector", VectorConfig()), 0)
    vector = stars.fit([1.0, 5.0], Want("vector", VectorConfig()), 0)
    blocks = (pixels.block("image"), vector.block("stars"))
    arrays = {**pixels.encode([DARK, LIGHT]).named(blocks[0]), **vector.encode([1.0, 5.0]).named(blocks[1])}
    weights = [np.zeros((block.size, 1), np.float32) for block in blocks]
    weights[0][:768] = 0.05
    graph = GraphBuilder()
    fitted = FittedLinear(LinearWeights(blocks, tuple(weights), np.zeros(1, np.float32)))
    data = graph.build(fitted.export(graph), 1).SerializeToString()
    folder.mkdir(parents=True)
    return write_bundle(
        folder,
        Draft(
            name="reviews",
            owner="team",
            purpose="Tell light from dark.",
            task=CLASSES,
            schema=Schema.model_validate(SCHEMA),
            row_steps=(),
            encoders=(("image", pixels), ("stars", vector)),
            graph=data,
            examples={**pad(arrays), HEAD: GraphModel(data).predict(arrays)},
            example_rows=[{"image": data_uri(DARK), "stars": 5.0}, {"image": data_uri(LIGHT)}],
        ),
    )


def pictured(folder: Path) -> Home:
    """A state in which `reviews` has that version."""
    home = Home(Store(folder / "store"), Ledger(folder / "ledger.db"))
    bundle = folder / "bundle"
    identity = write_pictured(bundle).identity
    release = Release("reviews", home.store.publish(bundle), identity, PASSED)
    Registry(home.ledger, home.store).release(release, Actor("ada"))
    return home
