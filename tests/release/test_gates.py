"""Every gate passes a sound candidate, and stops the one that it is there to stop."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from luban.catalog import GATES, Choice
from luban.errors import BundleError, ReleaseError, UnknownName
from luban.release.config import ReleaseConfig
from luban.release.gates.base import Case, Gate, Verdict
from luban.release.gates.g002_leak import NoLeak
from luban.release.gates.g003_parity import Parity
from luban.release.gates.g004_neighbours import BatchNeighbours
from luban.release.gates.run import refuse, run_gates
from luban.release.measure import measure

from .made import put, with_rows


def ask(name: str, case: Case) -> Verdict:
    (verdict,) = run_gates(case, [name])
    return verdict


def row_of(case: Case, split: str) -> int:
    return case.dataset.values("_split").index(split)


def evaluated(case: Case, **comparison: object) -> Case:
    evaluation = copy.deepcopy(case.evaluation)
    evaluation["comparisons"]["baseline"].update(comparison)
    return replace(case, evaluation=evaluation)


def test_a_sound_candidate_passes_them_all(case: Case) -> None:
    told: list[tuple[str, float]] = []
    verdicts = run_gates(case, ReleaseConfig().gates, lambda what, share: told.append((what, share)))
    assert {v.code: v.status for v in verdicts} == {
        "G001": "passed",
        "G002": "passed",
        "G003": "passed",
        "G004": "passed",
        "G005": "not applicable",
        "G006": "passed",
    }
    for verdict in verdicts:
        assert verdict.found.endswith(".")
        assert not verdict.todo
    assert told[0] == ("G001 Does it beat the trivial baseline?", 0.0)
    refuse(verdicts)


def test_codes_are_stable_and_titles_are_questions() -> None:
    codes = [GATES.resolve(name).code for name in GATES.own()]
    assert codes == ["G001", "G002", "G003", "G004", "G005", "G006"]
    assert all(GATES.resolve(name).title.endswith("?") for name in GATES.own())


# G001


def test_chance_is_no_gain(case: Case) -> None:
    verdict = ask("baseline", evaluated(case, low=-0.01, significant=False))
    assert verdict.status == "failed"
    assert "-0.0100 to" in verdict.found
    assert "train.time_budget_s" in verdict.todo


def test_no_interval_is_no_gain(case: Case) -> None:
    verdict = ask("baseline", evaluated(case, low=None, high=None, reason="all test rows are of one class"))
    assert verdict.status == "failed"
    assert "one class" in verdict.found


# G002


def leaky(case: Case, folder: Path, column: str) -> Verdict:
    """The verdict once a training row has a test row's value in `column`."""

    def change(table: pa.Table) -> pa.Table:
        return put(table, column, row_of(case, "train"), table.column(column)[row_of(case, "test")].as_py())

    return ask("leak", with_rows(case, folder, change))


@pytest.mark.parametrize(
    ("column", "found", "todo"),
    [
        ("_row_id", "1 rows are in train and test", "row ids are damaged"),
        ("_group", "1 groups of near duplicates are in train and test", "near duplicates must stay"),
        ("sender", "1 values of the subject column `sender` are in train and test", "by: subject, column: sender"),
        ("message", "1 copies of all inputs are in train and test", "Add `duplicates`"),
    ],
)
def test_what_is_shared_is_found(case: Case, tmp_path: Path, column: str, found: str, todo: str) -> None:
    verdict = leaky(case, tmp_path, column)
    assert verdict.status == "failed"
    assert found in verdict.found
    assert todo in verdict.todo


