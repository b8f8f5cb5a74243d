"""What is tried, kept and refused: a network made by hand, and a linear model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save

from luban.bundle.bundle import Bundle
from luban.bundle.graph import GraphBuilder
from luban.bundle.write import GRAPH, with_graph
from luban.catalog import COMPRESSORS, Choice
from luban.compress.base import CompressContext
from luban.compress.config import CompressConfig
from luban.compress.run import compress
from luban.compress.trial import Rule, quality
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.run import evaluate_bundle
from luban.models.base import Refusal
from luban.models.graph_model import GraphModel
from luban.train.encode import Rows

from .made import FAST, SURE, Made, linear, network

RULE = Rule(max_drop=0.02, size_mb=None, min_gain=0.1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return linear(tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="module")
def wide(plain: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return network(plain, tmp_path_factory.mktemp("network") / "trained")


def run(made: Made, out: Path, times: dict[str, Any], rule: Rule = RULE, **config: Any) -> dict[str, Any]:
    out.mkdir()
    settings = CompressConfig(calibration_rows=100, **config)
    return compress(made.folder, made.data, settings, rule, out, lambda key, make: times, lambda what, share: None)


def test_a_network_is_kept_in_int8(wide: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tried,) = run(wide, out, FAST)["tried"]
    assert (tried["status"], tried["code"]) == ("accepted", "faster"), tried
    assert tried["drop"] <= 0.02
    assert tried["before"] > 0.8, "the network must be worth keeping"
    before, after = wide.bundle, Bundle.load(out / "bundle")
    assert after.identity != before.identity
    assert after.rounds
    assert not before.rounds
    assert (out / "bundle" / GRAPH).stat().st_size < 0.4 * (wide.folder / "bundle" / GRAPH).stat().st_size
    types = {node.op_type for node in onnx.load(out / "bundle" / GRAPH).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types
    outputs = load_file(out / "outputs.safetensors")
    assert np.array_equal(outputs["uncompressed"], load_file(wide.folder / "outputs.safetensors")["model"])
    answered = after.run(wide.data.arrays(after.encoders, "test"))
    assert np.abs(outputs["model"] - answered).max() < 0.05
    assert not list(out.glob("try-*"))
    assert json.loads((out / "training.json").read_bytes())["compression"]["chosen"] == "int8"


def test_a_network_in_double_precision_is_made_single_first(plain: Made, tmp_path: Path) -> None:
    made = network(plain, tmp_path / "trained", in_double=True)
    (tried,) = run(made, tmp_path / "out", FAST)["tried"]
    assert (tried["status"], tried["code"]) == ("accepted", "faster"), tried
    graph = onnx.load(tmp_path / "out" / "bundle" / GRAPH).graph
    casts = [node.attribute[0].i for node in graph.node if node.op_type == "Cast"]
    assert onnx.TensorProto.DOUBLE not in casts
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) == 3


def test_the_compressed_is_compared_on_test_rows(wide: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(wide, out, FAST)
    bundle = Bundle.load(out / "bundle")
    config = EvaluateConfig(num_resamples=200)
    found = evaluate_bundle(bundle, None, wide.data.dataset, out, 0, config).evaluation
    assert found["comparisons"]["uncompressed"]["difference"] is not None
    assert abs(found["comparisons"]["uncompressed"]["difference"]) < 0.05


def test_what_is_lost_is_measured_on_the_model_before_its_refit(wide: Made, tmp_path: Path) -> None:
    """Here that model knows nothing: the figures are its own, on rows that it never saw, not those of the bundle."""
    refitted, ignorant = tmp_path / "refitted", tmp_path / "ignorant"
    shutil.copytree(wide.folder, refitted)
    network(wide, ignorant, shuffled=True)
    (refitted / "judged").mkdir()
    (ignorant / "bundle").rename(refitted / "judged" / "bundle")
    splits = wide.data.dataset.splits
    rows = np.arange(splits["train"] + splits["valid"])
    unseen = rows % 5 == 0
    (refitted / "judged" / "rows.safetensors").write_bytes(save({"train": rows[~unseen], "valid": rows[unseen]}))
    (tried,) = run(Made(refitted, wide.data), tmp_path / "out", FAST)["tried"]
    assert tried["before"] < 0.75 < run(wide, tmp_path / "plain", FAST)["tried"][0]["before"]
    after, graph = Bundle.load(refitted / "judged" / "bundle"), refitted / "judged" / "bundle" / GRAPH
    both = wide.data.with_rows({"train": Rows(("train", "valid")), "valid": Rows(()), "test": Rows(())})
    outputs = GraphModel(graph.read_bytes()).predict(both.arrays(after.encoders, "train"))[unseen]
    assert tried["before"] == quality(after, (outputs, outputs), both.y("train")[unseen])["before"]
    left = tmp_path / "out" / "judged" / "bundle"
    assert Bundle.load(left).identity == after.identity, "who explains needs it too"


def test_a_linear_model_has_nothing_to_compress(plain: Made, tmp_path: Path) -> None:
    report = run(plain, tmp_path / "out", FAST)
    (tried,) = report["tried"]
    assert (tried["status"], tried["code"]) == ("refused", "unsupported")
    assert "1,024" in tried["reason"]
    unchanged(plain, tmp_path / "out")


SLOW = {**FAST, "row": {"value": 1.3, "low": 1.2, "high": 1.4}}
EVEN = {"value": 1.0, "low": 0.95, "high": 1.02}


@pytest.mark.parametrize(
    ("times", "rule", "code"),
    [
        (SLOW, RULE, "mixed"),
        ({**SLOW, "batch": {**FAST["batch"], **EVEN}}, RULE, "slower"),
        ({**FAST, "row": EVEN, "batch": {**FAST["batch"], **EVEN}}, RULE, "not_faster"),
        ({**FAST, "row": {**SURE, "high": 0.95}, "batch": {**FAST["batch"], **EVEN}}, RULE, "not_faster"),
        (FAST, Rule(-1.0, None, 0.1), "drop"),
    ],
)
def test_refused_with_its_reason(wide: Made, tmp_path: Path, times: dict[str, Any], rule: Rule, code: str) -> None:
    (tried,) = run(wide, tmp_path / "out", times, rule)["tried"]
    assert (tried["status"], tried["code"]) == ("refused", code)
    assert tried["reason"].endswith(".")
    unchanged(wide, tmp_path / "out")


def test_a_size_budget_is_met(wide: Made, tmp_path: Path) -> None:
    size = sum(file.bytes for file in wide.bundle.manifest.files.values()) / 1e6
    even = {**FAST, "row": EVEN, "batch": {**FAST["batch"], **EVEN}}
    (tried,) = run(wide, tmp_path / "out", even, Rule(0.02, 0.6 * size, 0.1))["tried"]
    assert (tried["status"], tried["code"]) == ("accepted", "fits"), tried


def test_none_is_tried(wide: Made, tmp_path: Path) -> None:
    assert run(wide, tmp_path / "out", FAST, methods=())["tried"] == []
    unchanged(wide, tmp_path / "out")


def unchanged(made: Made, out: Path) -> None:
    """The bundle is the one that was trained, byte for byte, and so are the outputs."""
    names = {path.relative_to(made.folder) for path in made.folder.rglob("*") if path.is_file()}
    assert names == {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    for name in names - {Path("training.json")}:
        assert (out / name).read_bytes() == (made.folder / name).read_bytes()
    assert Bundle.load(out / "bundle").identity == made.bundle.identity


def test_a_graph_that_cannot_be_quantised(wide: Made) -> None:
    """The library's reason is the refusal's."""
    model = onnx.load(wide.folder / "bundle" / GRAPH)
    model.opset_import[0].version = 17
    arrays = wide.data.arrays(wide.bundle.encoders, "valid")
    found = COMPRESSORS.make("int8").compress(model.SerializeToString(), CompressContext(1, arrays))
    assert isinstance(found, Refusal)
    assert found.reason.startswith("it cannot be quantised: BundleError: A graph to merge must have opset 18")


def test_activations_without_a_range(wide: Made, tmp_path: Path) -> None:
    """Where activations are endless the compressed bundle fails its own test: it is refused, and nothing is left."""
    trained = tmp_path / "trained"
    (trained / "bundle").mkdir(parents=True)
    for name in ("training.json", "outputs.safetensors"):
        (trained / name).write_bytes((wide.folder / name).read_bytes())
    graph = GraphBuilder()
    number = {value: graph.constant(np.float32(value)) for value in (0, 1)}
    none = [graph.node("Mul", [graph.take(block, "value"), number[0]]) for block in wide.bundle.blocks]
    endless = graph.node("Div", [number[1], graph.node("Sum", none)])
    product = graph.node("MatMul", [endless, graph.constant(np.ones((wide.bundle.blocks[0].size, 2000), np.float32))])
    head = graph.node("ReduceMax", [graph.node("Clip", [product, number[0], number[1]]), graph.constant(np.array([1]))])
    with_graph(wide.folder / "bundle", trained / "bundle", graph.build(head, 1).SerializeToString(deterministic=True))
    (tried,) = run(Made(trained, wide.data), tmp_path / "out", FAST)["tried"]
    assert (tried["status"], tried["code"]) == ("refused", "failed"), tried
    unchanged(Made(trained, wide.data), tmp_path / "out")


def test_settings_reach_the_method(wide: Made, tmp_path: Path) -> None:
    choice = Choice("int8", COMPRESSORS.resolve("int8").Config(reduced_range=False))
    run(wide, tmp_path / "full", FAST, methods=(choice,))
    run(wide, tmp_path / "reduced", FAST)
    weights = [_largest(tmp_path / name / "bundle" / GRAPH) for name in ("full", "reduced")]
    assert weights[0] > 64 >= weights[1]


def _largest(path: Path) -> int:
    """The largest weight of all products, in steps."""
    found = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    weights = [array.astype(np.int32) for array in found if array.dtype == np.int8 and array.ndim == 2]
    return max(int(np.abs(array).max()) for array in weights)
