"""Types and roles, where nobody has said so."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from luban.catalog import STEPS
from luban.data.config import ColumnConfig
from luban.data.infer import Conclusion, conclude, head
from luban.data.schema import Role
from luban.data.sources.base import RawBatch, Source
from luban.errors import ConfigError, DataError


class Rows(Source):
    def __init__(self, table: pa.Table, size: int = 100) -> None:
        super().__init__()
        self.table, self.size = table, size

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        for batch in self.table.to_batches(self.size):
            yield RawBatch(batch)

    def fingerprint(self) -> str:
        return "0" * 64


def infer(
    columns: dict[str, list[object]],
    stated: dict[str, ColumnConfig] | None = None,
    roles: dict[str, Role] | None = None,
) -> dict[str, Conclusion]:
    steps = [STEPS.make("unicode"), STEPS.make("missing")]
    found = conclude(pa.table(columns), stated or {}, roles or {}, steps)
    assert all(conclusion.reason for conclusion in found)
    return {conclusion.column.name: conclusion for conclusion in found}


COLUMNS: dict[str, list[object]] = {
    "review": [f"the {n}th room was quite clean, and the breakfast was good" for n in range(100)],
    "price": [f"{n}.5" if n % 3 else "无" for n in range(100)],
    "city": ["北京", "上海"] * 50,
    "when": [f"2024-01-{n % 28 + 1:02d}" for n in range(100)],
    "order_id": [f"A{n:05d}" for n in range(100)],
    "": [str(n) for n in range(100)],
    "count": [str(n * n) for n in range(100)],
    "code": [f"{n % 50:04d}" for n in range(100)],
    "nothing": ["NA", None] * 50,
}


def test_types_and_roles() -> None:
    columns = {name or "Unnamed: 0": values for name, values in COLUMNS.items()}
    found = {name: (c.column.type, c.column.role) for name, c in infer(columns).items()}
    assert found == {
        "review": ("text", "input"),
        "price": ("number", "input"),
        "city": ("category", "input"),
        "when": ("time", "input"),
        "order_id": ("category", "id"),
        "Unnamed: 0": ("category", "id"),
        "count": ("number", "input"),
        "code": ("category", "input"),
        "nothing": ("category", "input"),
    }


def test_typed_values() -> None:
    found = infer({"n": [1, 2, None, 5] * 9, "f": [1.5, 2.5, 3.25, None] * 9, "b": [True, False, True, None] * 9})
    assert [c.column.type for c in found.values()] == ["number", "number", "category"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["yes", "no"] * 50, "category"),
        (["0", "1"] * 50, "category"),
        ([str(n % 5 + 1) for n in range(100)], "category"),
        ([str(n % 5 * 10) for n in range(100)], "number"),
        ([f"{n}.25" for n in range(100)], "number"),
        ([f"a long name of a class, number {n % 4}, as people write them" for n in range(100)], "category"),
    ],
)
def test_targets(values: list[object], kind: str) -> None:
    found = infer({"x": values, "y": values}, roles={"y": "target"})
    assert (found["y"].column.type, found["y"].column.role, found["y"].stated) == (kind, "target", True)


def test_what_is_stated_stays() -> None:
    found = infer({"id": ["1", "2", "3"]}, {"id": ColumnConfig(type="number")})
    assert (found["id"].column.type, found["id"].column.role, found["id"].stated) == ("number", "input", False)


def test_roles_ask_for_types() -> None:
    roles: dict[str, Role] = {"a": "subject", "b": "weight", "c": "time"}
    found = infer({name: ["1", "2", "3"] for name in roles}, roles=roles)
    assert [c.column.type for c in found.values()] == ["category", "number", "time"]


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean `city`"):
        infer({"city": ["a"]}, roles={"citty": "target"})


def test_rows_are_spread_over_the_beginning() -> None:
    numbers = head(Rows(pa.table({"n": range(1000)})).read(), 10)
    assert numbers.sample.column("n").to_pylist()[-1] == 199
    assert not numbers.complete
    assert sum(batch.rows.num_rows for batch in numbers.batches) == 200
    with pytest.raises(DataError, match="no rows"):
        head(iter([]), 10)


def test_objects_in_json_are_carried_along_and_mixed_text_is_not_taken_for_them() -> None:
    columns: dict[str, list[object]] = {
        "order": ['{"items": 2, "paid": true}', "{}", None] * 20,
        "points": ["[[1, 2], [3]]"] * 60,
        "say": ["{hello} there", "[sic] so it stood", '{"a": 1}'] * 20,
    }
    found = infer(columns)
    assert {name: c.column.role for name, c in found.items()} == {"order": "meta", "points": "meta", "say": "input"}
    assert "fields as a column of its own" in found["order"].reason
    assert infer(columns, {"order": ColumnConfig(type="text")})["order"].column.role == "input"
