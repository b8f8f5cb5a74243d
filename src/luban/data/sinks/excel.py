"""Excel workbooks (.xlsx): one sheet, written row by row in bounded memory.

Decided here: text stays text, whatever it begins with (no formulas, no links); whole numbers that Excel would
round, times with a zone, NaN and infinity are text; lists of labels are joined by "; ", other nested values are
JSON. What a sheet cannot hold (1,048,576 rows with the header, 16,384 columns, 32,767 characters in a cell) is
refused in words, never cut.
"""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from typing import Any

import pyarrow as pa
from pydantic import Field

from luban import catalog
from luban.data.sinks.base import Sink
from luban.data.sinks.json_text import nested, values_of, written
from luban.data.sinks.output import Output, close_quietly, no_stdout
from luban.errors import DataError

MAX_ROWS = 1_048_576
MAX_COLUMNS = 16_384
MAX_CHARACTERS = 32_767
EXACT = 2**53
OTHERWISE = "Write .csv or .parquet, which have no such limit."


class ExcelSink(Sink):
    """Writes one sheet of an Excel workbook."""

    class Config(catalog.Config):
        """How it is written."""

        sheet: str = Field("luban", min_length=1, max_length=31, pattern=r"^[^\[\]:*?/\\]+$")
        """Name of the sheet."""

    config: Config
    _out: Output | None = None

    def open(self, path: str, schema: pa.Schema) -> None:
        """Start writing, with the names in the first row."""
        import xlsxwriter

        no_stdout(path, "Excel")
        if len(schema) > MAX_COLUMNS:
            raise DataError(
                f"An Excel sheet holds at most {MAX_COLUMNS:,} columns, but got {len(schema):,}.", OTHERWISE
            )
        out = Output(path)
        with out.guarded():
            # The library leaves its own temporary files behind when it fails; here they go with the folder.
            self._scratch = tempfile.TemporaryDirectory(prefix=".luban-", dir=out.file.parent)
        self._out = out
        options = {"constant_memory": True, "tmpdir": self._scratch.name, "default_date_format": "yyyy-mm-dd hh:mm:ss"}
        self._book = xlsxwriter.Workbook(str(out.file), options)
        self._sheet = self._book.add_worksheet(self.config.sheet)
        self._date = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._names = schema.names
        self._row = 0
        self._sheet.freeze_panes(1, 0)
        self._append(list(schema.names))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows. Raises DataError beyond what a sheet holds."""
        if self._row + batch.num_rows > MAX_ROWS:
            raise DataError(
                f"An Excel sheet holds at most {MAX_ROWS - 1:,} rows and a header, but there are more.", OTHERWISE
            )
        for values in zip(*(values_of(column) for column in batch.columns), strict=True):
            self._append(list(values))

    def _append(self, values: list[Any]) -> None:
        assert self._out is not None, "open first"
        with self._out.guarded():
            for at, value in enumerate(values):
                if value is not None:
                    self._cell(at, value)
        self._row += 1

    def _cell(self, at: int, value: Any) -> None:
        sheet, row = self._sheet, self._row
        if isinstance(value, bool):
            sheet.write_boolean(row, at, value)
        elif (isinstance(value, int) and abs(value) <= EXACT) or (isinstance(value, float) and math.isfinite(value)):
            sheet.write_number(row, at, value)
        elif _has_date(value):
            sheet.write_datetime(row, at, value, None if isinstance(value, dt.datetime) else self._date)
        else:
            text = written(nested(value)) or ""
            if len(text.encode("utf-16-le")) // 2 > MAX_CHARACTERS:
                raise DataError(
                    f"An Excel cell holds at most {MAX_CHARACTERS:,} characters, but row {row}, column "
                    f"`{self._names[at]}` has {len(text):,}.",
                    OTHERWISE,
                )
            sheet.write_string(row, at, text)

    def close(self, failed: bool) -> None:
        """Publish, or throw away."""
        if self._out is None:
            return
        try:
            if not failed:
                self._finish(self._out)
                self._out.publish()
        finally:
            self._out.discard()
            close_quietly(self._sheet.row_data_fh)  # the library's own file, open unless all went well
            self._scratch.cleanup()

    def _finish(self, out: Output) -> None:
        """Put the sheet into its file."""
        import xlsxwriter.exceptions

        with out.guarded():
            try:
                self._book.close()
            except xlsxwriter.exceptions.XlsxWriterException as error:
                raise OSError(str(error)) from error


def _has_date(value: Any) -> bool:
    """Whether Excel has a date for it: it begins in 1900 and knows no zones."""
    if isinstance(value, dt.datetime):
        return value.tzinfo is None and value.year > 1900
    return isinstance(value, dt.date) and value.year > 1900
