import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from luban.bundle.graph import GraphBuilder
from luban.errors import DataError
from luban.features.kinds import Arrays, Block
from luban.models.base import Refusal
from luban.models.tree_graph import TreeNodes, ensemble, float32_below
from luban.models.trees import Trees
from luban.tasks.base import Head

from .made import BAG, HEADS, INDEX, VECTOR, alone, arrays, built, context, loss_ratio, run, target

OTHER = Block("height/vector/dd", "vector", "height", 1)


def numbers_only(rows: int, seed: int) -> Arrays:
    """Rows whose texts and cities say nothing: trees are shown numbers alone."""
    made = arrays(rows, seed=seed)
    made[BAG.part("weights")] = np.zeros_like(made[BAG.part("weights")])
    made[INDEX.part("value")] = np.full(rows, 4)
    made[VECTOR.part("value")][::7, 0] = np.nan
    return made


def fitted(kind: str):
    made, valid = numbers_only(400, seed=0), numbers_only(120, seed=7)
    here = context(kind, (VECTOR,), valid=valid, y_valid=target(valid, kind, seed=8))
    return Trees(Trees.Config(max_rounds=60)).fit(made, target(made, kind), here)


@pytest.mark.parametrize("kind", list(HEADS))
def test_learns_and_is_the_same_exported(kind):
    model = fitted(kind)
    unseen = numbers_only(500, seed=3)
    assert loss_ratio(model, kind, unseen, target(unseen, kind)) < 0.7
    graph = built(model, HEADS[kind].width)
    answers = run(graph, unseen)
    assert np.abs(answers - model.predict(unseen)).max() <= 1e-6
    assert np.abs(answers[:30] - alone(graph, unseen, 30)).max() <= 1e-6


@given(st.floats(allow_nan=False))
def test_float32_below_asks_the_same_of_every_float32(threshold):
    below = np.float32(float32_below(threshold))
    assert float(below) <= threshold
    with np.errstate(over="ignore"):
        assert float(np.nextafter(below, np.float32(np.inf))) > threshold or below == np.inf


@settings(max_examples=50, deadline=None)
@example(seed=142, scale=1e-3, with_nan=False)  # a threshold at LightGBM's idea of zero
@example(seed=501, scale=1e-3, with_nan=True)  # a split of what is there from what is missing
@given(st.integers(0, 10**6), st.sampled_from([1e-3, 1.0, 1e30]), st.booleans())
def test_exported_trees_agree_at_their_thresholds(seed, scale, with_nan):
    lightgbm = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(300, 3)) * scale).astype(np.float32)
    x[:, 1] = np.round(x[:, 1] / scale)
    if with_nan:
        x[rng.random(x.shape) < 0.2] = np.nan
    y = np.nan_to_num(x[:, 0] / scale) + rng.normal(size=300)
    parameters = {"num_leaves": 15, "min_data_in_leaf": 3, "verbosity": -1, "num_threads": 1, "seed": seed}
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), 10)
    nodes = TreeNodes.of(booster.dump_model(), 1).arrays()
    inner = ~nodes["leaf"]
    hard = np.repeat(x[:1], 3 * inner.sum() + 6, axis=0)
    near = nodes["threshold"][inner].astype(np.float32)
    with np.errstate(over="ignore"):
        around = np.concatenate([near, *(np.nextafter(near, np.float32(end)) for end in (-np.inf, np.inf))])
    hard[np.arange(len(around)), np.tile(nodes["feature"][inner], 3)] = around
    hard[-6:] = np.array([np.nan, np.inf, -np.inf, 1e-36, -1e-36, 3.4e38], np.float32)[:, None]
    graph = GraphBuilder()
    output = ensemble(graph, [graph.take(VECTOR, "value")], nodes, 1)
    answers = run(graph.build(output, 1), {VECTOR.part("value"): hard})
    assert np.abs(answers[:, 0] - booster.predict(hard)).max() <= 1e-5


def test_blocks_stand_side_by_side():
    made = arrays(300)
    made[OTHER.part("value")] = np.random.default_rng(5).normal(size=(300, 1)).astype(np.float32)
    y = made[OTHER.part("value")][:, 0]
    here = context("real", (VECTOR, OTHER), valid=made, y_valid=y)
    model = Trees().fit(made, y, here)
    graph = built(model, 1)
    assert [i.name for i in graph.graph.input] == [VECTOR.part("value"), OTHER.part("value")]
    assert np.abs(run(graph, made)[:, 0] - y).mean() < 0.3


def test_the_same_twice_and_with_another_number_of_threads():
    graphs = []
    for threads in (1, 2, 2):
        made = arrays(400, nan=True)
        here = context("binary", (VECTOR,), num_threads=threads)
        graphs.append(built(Trees().fit(made, target(made, "binary"), here), 1).SerializeToString())
    assert graphs[0] == graphs[1] == graphs[2]


def test_stops_early_and_says_so():
    model = Trees(Trees.Config(max_rounds=2000, patience_rounds=5, learning_rate=0.5))
    made = arrays(100)
    fit = model.fit(made, target(made, "binary"), context("binary", (VECTOR,)))
    assert int(fit.notes.split()[0]) < 500


def test_without_validation_rows_all_rounds_are_grown():
    made = arrays(100)
    nothing = {VECTOR.part("value"): np.zeros((0, 3), np.float32)}
    here = context("real", (VECTOR,), valid=nothing, y_valid=np.zeros(0, np.float32))
    assert Trees(Trees.Config(max_rounds=7)).fit(made, target(made, "real"), here).notes == "7 rounds of trees"


def test_constant_columns_and_unseen_classes():
    made = arrays(120)
    made[VECTOR.part("value")] = np.zeros((120, 3), np.float32)
    y = np.arange(120) % 2 * 2
    model = Trees(Trees.Config(max_rounds=5)).fit(made, y, context("softmax", (VECTOR,), head=Head("softmax", 4)))
    outputs = model.predict(made)
    assert outputs.shape == (120, 4)
    assert np.isfinite(outputs).all()
    assert set(outputs.argmax(axis=1)) <= {0, 2}
    graph = built(model, 4)
    assert np.abs(run(graph, made) - outputs).max() <= 1e-5


def test_one_class_and_several_numbers_are_refused():
    made = arrays(50)
    with pytest.raises(DataError, match="at least two classes"):
        Trees().fit(made, np.zeros(50, np.float32), context("binary", (VECTOR,)))
    assert isinstance(Trees().wants(Head("real", 2)), Refusal)
