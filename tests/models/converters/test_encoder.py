from pathlib import Path

import numpy as np
import pytest

from luban.bundle.graph import GraphBuilder
from luban.checks.tiny import tiny_bert
from luban.features.kinds import take
from luban.features.tokens import Tokens
from luban.models.converters.encoder import PretrainedEncoder
from luban.models.graph_model import GraphModel
from luban.models.linear import Linear
from luban.models.trees import Trees

from ..made import HEADS, context

TEXTS = ["good not bad", "bad", None, "a b c d e f g h i j", "好吃 !"] * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoder"))


def made(folder: Path, **settings):
    converter = PretrainedEncoder(
        PretrainedEncoder.Config.model_validate({"model": str(folder), "max_tokens": 12, **settings})
    )
    tokens = Tokens.fit(TEXTS, converter.wants().config, 0, None)
    block = tokens.block("text")
    arrays = tokens.encode(TEXTS).named(block)
    fitted, train = converter.fit(arrays, block, np.zeros(0), HEADS["binary"], 0)
    return fitted, arrays, train


def test_vectors_have_one_length_and_nothing_is_zero(folder):
    fitted, _, train = made(folder)
    lengths = np.linalg.norm(train[fitted.block.part("value")], axis=1)
    missing = np.array([text is None for text in TEXTS])
    assert np.allclose(lengths[~missing], np.sqrt(16))
    assert (lengths[missing] == 0).all()


def test_a_row_is_the_same_bits_alone(folder):
    fitted, arrays, train = made(folder)
    name = fitted.block.part("value")
    for row in range(6):
        assert np.array_equal(fitted.convert(take(arrays, np.array([row])))[name][0], train[name][row])


def test_settings_and_weights_name_the_block(folder, tmp_path):
    blocks = [
        made(folder)[0].block,
        made(folder, normalize=False)[0].block,
        made(folder, pool="first")[0].block,
        made(tiny_bert(tmp_path, seed=1))[0].block,
    ]
    assert len({block.name for block in blocks}) == 4
    assert made(folder)[0].block == blocks[0]


@pytest.mark.parametrize("family", [Linear, Trees])
def test_read_by_other_families_and_exported_as_one_graph(folder, family):
    fitted, arrays, train = made(folder)
    y = np.array([text is not None and "bad" in text for text in TEXTS], np.float32)
    here = context("binary", (fitted.block,), valid=train, y_valid=y)
    model = family().fit(train, y, here)
    graph = GraphBuilder()
    graph.give(fitted.block, "value", fitted.export(graph))
    data = graph.build(model.export(graph), 1).SerializeToString(deterministic=True)
    assert np.abs(GraphModel(data).predict(arrays) - model.predict(train)).max() <= 1e-5