def test_validation_rows_count_too(case: Case, tmp_path: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        return put(table, "message", row_of(case, "valid"), table.column("message")[row_of(case, "test")].as_py())

    assert "valid and test" in ask("leak", with_rows(case, tmp_path, change)).found


def test_missing_values_are_no_copies_and_no_subject(case: Case, tmp_path: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        for column in ("message", "sender"):
            for split in ("train", "test"):
                table = put(table, column, row_of(case, split), None)
        return table

    assert ask("leak", with_rows(case, tmp_path, change)).status == "passed"


def by_time(case: Case) -> Case:
    project = copy.deepcopy(case.project)
    project["prepare"]["split"].update(by="time", column="sent")
    return replace(case, project=project)


def test_a_random_split_called_by_time_shows_the_future(case: Case) -> None:
    verdict = ask("leak", by_time(case))
    assert verdict.status == "failed"
    assert "as late by `sent`" in verdict.found


def test_a_split_by_time_passes_and_a_group_may_reach_back(case: Case, tmp_path: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        late = {"train": 0, "valid": 100, "test": 200}
        splits, moments = table.column("_split").to_pylist(), table.column("sent").to_pylist()
        day = moments[0].replace(year=2024, month=1, day=1)
        first = [day.replace(year=2024 + late[split]) for split in splits]
        groups = list(range(1, len(splits) + 1))
        early, latest = [i for i, split in enumerate(splits) if split == "test"][:2]
        first[early] = day.replace(year=1999)
        groups[early] = groups[latest]
        for name, values in (("sent", first), ("_group", groups)):
            position = table.schema.get_field_index(name)
            table = table.set_column(position, name, pa.array(values, table.schema.field(name).type))
        return table

    verdict = ask("leak", by_time(with_rows(case, tmp_path, change)))
    assert verdict.status == "passed", verdict.found
    assert "all earlier by `sent`" in verdict.found


# G003, G004


def test_an_answer_that_moved_is_found(case: Case) -> None:
    outputs = case.outputs.copy()
    outputs[np.abs(outputs).argmin()] += 0.05  # where the model is least sure, a step of the output shows most
    verdict = ask("parity", replace(case, outputs=outputs))
    assert verdict.status == "failed"
    assert "1 rows are beyond it" in verdict.found


def test_nan_is_not_parity(case: Case) -> None:
    outputs = case.outputs.copy()
    outputs[0] = np.nan
    assert ask("parity", replace(case, outputs=outputs)).status == "failed"


def test_other_rows_are_not_compared(case: Case) -> None:
    assert "Train again" in ask("parity", replace(case, outputs=case.outputs[:-1])).todo


def test_tolerance_is_a_setting(case: Case) -> None:
    outputs = case.outputs + 0.001
    assert run_gates(replace(case, outputs=outputs), [Choice("parity", Parity.Config(tolerance=0.01))])[0].status == (
        "passed"
    )


class Mixing:
    """A bundle whose answers lean on the batch's mean."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def run(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        outputs = self._inner.run(arrays)  # type: ignore[attr-defined]
        return outputs + 1e-3 * outputs.mean()


def test_neighbours_that_leak_are_found(case: Case) -> None:
    verdict = ask("neighbours", replace(case, bundle=Mixing(case.bundle)))  # type: ignore[arg-type]
    assert verdict.status == "failed"
    assert "mixes rows" in verdict.todo


def test_a_label_that_flips_is_found_whatever_the_tolerance(case: Case) -> None:
    class Flipping(Mixing):
        def run(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
            outputs = self._inner.run(arrays)  # type: ignore[attr-defined]
            return outputs * 1e-3 * (1 if len(outputs) == 1 else -1)

    loose = Choice("neighbours", BatchNeighbours.Config(tolerance=0.1))
    (verdict,) = run_gates(replace(case, bundle=Flipping(case.bundle)), [loose])  # type: ignore[arg-type]
    assert verdict.status == "failed"
    assert "labels change" in verdict.found


# G005, G006


def budgeted(case: Case, **budget: float) -> Case:
    return replace(case, project={**case.project, "budget": budget})


def test_what_compression_lost_on_test_rows_is_judged(case: Case) -> None:
    def compressed(difference: float, worse: bool) -> Case:
        found = {**case.evaluation["comparisons"]["baseline"], "difference": difference, "worse": worse}
        comparisons = {**case.evaluation["comparisons"], "uncompressed": found}
        return replace(budgeted(case, size_mb=3.0), evaluation={**case.evaluation, "comparisons": comparisons})

    assert ask("budget", compressed(-0.005, True)).status == "passed"
    assert ask("budget", compressed(-0.05, False)).status == "passed"
    verdict = ask("budget", compressed(-0.05, True))
    assert verdict.status == "failed"
    assert "lost 0.0500" in verdict.found
    assert "`budget.max_drop`" in verdict.todo


def test_a_budget_is_kept_or_not(case: Case) -> None:
    assert ask("budget", budgeted(case, p95_ms=2.0, size_mb=3.0)).status == "passed"
    verdict = ask("budget", budgeted(case, p95_ms=1.9, size_mb=3.0))
    assert verdict.status == "failed"
    assert "within 2 ms" in verdict.found
    assert "allowed 1.9 ms" in verdict.found
    assert "`budget.p95_ms`" in verdict.todo
    assert "size_mb" not in verdict.todo


def test_what_was_not_measured_does_not_pass(case: Case) -> None:
    assert ask("budget", replace(budgeted(case, p95_ms=1.0), measured={})).status == "failed"


@pytest.mark.parametrize(
    ("owner", "purpose", "missing"), [("", "x", "owner"), (" ", None, "owner and no purpose"), ("x", "\t", "purpose")]
)
def test_blanks_are_no_names(case: Case, owner: str, purpose: str | None, missing: str) -> None:
    verdict = ask("governance", replace(case, project={"owner": owner, "purpose": purpose}))
    assert verdict.status == "failed"
    assert f"names no {missing}." in verdict.found


# the runner


def broken(error: Exception) -> type[Gate]:
    class Broken(Gate):
        code, title = "X001", "Does it break?"

        def check(self, case: Case) -> Verdict:
            raise error

    return Broken


@pytest.mark.parametrize(
    ("error", "found", "todo"),
    [
        (ZeroDivisionError("by zero"), "broke: ZeroDivisionError: by zero", "release.gates"),
        (BundleError("torn", "Copy it again."), "BundleError: torn", "Copy it again."),
    ],
)
def test_a_gate_that_raises_has_failed_and_the_others_are_asked(
    case: Case, monkeypatch: pytest.MonkeyPatch, error: Exception, found: str, todo: str
) -> None:
    resolve = GATES.resolve
    monkeypatch.setattr(GATES, "resolve", lambda name: broken(error) if name == "x" else resolve(name))
    verdicts = run_gates(case, ["x", "governance"])
    assert [v.status for v in verdicts] == ["failed", "passed"]
    assert found in verdicts[0].found
    assert todo in verdicts[0].todo
    with pytest.raises(ReleaseError, match="1 of 2 gates failed"):
        refuse(verdicts)


def test_an_unknown_gate_is_refused(case: Case) -> None:
    with pytest.raises(UnknownName, match="Did you mean `parity`"):
        run_gates(case, ["paritty"])


def test_measuring(case: Case) -> None:
    found = measure(case.bundle, case.dataset)
    assert 0 < found["p50_ms"] <= found["p95_ms"]
    assert found["calls"] >= 20
    assert 0 < found["size_mb"] < 50


def test_leak_counts_every_split(case: Case) -> None:
    found = NoLeak().check(case).found
    for split, count in case.dataset.splits.items():
        assert f"{count:,} {split}" in found
