import numpy as np
import pytest

from luban.bundle.graph import GraphBuilder
from luban.catalog import CONVERTERS
from luban.features.kinds import Arrays
from luban.models.base import FittedConverter
from luban.models.converters.svd import Svd
from luban.models.converters.target_encoding import TargetEncoding
from luban.models.trees import Trees

from ..made import BAG, HEADS, INDEX, alone, arrays, context, run, target

SOURCES = {"svd": BAG, "target-encoding": INDEX}


def fit(name: str, kind: str, made: Arrays) -> tuple[FittedConverter, Arrays]:
    settings = {"dims": 10} if name == "svd" else {}
    return CONVERTERS.make(name, settings).fit(made, SOURCES[name], target(made, kind), HEADS[kind], 0)


def graph_of(fitted: FittedConverter):
    graph = GraphBuilder()
    return graph.build(fitted.export(graph), fitted.block.size)


@pytest.mark.parametrize("kind", list(HEADS))
@pytest.mark.parametrize("name", list(SOURCES))
def test_the_same_bits_exported(name, kind):
    made = arrays(300)
    fitted, train = fit(name, kind, made)
    value = fitted.block.part("value")
    assert train[value].shape == (300, fitted.block.size)
    assert train[value].dtype == np.float32
    unseen = arrays(100, seed=5)
    graph = graph_of(fitted)
    # exactly equal, as trees may ask for any threshold
    assert (run(graph, unseen, extra_padding=99) == fitted.convert(unseen)[value]).all()
    assert (alone(graph, unseen, 20) == fitted.convert(unseen)[value][:20]).all()


@pytest.mark.parametrize("name", list(SOURCES))
def test_the_same_seed_gives_the_same(name):
    made = arrays(300)
    (first, train), (second, again) = (fit(name, "binary", made) for _ in range(2))
    assert first.block == second.block
    assert all((train[part] == again[part]).all() for part in train)


def test_trees_over_a_converted_block_are_one_graph():
    made = arrays(300)
    fitted, train = fit("svd", "binary", made)
    valid = context("binary").valid
    here = context("binary", (fitted.block,), valid=valid | fitted.convert(valid))
    model = Trees(Trees.Config(max_rounds=20)).fit(train, target(made, "binary"), here)
    graph = GraphBuilder()
    graph.give(fitted.block, "value", fitted.export(graph))
    whole = graph.build(model.export(graph), 1)
    unseen = arrays(100, seed=5)
    assert np.abs(run(whole, unseen) - model.predict(fitted.convert(unseen))).max() <= 1e-6


def test_svd_keeps_what_a_small_bag_holds():
    made = arrays(100)
    fitted, _ = Svd(Svd.Config(dims=500)).fit(made, BAG, target(made, "binary"), HEADS["binary"], 0)
    assert fitted.block.size == BAG.size


def test_target_encoding_draws_rare_values_to_the_prior():
    ids = np.array([2] * 100 + [3] * 100 + [4])
    y = np.array([1.0] * 100 + [0.0] * 100 + [1.0], np.float32)
    made = {INDEX.part("value"): ids, INDEX.part("present"): np.ones(201, bool)}
    table = TargetEncoding().fit(made, INDEX, y, HEADS["binary"], 0)[0].checkpoint()["table"][:, 0]
    prior = y.mean()
    assert table[2] > 0.9
    assert table[3] < 0.1
    assert prior < table[4] < 0.6
    assert table[[0, 1, 7]] == pytest.approx(prior)


def test_a_training_row_does_not_read_its_own_target():
    rng = np.random.default_rng(0)
    rows = 600
    made = {INDEX.part("value"): rng.integers(2, INDEX.size, rows), INDEX.part("present"): np.ones(rows, bool)}
    y = rng.integers(0, 2, rows).astype(np.float32)
    inside = np.flatnonzero(np.random.default_rng(0).permutation(rows) % 5 == 0)
    swapped = y.copy()
    swapped[inside] = rng.permutation(y[inside])  # the prior stays as it was
    before, after = (
        next(
            array
            for name, array in TargetEncoding().fit(made, INDEX, t, HEADS["binary"], 0)[1].items()
            if ".value" in name
        )
        for t in (y, swapped)
    )
    assert (before[inside] == after[inside]).all()
    assert (before != after).any()
