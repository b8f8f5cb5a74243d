"""CSV and TSV: UTF-8, quoted only where it must be.

Decided here: null is an empty field and "" a quoted one, so that reading gives back what was written; lines end
in a line feed; lists of labels are joined by "; ", other nested values are JSON; times are ISO 8601. Values are
not changed, so a spreadsheet that takes text for formulas should be given .xlsx.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from luban import catalog
from luban.data.sinks.base import Sink
from luban.data.sinks.json_text import nested, values_of, written
from luban.data.sinks.output import ByteOutput

BOM = b"\xef\xbb\xbf"


class CsvSink(Sink):
    """Writes CSV; with a path that ends in .tsv, tab-separated values."""

    class Config(catalog.Config):
        """How it is written."""

        delimiter: str | None = Field(None, pattern=r"^[,;|\t]$")
        """Comma, semicolon, bar or tab. Left out: a comma, or a tab for .tsv."""
        bom: bool = False
        """Begin with a byte order mark, for spreadsheets that take UTF-8 without one for something else."""

    config: Config
    _out: ByteOutput | None = None

    def open(self, path: str, schema: pa.Schema) -> None:
        """Write the header."""
        self._delimiter = self.config.delimiter or ("\t" if path.lower().endswith(".tsv") else ",")
        self._out = out = ByteOutput(path)
        # All usual delimiters are quoted in the header, so that a reader can tell which one is meant.
        names = _quoted(pa.array(schema.names, pa.string()), ",;|\t\ufeff").to_pylist()
        header = self._delimiter.join(names) + "\n"
        out.write((BOM if self.config.bom else b"") + header.encode("utf-8"))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        assert self._out is not None, "open first"
        if not batch.num_rows:
            return
        columns = [_quoted(_strings(column), self._delimiter).fill_null("") for column in batch.columns]
        lines = pc.binary_join_element_wise(*columns, self._delimiter)
        self._out.write(("\n".join(lines.to_pylist()) + "\n").encode("utf-8"))

    def close(self, failed: bool) -> None:
        """Publish, or throw away."""
        if self._out is not None:
            self._out.close(failed)


def _strings(column: pa.Array) -> pa.Array:
    """A column as strings, null where missing."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _strings(column.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_floating(kind):
        return pa.array([None if x is None else repr(float(x)) for x in column.to_pylist()], pa.string())
    return pa.array([written(nested(x)) for x in values_of(column)], pa.string())


def _quoted(values: pa.Array, delimiters: str) -> pa.Array:
    """Values as they stand between delimiters."""
    must = pc.match_substring_regex(values, f'^$|["\r\n{delimiters}]')
    whole = pc.binary_join_element_wise('"', pc.replace_substring(values, '"', '""'), '"', "")
    return pc.if_else(must, whole, values)
