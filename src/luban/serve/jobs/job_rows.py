"""The rows of one job as questions, and their answers as columns.

Decided here: a row of a file is asked with the columns that the version knows which answers it; rows as JSON are asked
as they are, as in a request, but for the sticky column where no version knows that. The number in a row's id counts
the rows that could be read, from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from luban.data.sinks.json_text import values_of
from luban.data.table import Table
from luban.errors import DataError
from luban.serve.jobs.job_desk import REQUEST_ID, VERSION, JobDesk
from luban.serve.question import ANYBODY, Answer, Caller, Entry, Question

if TYPE_CHECKING:
    from luban.engine.jobs import Job
    from luban.serve.jobs.job_files import Request

Row = dict[str, Any]


class JobRows:
    """An `Answerer` of files, and of rows as JSON (`ask`). `alive` is called while the ledger is waited for."""

    def __init__(self, desk: JobDesk, job: Job, request: Request, alive: Callable[[], None]) -> None:
        self._desk = desk
        self._id = job.id
        self._request = request
        self._alive = alive
        # Its rows' answers are its own: without a key it has no id, but a name.
        own = "" if job.actor == ANYBODY.name else job.actor
        self._caller = Caller(job.actor, "caller", frozenset({request.model}), own)
        self._num_asked = 0
        self._served = [arm.served for arm in desk.arms]
        self._differ = len({served.columns for served in self._served}) > 1

    @property
    def inputs(self) -> Sequence[str]:
        """Columns that decide an answer, of all versions."""
        return list(dict.fromkeys(name for served in self._served for name in served.inputs))

    @property
    def known(self) -> Collection[str]:
        """Columns of all versions' schemas."""
        return frozenset[str]().union(*(served.columns for served in self._served))

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of all versions' answers, what finishers add, which version answered, and the row's id."""
        found: dict[str, str] = {}
        for served in self._served:
            found |= {name: kind for name, kind in served.bundle.columns.items() if name not in found}
        for finisher in self._desk.office.finishers:
            found |= {name: kind for name, kind in finisher.adds.items() if name not in found}
        return found | {VERSION: "whole", REQUEST_ID: "string"}

    @property
    def version(self) -> int | None:
        """The first version."""
        return self._served[0].version

    @property
    def identity(self) -> str:
        """Of the first version's bundle."""
        return self._served[0].bundle.identity

    def answer(self, rows: pa.RecordBatch, inputs: Sequence[str]) -> Table:
        """One answer a row of a file. Raises DataError where the sticky column is none of the file's."""
        sticky = self._request.sticky
        if sticky and sticky not in rows.schema.names:
            told = ", ".join(rows.schema.names)
            raise DataError(f"`sticky` must be a column of the file, but got {sticky}.", f"Its columns: {told}.")
        columns = [values_of(rows.column(name)) for name in inputs]
        asked = [dict(zip(inputs, values, strict=True)) for values in zip(*columns, strict=True)]
        keys = values_of(rows.column(sticky)) if sticky else [None] * len(asked)
        # No value is larger than all of them together, so most files need no look at each one's size.
        questions = [self._question(row, key, rows.nbytes) for row, key in zip(asked, keys, strict=True)]
        if self._differ:
            for question in questions:
                self._leave_out_unknown(question)
        answers = self._desk.ask(questions, self._alive)
        found = {name: [answer.get(name) for answer in answers] for name in self.columns}
        return Table(found, [answer.get("error") for answer in answers])

    def ask(self, rows: Sequence[Any]) -> list[Answer]:
        """One answer a row as JSON."""
        sticky = self._request.sticky
        unknown = bool(sticky) and sticky not in self.known
        questions = []
        for row in rows:
            key = row.get(sticky) if sticky and isinstance(row, dict) else None
            if unknown and isinstance(row, dict):
                row = {name: value for name, value in row.items() if name != sticky}
            questions.append(self._question(row, key, 0))
        return self._desk.ask(questions, self._alive)

    def _question(self, row: Any, key: Any, num_bytes: int) -> Question:
        entry = Entry(self._caller, self._request.model, f"{self._id}-{self._num_asked}", num_bytes)
        self._num_asked += 1
        sticky = self._request.sticky_key if key is None else str(key)
        return self._desk.assigned(Question(entry, [row], self._request.options, sticky=sticky, background=True))

    def _leave_out_unknown(self, question: Question) -> None:
        (row,) = question.rows
        known = self._desk.served_for(question).columns
        question.rows = [{name: value for name, value in row.items() if name in known}]
