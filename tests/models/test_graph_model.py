import numpy as np

from luban.bundle.graph import GraphBuilder
from luban.features.calls import MAX_ROWS
from luban.features.kinds import take
from luban.models.graph_model import GraphModel
from luban.models.linear import Linear

from .made import arrays, built, context, target


def stored() -> tuple[bytes, Linear]:
    made = arrays(200)
    model = Linear().fit(made, target(made, "binary"), context("binary"))
    return built(model, 1).SerializeToString(deterministic=True), model


def test_answers_in_the_order_of_the_rows_whatever_their_length():
    graph, model = stored()
    many = arrays(2 * MAX_ROWS + 5, seed=2)
    assert np.abs(GraphModel(graph).predict(many) - model.predict(many)).max() <= 1e-5


def test_no_rows_give_no_answers():
    graph, _ = stored()
    assert GraphModel(graph).predict(take(arrays(5), np.array([], np.int64))).shape == (0, 1)


def test_exported_again_it_is_the_same_bytes():
    graph, _ = stored()
    assert built(GraphModel(graph), 1).SerializeToString(deterministic=True) == graph


def test_checkpoint_has_all_constants():
    graph, model = stored()
    sizes = sorted(array.size for array in GraphModel(graph).checkpoint().values())
    weights = sorted(array.size for array in model.checkpoint().values())
    assert set(weights) <= set(sizes)


def test_two_stored_graphs_share_their_inputs():
    graph, _ = stored()
    builder = GraphBuilder()
    both = builder.build(builder.node("Add", [GraphModel(graph).export(builder), GraphModel(graph).export(builder)]))
    assert len(both.graph.input) == 4
