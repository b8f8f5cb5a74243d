import numpy as np
import onnx
import pytest
from onnx import helper

from luban.bundle.graph import GraphBuilder
from luban.errors import BundleError
from luban.features.kinds import Block

AGE = Block("age/vector/00", "vector", "age", 2)
TEXT = Block("text/bag/11", "bag", "text", 9)


def doubled(graph: GraphBuilder, factor: float = 2) -> str:
    return graph.node("Mul", [graph.take(AGE, "value"), graph.constant(np.float32(factor))])


def model(factor: float = 2) -> onnx.ModelProto:
    graph = GraphBuilder()
    return graph.build(doubled(graph, factor), 2)


def test_equal_constants_are_kept_once():
    graph = GraphBuilder()
    table = np.ones((1000, 2))
    first, second = graph.constant(table), graph.constant(table.astype(np.float32))
    assert first == second
    assert graph.constant(np.ones((2, 1000))) != first


def test_inputs_are_shared_and_typed():
    graph = GraphBuilder()
    summed = graph.node("Add", [doubled(graph), graph.take(AGE, "value")])
    assert [i.name for i in graph.build(summed).graph.input] == ["age/vector/00.value"]
    assert graph.take(TEXT, "ids") == "text/bag/11.ids"


def test_what_a_converter_gives_stands_for_the_input():
    graph = GraphBuilder()
    graph.give(AGE, "value", graph.node("Cast", [graph.take(TEXT, "weights")], to=1))
    assert [i.name for i in graph.build(doubled(graph)).graph.input] == ["text/bag/11.weights"]


def test_what_is_not_needed_is_left_out():
    graph = GraphBuilder()
    doubled(graph, 7)
    kept = graph.build(graph.node("Neg", [graph.take(TEXT, "weights")]))
    assert [node.op_type for node in kept.graph.node] == ["Neg", "Identity"]
    assert not kept.graph.initializer
    assert [i.name for i in kept.graph.input] == ["text/bag/11.weights"]


def test_an_absorbed_model_gives_the_bytes_of_its_own_export():
    direct, merged = GraphBuilder(), GraphBuilder()
    sums = [
        direct.node("Add", [doubled(direct, 2), doubled(direct, 3)]),
        merged.node("Add", [merged.absorb(model(2)), merged.absorb(model(3))]),
    ]
    assert direct.build(sums[0], 2).SerializeToString() == merged.build(sums[1], 2).SerializeToString()


def test_absorbing_twice_shares_inputs_and_constants():
    graph = GraphBuilder()
    both = graph.build(graph.node("Sub", [graph.absorb(model()), graph.absorb(model())]))
    assert len(both.graph.input) == len(both.graph.initializer) == 1


def test_an_input_alone_is_a_model():
    graph = GraphBuilder()
    again = GraphBuilder()
    assert again.absorb(graph.build(graph.take(AGE, "value"), 2)) == "age/vector/00.value"


@pytest.mark.parametrize("spoil", ["opset", "head", "body"])
def test_a_foreign_model_is_refused(spoil):
    foreign = model()
    if spoil == "opset":
        foreign.opset_import[0].version = 17
    elif spoil == "head":
        foreign.graph.node[-1].output[0] = "other"
    else:
        foreign.graph.node[0].attribute.append(helper.make_attribute("body", foreign.graph))
    with pytest.raises(BundleError, match="graph to merge"):
        GraphBuilder().absorb(foreign)
