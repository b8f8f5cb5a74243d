"""The verb `evaluate` on a small project: what the deeper look finds, keeps apart, and does not do unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.errors import ConfigError, DataError
from luban.evaluate.findings import Findings
from luban.evaluate.worst import Errors
from luban.project import load_project
from luban.workshop import Workshop

from .made import make

pytest.importorskip("sklearn")
COSTS = "evaluate.costs={currency: EUR, per_error: {yes->no: 20, no->yes: 2}, review: 3}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("chats")
    make(made, COSTS)
    return made


@pytest.fixture(scope="module")
def evaluated(folder: Path) -> lifecycle.Evaluated:
    return make(folder, COSTS)[1]


@pytest.fixture(scope="module")
def found(evaluated: lifecycle.Evaluated) -> dict[str, Any]:
    return evaluated.report


def test_all_parts_are_there_and_read_back(found: dict[str, Any]) -> None:
    parts = {name: found[name] for name in Findings.model_fields}
    assert all(parts.values())
    assert Findings.model_validate(parts).to_json() == parts


def test_the_city_that_was_spoilt_is_the_worst_slice(found: dict[str, Any]) -> None:
    worst = found["slices"]["slices"][0]
    assert (worst["column"], worst["label"], worst["significant"]) == ("city", "广州", True)
    columns = {one["column"] for one in found["slices"]["slices"]}
    assert columns == {"message", "city", "price", "day", "shop"}, "inputs and what is carried along, not who or angry"
    assert {one["by"] for one in found["slices"]["slices"] if one["column"] == "price"} == {"value", "missing"}
    assert "cluster-robust" in found["slices"]["method"]


def test_intervals_are_of_subjects(folder: Path, found: dict[str, Any]) -> None:
    assert "Rows of one subject or group hang together" in found["method"]


def test_values_of_rows_are_in_the_errors_alone(evaluated: lifecycle.Evaluated, found: dict[str, Any]) -> None:
    text = json.dumps(found, ensure_ascii=False)
    assert "退款" not in text
    assert "1380" not in text
    errors = Errors.model_validate(evaluated.errors)
    assert errors.num_wrong
    assert len(errors.worst) == min(20, errors.num_wrong)
    confidences = [one.confidence for one in errors.worst]
    assert confidences == sorted(confidences, reverse=True)  # type: ignore[type-var]
    for one in (*errors.worst, *errors.suspects):
        assert set(one.inputs) == {"message", "city", "price", "day"}
        assert "138" not in str(one.inputs["message"])
        assert "[phone]" in str(one.inputs["message"])
    assert sum(one.inputs["city"] == "广州" for one in errors.worst) > len(errors.worst) / 2


def test_money_is_chosen_on_validation_rows(folder: Path, found: dict[str, Any]) -> None:
    costs = found["costs"]
    assert (costs["currency"], costs["positive"]) == ("EUR", "yes")
    assert costs["num_valid"] == len(load_file(make(folder, COSTS)[0].folder / "outputs.safetensors")["valid_y"])
    assert [one["policy"] for one in costs["money"]] == ["chosen", "now", "constant", "person"]


def test_robustness_sees_what_the_row_steps_do_not_mend(found: dict[str, Any]) -> None:
    perturbed = {(one["name"], *one["columns"][:1]): one for one in found["robustness"]["perturbed"]}
    assert perturbed["typos", "message"]["num_rows"] == found["robustness"]["num_rows"]
    assert perturbed["missing", "message"]["significant"]
    assert perturbed["missing", "message"]["changed"] > 0.2
    assert perturbed["missing", "day"]["changed"] < 0.1
    assert perturbed["number_1_percent", "price"]["num_rows"] < found["robustness"]["num_rows"], "some have none"
    for one in perturbed.values():
        assert one["num_rows"] or one["reason"]
        if one["changed"] is not None:
            assert one["changed_low"] <= one["changed"] <= one["changed_high"]


def test_the_same_rows_give_the_same_bytes(folder: Path, evaluated: lifecycle.Evaluated, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    for name in ("rows.csv", "luban.yaml"):
        (again / name).write_bytes((folder / name).read_bytes())
    other = make(again, COSTS)[1]
    for name in ("evaluation.json", "errors.json"):
        assert (other.folder / name).read_bytes() == (evaluated.folder / name).read_bytes(), name


def test_what_is_not_asked_for_is_not_there(folder: Path) -> None:
    sets = ("evaluate.slices=[]", "evaluate.worst=0", "evaluate.robustness_rows=0")
    evaluated = make(folder, *sets)[1]
    assert evaluated.errors is None
    report = evaluated.report
    assert (report["slices"], report["costs"], report["robustness"]) == (None, None, None)
    assert report["curves"]


def test_any_column_may_be_named_and_none_that_is_not_there(folder: Path) -> None:
    report = make(folder, "evaluate.slices=[who, shop]", "evaluate.slice_rows=1")[1].report
    assert {one["column"] for one in report["slices"]["slices"]} == {"who", "shop"}
    with pytest.raises(DataError, match="no column `region`"):
        make(folder, "evaluate.slices=[region]")
    with pytest.raises(ConfigError, match="class `angry`"):
        make(folder, "evaluate.costs={per_error: {angry->no: 1}}")


def test_without_validation_outputs_money_says_why(folder: Path) -> None:
    from luban.evaluate.run import evaluate_bundle

    trained = make(folder, COSTS)[0]
    project, where = load_project(folder, [COSTS])
    with Workshop.open(project, where).working() as shop:
        dataset = lifecycle.prepare(shop)
    kept = {name: a for name, a in load_file(trained.folder / "outputs.safetensors").items() if "valid" not in name}
    bare = where / "bare"
    bare.mkdir()
    save_file({name: np.ascontiguousarray(array) for name, array in kept.items()}, bare / "outputs.safetensors")
    report = evaluate_bundle(Bundle.load(trained.bundle), None, dataset, bare, 0, project.evaluate).evaluation
    assert report["costs"]["reason"] == "there are no validation rows to choose on"


def test_a_release_lists_the_errors_as_personal_and_keeps_the_identity(folder: Path) -> None:
    project, where = load_project(folder, [COSTS, "release.gates=[]"])
    with Workshop.open(project, where).working() as shop:
        outcome = lifecycle.run(shop)
    released = shop.home.store.fetch(outcome.version.tree)
    bundle = Bundle.load(released)
    assert bundle.identity == Bundle.load(outcome.trained.bundle).identity
    assert "reports/errors.json" in bundle.manifest.personal
    for path in (released / "reports").iterdir():
        if f"reports/{path.name}" not in bundle.manifest.personal:
            assert "退款" not in path.read_text("utf-8"), path.name
