"""A small column table: what prediction gives back.

Columns are plain lists, so that one served row costs microseconds; `to_arrow` is for bulk.
`error` holds, per row, None or why the row got no answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Table:
    """Named columns of equal length, in order.

    >>> Table({"label": ["a", "b"]}, [None, None]).rows()[1]
    {'label': 'b'}
    """

    columns: dict[str, list[Any]]
    errors: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.errors)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary a row; a bad row is `{"error": reason}`."""
        names = list(self.columns)
        rows = [dict(zip(names, values, strict=True)) for values in zip(*self.columns.values(), strict=True)]
        if self.errors.count(None) == len(self.errors) == len(rows):
            return rows
        return [
            {"error": error} if error is not None else {name: self.columns[name][position] for name in names}
            for position, error in enumerate(self.errors)
        ]

    def to_arrow(self) -> pa.Table:
        """Arrow table with all columns and `error` (string, null where the row was answered)."""
        import pyarrow as pa

        return pa.table({**self.columns, "error": pa.array(self.errors, pa.string())})
