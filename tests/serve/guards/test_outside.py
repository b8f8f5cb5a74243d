"""Rows unlike those of training, and values that are too large."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.bundle.bundle import Bundle
from luban.bundle.ranges import RANGES
from luban.bundle.write import with_reports
from luban.catalog import canonical
from luban.data.schema import Schema
from luban.release import ranges as ranges_module
from luban.release.ranges import ranges
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import FolderOrigin
from luban.serve.guards.outside import Bounds, _Column
from luban.serve.guards.rows_config import RowsConfig
from luban.serve.server import serving

from ..tiny import SCHEMA, write_tiny

ROWS = [{"text": "房间很干净", "stars": 5.0}, {"text": "很好", "stars": 1.0}, {"text": "隔音太差了！", "stars": 3.0}]


class Rows:
    """A dataset of a few rows, all of them in train."""

    def __init__(self, columns: list[dict[str, Any]], values: dict[str, pa.Array]) -> None:
        self.schema = Schema.model_validate({"columns": columns})
        self._values = values

    def batches(self, names: list[str], split: str) -> Iterator[pa.RecordBatch]:
        if split == "train":
            whole = pa.record_batch([self._values[name] for name in names], names=names)
            yield from (whole.slice(start, 2) for start in range(0, whole.num_rows, 2))


def found(columns: list[dict[str, Any]], values: dict[str, pa.Array]) -> dict[str, Any]:
    return dict(ranges(Rows(columns, values))["columns"])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundles")
    write_tiny(root / "bare")
    values = {name: pa.array([row[name] for row in ROWS]) for name in ("text", "stars")}
    said = ranges(Rows(SCHEMA["columns"], values))  # type: ignore[arg-type]
    (root / "tiny").mkdir()
    with_reports(root / "bare", root / "tiny", {RANGES: canonical(said)}, {}, "", (RANGES,))
    return root / "tiny"


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Bundle, Bounds]:
    bundle = Bundle.load(folder)
    bounds = Bounds.of(bundle)
    assert bounds is not None
    return bundle, bounds


def answers(folder: Path, rows: list[Any], **settings: Any) -> list[dict[str, Any]]:
    config = ServeConfig(port=0, rows=RowsConfig.model_validate(settings))
    with serving(FolderOrigin(folder), config, {}) as address:
        found: list[dict[str, Any]] = httpx.post(f"{address}/v1/predict", json={"rows": rows}).json()["answers"]
        return found


STRANGE = [
    {"text": "很好", "stars": 900},
    {"text": "很好", "stars": "0.5"},
    {"text": "很好" * 50, "stars": 2},
    {"text": "很好"},
    {"text": "差", "stars": -1},
]
REASONS = [
    ["stars: 900 is above 5, the largest in training"],
    ["stars: 0.5 is below 1, the smallest in training"],
    ["text: a text of 100 characters is above 6, the longest in training"],
    ["stars: is missing, as it never was in training"],
    [
        "text: a text of 1 characters is below 2, the shortest in training",
        "stars: -1 is below 1, the smallest in training",
    ],
]


def test_marked(folder: Path) -> None:
    plain = answers(folder, [*ROWS, *STRANGE])
    marked = answers(folder, [*ROWS, *STRANGE, {"stars": "many"}, 7], outside="mark")
    assert [answer.pop("outside", []) for answer in marked] == [[], [], [], *REASONS, [], []]
    assert marked[: len(plain)] == plain
    assert all("error" in answer for answer in marked[-2:])


def test_refused(folder: Path) -> None:
    refused = answers(folder, [*ROWS, *STRANGE], outside="refuse")
    assert refused[:3] == answers(folder, ROWS)
    assert refused[3:] == [{"error": "; ".join(reasons)} for reasons in REASONS]


def test_a_bundle_that_says_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    bare = folder.parent / "bare"
    assert all("label" in answer for answer in answers(bare, ROWS, outside="mark"))
    assert "rows.outside cannot be followed" in caplog.messages
    assert all("does not say what it was trained on" in one["error"] for one in answers(bare, ROWS, outside="refuse"))


def test_ranges_that_were_changed_are_none(folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(folder)
    assert Bounds.of(bundle) is not None
    path = tmp_path / "reports"
    path.mkdir()
    data = json.loads((folder / "reports" / RANGES).read_bytes())
    data["columns"]["stars"]["range"] = [-1e9, 1e9]
    (path / RANGES).write_bytes(canonical(data))
    bundle.folder = tmp_path
    assert Bounds.of(bundle) is None


def test_the_identity_stays_and_the_file_is_personal(folder: Path) -> None:
    bare, told = Bundle.load(folder.parent / "bare"), Bundle.load(folder)
    assert bare.identity == told.identity
    assert f"reports/{RANGES}" in told.manifest.personal


def test_what_is_gathered_of_each_type() -> None:
    times = pa.array(
        [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(2025, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")
    )
    told = found(
        [
            {"name": "city", "type": "category"},
            {"name": "tags", "type": "tags"},
            {"name": "nights", "type": "number"},
            {"name": "day", "type": "time"},
            {"name": "empty", "type": "number"},
        ],
        {
            "city": pa.array(["Oslo", "Bonn", "Oslo"]),
            "tags": pa.array([["a", "b"], [], None], pa.list_(pa.string())),
            "nights": pa.array([3.0, None, float("inf")]),
            "day": times,
            "empty": pa.array([None, None, None], pa.float64()),
        },
    )
    assert [told[name]["missing"] for name in told] == [False, True, True, True, True]
    assert len(told["city"]["known"]) == 2
    assert len(told["tags"]["known"]) == 2
    assert (told["nights"]["range"], told["empty"]) == ([3.0, 3.0], {"missing": True})
    city, tags, day = (_Column(told[name]) for name in ("city", "tags", "day"))
    assert city.reasons("Oslo") == []
    assert city.reasons("Paris") == ["`Paris` was not in training"]
    assert tags.reasons(["a", "c"]) == ["`c` was not in training"]
    assert day.reasons(datetime(2024, 6, 1, tzinfo=UTC)) == []
    assert "the latest in training" in day.reasons(datetime(2026, 1, 1, tzinfo=UTC))[0]
    assert "the earliest in training" in day.reasons(datetime(2000, 1, 1, tzinfo=UTC))[0]


def test_too_many_known_values_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges_module, "MAX_KNOWN", 3)
    told = found([{"name": "city", "type": "category"}], {"city": pa.array(list("abcdef"))})
    assert told == {"city": {"missing": False}}
    assert _Column(told["city"]).reasons("z") == []


@given(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(max_size=9) | st.integers(-3, 9),
            "stars": st.none() | st.floats(-9, 9) | st.integers(-9, 9) | st.sampled_from(["3", "７", "x", " 2 "]),
        }
    )
)
def test_a_quick_look_never_overlooks(loaded: tuple[Bundle, Bounds], row: dict[str, Any]) -> None:
    """What the quick look lets pass, the close look finds nothing wrong with."""
    bundle, bounds = loaded
    parsed = bundle.values([row])
    if parsed.errors[0] is not None:
        assert bounds.outside(row) == []
        return
    for name, column in bounds._columns.items():
        if column.looks_inside(row[name]):
            assert column.reasons(parsed.columns[name][0]) == []
    reasons = {name: column.reasons(parsed.columns[name][0]) for name, column in bounds._columns.items()}
    assert bounds.outside(row) == [f"{name}: {reason}" for name, found in reasons.items() for reason in found]


@pytest.mark.parametrize("size", [1000, 1001])
def test_large_values(folder: Path, size: int) -> None:
    rows = [{"text": "很" * (size // 3) + "a" * (size % 3), "stars": 1}, {"text": "很好"}]
    found = answers(folder, rows, max_cell_bytes=1000)
    assert ("error" in found[0]) == (size > 1000)
    assert size == 1000 or found[0]["error"] == "text: has 1001 bytes, more than the 1000 that are allowed"
    assert "label" in found[1]


def test_a_value_is_measured_whatever_its_form() -> None:
    from luban.serve.guards.outside import Outside

    looks = Outside(RowsConfig(max_cell_bytes=10))
    faults: list[str | None] = [None] * 4
    rows = [{"a": ["x" * 6, "y" * 6]}, {"a": 10**20}, {"a": "x" * 10}, 7]
    asked, served = SimpleNamespace(entry=SimpleNamespace(num_bytes=0), rows=rows), SimpleNamespace(files=frozenset())
    looks.inspect(asked, served, faults)  # type: ignore[arg-type]
    assert [fault is None for fault in faults] == [False, True, True, True]
