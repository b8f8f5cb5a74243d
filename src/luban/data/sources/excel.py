"""Excel workbooks (.xlsx): one sheet, typed columns.

Decided here: the first row that is not empty names the columns; empty rows are no rows, and are counted in
one reject; cells with an error (#N/A, #DIV/0!) are missing; what a formula came to is its value. Columns with
neither name nor value are left out, those with values and no name are called `column_<position>`. A sheet has
at most 1,048,576 rows, so it is held in memory, packed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from luban.catalog import Config, nearest
from luban.data.sources.base import RawBatch, Reject, agree
from luban.data.sources.cells import Columns, as_text, batch_of
from luban.data.sources.path import PathSource
from luban.data.sources.place import READ_ERRORS, Place, unreadable
from luban.errors import DataError

OBSERVED_ROWS = 4096


class ExcelOptions(Config):
    """Which sheet is read."""

    sheet: str | int = 1
    """Name of the sheet, or its number from 1."""
    skip_rows: int = Field(0, ge=0)
    """Rows at the top that are neither names nor rows."""


class Excel(PathSource):
    """One sheet of an Excel workbook."""

    class Config(ExcelOptions):
        """Where, and which sheet."""

        path: str
        """File, or any fsspec URL, relative to the project file."""

    config: Config

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """All rows, each column of one type."""
        return read_excel(self.places(), self.config, batch_rows)


def read_excel(places: list[Place], options: ExcelOptions, batch_rows: int) -> Iterator[RawBatch]:
    """Rows of workbooks that have the same columns, one after another."""
    columns = Columns()
    first: _Sheet | None = None
    for place in places:
        sheet = _Sheet(place, options)
        first = first or sheet
        agree(first.place, first.names, place, sheet.names)
        sheet.observe(columns)
    for place in places:
        yield from _Sheet(place, options).batches(columns, batch_rows)


class _Sheet:
    """One sheet, opened."""

    def __init__(self, place: Place, options: ExcelOptions) -> None:
        self.place = place
        self._sheet = _open(place, options.sheet)
        self._first = options.skip_rows
        head, used = self._head()
        self.used = used
        """Positions of the columns that are read."""
        self.names = [head[at] or f"column_{at + 1}" for at in used]
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise DataError(
                f"Column names must be unique, but `{place.shown}` has these more than once: {', '.join(twice)}.",
                "Rename them in the sheet.",
            )

    def _head(self) -> tuple[list[str], list[int]]:
        """Names of all columns ("" where there is none), and the positions of those in use."""
        head: list[str] = []
        filled: set[int] = set()
        for number, row in enumerate(self._sheet.iter_rows()):
            if number < self._first or not any(cell != "" for cell in row):
                continue
            if not head:
                head, self._first = [(as_text(_value(cell)) or "").strip() for cell in row], number + 1
            else:
                filled.update(at for at, cell in enumerate(row) if cell != "")
        if not filled:
            what = "holds no rows" if head else "is empty"
            raise DataError(f"Sheet `{self._sheet.name}` of `{self.place.shown}` {what}.", "Name another `sheet`.")
        return head, [at for at, name in enumerate(head) if name or at in filled]

    def rows(self) -> Iterator[list[Any] | None]:
        """Values a row; None for an empty one."""
        for number, row in enumerate(self._sheet.iter_rows()):
            if number >= self._first:
                yield [_value(row[at]) for at in self.used] if any(cell != "" for cell in row) else None

    def observe(self, columns: Columns) -> None:
        """Take note of all values."""
        for rows, _ in self._chunks(OBSERVED_ROWS):
            for name, values in zip(self.names, zip(*rows, strict=True), strict=True):
                columns.observe(name, values)

    def batches(self, columns: Columns, batch_rows: int) -> Iterator[RawBatch]:
        """Rows as batches of the observed types."""
        schema = columns.schema
        order = [self.names.index(name) for name in schema.names]
        for rows, blank in self._chunks(batch_rows):
            found = list(zip(*rows, strict=True))
            reason = f"{blank} empty row{'s' * (blank > 1)}"
            rejects = (Reject(f"{self.place.name}, sheet {self._sheet.name}", "", reason),) if blank else ()
            yield RawBatch(batch_of([found[at] for at in order], schema), rejects)

    def _chunks(self, size: int) -> Iterator[tuple[list[list[Any]], int]]:
        """Rows by `size`, and how many were empty: 0, but in the last chunk."""
        chunk: list[list[Any]] = []
        blank = 0
        for row in self.rows():
            if row is None:
                blank += 1
                continue
            if len(chunk) == size:
                yield chunk, 0
                chunk = []
            chunk.append(row)
        yield chunk, blank


def _value(cell: Any) -> Any:
    """A cell as a value: Excel keeps all numbers as float64, and empty cells as ""."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, dt.timedelta):
        return str(cell)
    return None if cell == "" else cell


def _open(place: Place, sheet: str | int) -> Any:
    import python_calamine

    try:
        with place.open() as stream:
            workbook = python_calamine.CalamineWorkbook.from_filelike(stream)
        names = list(workbook.sheet_names)
        if isinstance(sheet, int) and 1 <= sheet <= len(names):
            return workbook.get_sheet_by_index(sheet - 1)
        if sheet in names:
            return workbook.get_sheet_by_name(sheet)
    except READ_ERRORS as error:
        raise unreadable(place, error) from error
    except python_calamine.CalamineError as error:
        raise DataError(f"`{place.shown}` cannot be read as Excel: {error}.", "Save it again as .xlsx.") from error
    close = nearest(str(sheet), names)
    hint = f"Did you mean `{close}`? " if close else ""
    raise DataError(
        f"`sheet` must be one of {len(names)} sheets of `{place.shown}`, but got {sheet!r}.",
        f"{hint}Sheets: {', '.join(names)}.",
    )
