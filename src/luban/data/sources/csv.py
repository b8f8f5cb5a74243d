"""CSV and TSV, all columns as strings, as a stream.

Decided here: nothing is typed while it is read, because a late "1,200 元" must not break what the first
megabyte suggested. An empty field is null, a quoted empty field is "". Rows with too many or too few fields
are rejects; empty lines between rows are no rows, except in a file of one column, where an empty line is a
missing value. The block that is parsed at once grows when a field is longer than it, up to 512 MB;
beyond that a quote was opened and never closed. Columns without a name are called `column_<position>`.

The parser is pyarrow's. This module knows no column type.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator, Field

from luban.catalog import Config
from luban.data.sources.base import RawBatch, Reject, agree, cut, moved
from luban.data.sources.encoding import encoding_of, known_encoding, open_utf8
from luban.data.sources.path import PathSource
from luban.data.sources.place import CHUNK_BYTES, READ_ERRORS, Place, unreadable
from luban.errors import DataError

DELIMITERS = ",;\t|"
HEAD_BYTES = 1 << 16
BLOCK_BYTES = 1 << 20
MAX_BLOCK_BYTES = 1 << 29

Encoding = Annotated[str | None, AfterValidator(known_encoding)]


class CsvOptions(Config):
    """How CSV is read."""

    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """The character between fields. Left out: found among comma, semicolon, tab and bar."""
    encoding: Encoding = None
    """Left out: UTF-8, GB18030 or (with a byte order mark) UTF-16, whichever the whole file is."""
    header: bool = True
    """Whether the first line, after those skipped, names the columns."""
    skip_rows: int = Field(0, ge=0)
    """Lines at the beginning that are neither names nor rows."""
    column_names: tuple[str, ...] | None = None
    """Names of the columns, in place of those of the header."""


class Csv(PathSource):
    """One file of comma- or tab-separated values; `.gz` is unpacked while it is read."""

    class Config(CsvOptions):
        """Where and how."""

        path: str
        """File, or any fsspec URL, relative to the project file."""

    config: Config

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """All rows, all columns strings."""
        return read_csv(self.places(), self.config, batch_rows)


def read_csv(places: list[Place], options: CsvOptions, batch_rows: int) -> Iterator[RawBatch]:
    """Rows of CSV files that have the same columns, one after another. Raises DataError as `Source` says."""
    readers = [_Reader(place, options) for place in places]
    first = readers[0]
    for reader in readers[1:]:
        agree(first.place, first.names, reader.place, reader.names)
    seen = 0  # rows and rejects of the files before
    for reader in readers:
        here = 0
        for batch in reader.batches(batch_rows):
            here += batch.rows.num_rows + len(batch.rejects)
            yield RawBatch(batch.rows.select(first.names), moved(batch.rejects, seen))
        seen += here


class _Reader:
    """One reading of one file."""

    def __init__(self, place: Place, options: CsvOptions) -> None:
        self.place = place
        self.options = options
        self.encoding = encoding_of(place, options.encoding)
        self.delimiter = options.delimiter or self._find_delimiter()
        self.bad: list[Any] = []  # rows that the parser refused, not yet given
        self.passed_over = 0  # refused rows that were given before reading started again
        self.block_bytes = BLOCK_BYTES
        self.first_row = 1 + options.skip_rows + options.header  # the parser's number of the first row
        self.names, self.keys = self._header()

    def _stream(self) -> IO[bytes]:
        return open_utf8(self.place, self.encoding)

    def _find_delimiter(self) -> str:
        if self.place.suffix == ".tsv":
            return "\t"
        with self._stream() as stream:
            head = stream.read(HEAD_BYTES)
        lines = head.decode("utf-8", "ignore").splitlines(keepends=True)[self.options.skip_rows :]
        return find_delimiter("".join(lines[:-1] if len(head) == HEAD_BYTES and len(lines) > 1 else lines))

    def _header(self) -> tuple[list[str], list[str]]:
        """The names to give, and those that the parser gives."""
        with self._stream() as stream:
            if not stream.read(CHUNK_BYTES).strip(b"\r\n"):
                raise DataError(f"`{self.place.shown}` is empty.", "Give a file with a header and rows.")
        keys = self._keys()
        names = [name or f"column_{position}" for position, name in enumerate(keys, 1)]
        if self.options.column_names is None and not self.options.header:
            names = [f"column_{position}" for position in range(1, len(keys) + 1)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(
                f"Column names must be unique, but `{self.place.shown}` has these more than once: {', '.join(twice)}.",
                "Rename them in the file, or name all columns with `column_names`.",
            )
        return names, keys

    def _keys(self) -> list[str]:
        """The names that the parser gives."""
        while True:
            try:
                with self._opened({}, one_column=False) as parser:
                    return list(parser.schema.names)
            except pa.ArrowInvalid as error:
                if self._grow(error):
                    continue
                if "cannot infer number of columns" in str(error) or "Empty CSV" in str(error):
                    raise self._no_rows() from error
                raise self._broken(error) from error

    def _grow(self, error: pa.ArrowInvalid) -> bool:
        """Whether reading can start again, with larger blocks, because a row was longer than one."""
        if "straddling" not in str(error) or self.block_bytes >= MAX_BLOCK_BYTES:
            return False
        self.block_bytes *= 8
        return True

    @contextmanager
    def _opened(self, types: dict[str, pa.DataType], one_column: bool) -> Iterator[Any]:
        with self._stream() as stream, self._parser(stream, types, one_column) as parser:
            yield parser

    def _parser(self, stream: IO[bytes], types: dict[str, pa.DataType], one_column: bool) -> Any:
        import pyarrow.csv as pacsv

        options = self.options
        names = list(options.column_names) if options.column_names is not None else None
        return pacsv.open_csv(
            stream,
            pacsv.ReadOptions(
                use_threads=False,  # with threads the parser does not number the rows that it refuses
                block_size=self.block_bytes,
                skip_rows=options.skip_rows,
                column_names=names,
                autogenerate_column_names=names is None and not options.header,
                skip_rows_after_names=1 if names is not None and options.header else 0,
            ),
            pacsv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=not one_column,
                invalid_row_handler=self._refuse,
            ),
            pacsv.ConvertOptions(
                check_utf8=False,  # `encoding_of` has read every byte
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _refuse(self, row: Any) -> str:
        if self.passed_over:
            self.passed_over -= 1
        else:
            self.bad.append(row)
        return "skip"

    def batches(self, batch_rows: int) -> Iterator[RawBatch]:
        """All rows, at most `batch_rows` at once."""
        rows = rejected = 0  # given so far: what is passed over when reading starts again with larger blocks
        first: Reject | None = None
        with self._stream() as again:
            lines = _Lines(again)
            while True:
                self.bad, self.passed_over = [], rejected
                try:
                    for batch in self._parsed(rows):
                        rejects = self._rejects(lines)
                        first = first or next(iter(rejects), None)
                        rows, rejected = rows + batch.num_rows, rejected + len(rejects)
                        yield from cut(batch, rejects, batch_rows)
                    break
                except pa.ArrowInvalid as error:
                    if not self._grow(error):
                        raise self._broken(error) from error
                except READ_ERRORS as error:
                    raise unreadable(self.place, error) from error
        if not rows:
            raise self._no_rows(first)

    def _parsed(self, skip: int) -> Iterator[pa.RecordBatch]:
        """Batches without their first `skip` rows; the last one is empty."""
        types = {name: pa.string() for name in self.keys}
        schema = pa.schema([pa.field(name, pa.string()) for name in self.names])
        with self._opened(types, one_column=len(self.keys) == 1) as parser:
            for batch in parser:
                here = min(skip, batch.num_rows)
                skip -= here
                yield pa.RecordBatch.from_arrays(batch.slice(here).columns, schema=schema)
        yield pa.RecordBatch.from_pylist([], schema)

    def _rejects(self, lines: _Lines) -> list[Reject]:
        """The rows refused since the last call."""
        rows, self.bad = self.bad, []
        rejects = []
        for row in rows:
            line = lines.find(row.text.encode("utf-8"))
            where = f"{self.place.name}, " + (f"line {line}" if line else f"row {row.number}")
            reason = f"has {row.actual_columns} fields where {row.expected_columns} are expected"
            rejects.append(Reject(where, row.text, reason, row.number - self.first_row))
        return rejects

    def _no_rows(self, reject: Reject | None = None) -> DataError:
        why = f" The first that is none: {reject.where} {reject.reason}." if reject else ""
        return DataError(f"`{self.place.shown}` holds no rows.{why}", "Give a file with at least one row.")

    def _broken(self, error: Exception) -> DataError:
        if "straddling" in str(error):
            return DataError(
                f"`{self.place.shown}` has a field longer than {MAX_BLOCK_BYTES >> 20} MB.",
                "Most likely a quote is opened and never closed.",
            )
        return DataError(f"`{self.place.shown}` cannot be read as CSV: {error}.", "Look at `delimiter` and the quotes.")


class _Lines:
    """Finds rows again in a file, in their order, to say which line they begin at."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._line = 0

    def find(self, raw: bytes) -> int | None:
        """Number of the next line that a row begins with, from 1."""
        first = raw.partition(b"\n")[0].rstrip(b"\r")
        for line in self._stream:
            self._line += 1
            if line.rstrip(b"\r\n") == first:
                return self._line
        return None


def find_delimiter(head: str) -> str:
    r"""The delimiter among comma, semicolon, tab and bar that cuts `head` most evenly.

    >>> find_delimiter("a;b\n1,5;2\n")
    ';'
    """
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        try:
            counts = [len(row) for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter) if row][:100]
        except csv.Error:
            continue
        if counts and counts[0] > 1:
            score = (counts.count(counts[0]) / len(counts), counts[0])
            if score > best_score:
                best, best_score = delimiter, score
    return best
