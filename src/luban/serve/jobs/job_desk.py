"""The desk of a process that does jobs: each row is a question of its own, and takes the path of every question.

    row ─► Question (request id JOB-NUMBER) ─► Desk: outside, arm, batcher, marks ─► records, figures, shadows ─► answer

Decided here:

- a row is a question, not a chunk of rows: so weights, sticky keys, records and truths mean what they mean for
  requests, and a row has an id that feedback can name, at position 0. The batcher asks a chunk together all the same;
- ids are made of the job's id and the row's number, so a job that is begun again gives each row the same id, the same
  arm and the same draw, and the ledger keeps the first record of an id: nothing is recorded twice;
- before each chunk it is asked whether one of the versions was taken back (`job_plans.py`);
- records are in the ledger before a job is done, so that truths find their answers. A ledger that cannot be written
  is waited for;
- a row that makes a model raise gets an error and stops no other, unless the breaker opens or a call hangs: then the
  attempt ends, and the job waits for another.

Belongs to one thread, which runs the event loop whenever rows are asked. Knows no file.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from luban.engine.claims import Later
from luban.errors import StoreError
from luban.release.registry import Registry
from luban.serve.fleet import live
from luban.serve.fleet.fleet import Fleet, Origins
from luban.serve.fleet.memory import Memory
from luban.serve.fleet.origins import FixedOrigin
from luban.serve.fleet.routing import Picked
from luban.serve.guards.breaker import end_process
from luban.serve.http.problems import Problem
from luban.serve.jobs.job_plans import TakenBack
from luban.serve.office import Office
from luban.serve.question import Answer, Question

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.fleet.routing import Arm
    from luban.serve.fleet.served import Served
    from luban.serve.jobs.job_files import Request
    from luban.serve.jobs.job_plans import Assigned
    from luban.store.home import Home

LOG = logging.getLogger("luban.jobs")
AGAIN_S = 1.0
"""Time between two tries to write to a ledger that refuses."""
INSIDE = "no answer: an error inside the server, which is in its log"
VERSION, REQUEST_ID = "version", "request_id"
"""What an answer says beside the model's own: which version gave it, and by which id feedback names it."""


class JobDesk:
    """An office for the versions that answer one job, or several jobs of the same."""

    def __init__(self, request: Request, config: ServeConfig, home: Home, who: Assigned) -> None:
        self._model = request.model
        self._numbered = request.version if request.plan is None else None
        self._who = who
        self._registry = Registry(home.ledger, home.store)
        origin = FixedOrigin(who.plan, self._registry.resolve, home.store.fetch)
        for wanted in origin.look().versions():  # A store that is away for a while must not look like a bad bundle.
            origin.fetch(wanted)
        load = partial(live.load, num_threads=1)
        self._fleet = Fleet(Origins((origin,)), config.poll_s, Memory(config.memory), load)
        self.office = Office(self._fleet, config, home, None)
        self._runner = asyncio.Runner()

    @classmethod
    def open(cls, request: Request, config: ServeConfig, home: Home, who: Assigned) -> JobDesk:
        """One whose versions are loaded. Raises LubanError where they cannot be had or loaded, Later if not now."""
        desk = cls(request, config, home, who)
        try:
            desk.load()
        except BaseException:
            desk.close()
            raise
        return desk

    def load(self) -> None:
        """Load the versions."""
        self._fleet.start()
        self.office.guarding.watch(end_process)
        try:
            self._runner.run(self._fleet.served(self._model))
        except Problem as problem:
            raise _later(problem) from problem

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Who answers. Whoever holds them keeps them loaded."""
        routing = self._fleet.live(self._model).routing
        if routing is None:
            raise Later(self._fleet.live(self._model).reason or "The versions of this job were unloaded.")
        return routing.arms

    def served_for(self, question: Question) -> Served:
        """The version that will answer this question."""
        return self._picked(question).arm.served

    def _picked(self, question: Question) -> Picked:
        picked = self._fleet.pick(question)
        if picked is None:  # Held as they are, versions may still be exchanged at this very instant.
            raise Later("The versions of this job were being exchanged.")
        return picked

    def assigned(self, question: Question) -> Question:
        """The question; under another id, where its version was taken back, to the one that answers in its place."""
        number = None
        if self._who.instead:
            number = self._who.instead.get(self._picked(question).arm.name)
        if number is not None:
            question.entry = replace(question.entry, request_id=f"{question.entry.request_id}-v{number}")
            question.version = number
        return question

    def check(self, alive: Callable[[], None]) -> None:
        """Raises TakenBack where a version was taken back that answers here. `alive` is called as in `write`."""
        while True:
            try:
                withdrawn = self._registry.withdrawn(self._model)
                break
            except StoreError:
                alive()
                time.sleep(AGAIN_S)
        if not self._who.watched.isdisjoint(withdrawn):
            raise TakenBack

    def close(self) -> None:
        """Write what waits, and give all back."""
        self.office.close()
        self._fleet.stop()
        self._runner.close()

    @property
    def num_hung(self) -> int:
        """Threads that hang in the model: only a new process helps."""
        return self.office.guarding.breaker.num_hung

    def ask(self, questions: Sequence[Question], alive: Callable[[], None]) -> list[Answer]:
        """One answer a question of one row, recorded where that is wanted.

        `alive` is called while the ledger is waited for, and may raise. Raises Later, TakenBack.
        """
        self.check(alive)
        answers = self._runner.run(self._asked(questions))
        records = self.office.learning.records
        if records is not None and records.num_waiting >= records.batch_rows:
            self.write(alive)
        return answers

    def write(self, alive: Callable[[], None]) -> None:
        """Write what is to be recorded; return once it is."""
        records = self.office.learning.records
        while records is not None:
            records.write()
            if not records.num_waiting:
                return
            alive()
            time.sleep(AGAIN_S)

    async def _asked(self, questions: Sequence[Question]) -> list[Answer]:
        desk = self.office.desk
        try:
            pending = []
            for question in questions:
                if self._numbered is not None:
                    question.version = self._numbered
                pending.append(desk.begin(question))
            await asyncio.wait([one.future for one in pending])
        except Problem as problem:
            raise _later(problem) from problem
        answers: list[Answer] = []
        for one in pending:
            try:
                reply = desk.finish(one)
            except Problem as problem:
                raise _later(problem) from problem
            except Exception:
                LOG.exception("row without an answer", extra={"fields": {"request_id": one.question.entry.request_id}})
                answers.append({"error": INSIDE})
                continue
            answer = reply.answers[0]
            # A new dictionary: what is added here is not the answer's own, and records keep that.
            told = {**answer, VERSION: reply.arm.served.version, REQUEST_ID: one.question.entry.request_id}
            answers.append(answer if "error" in answer else told)
        return answers


def background(config: ServeConfig) -> ServeConfig:
    """The server's settings as a process that does jobs has them: one thread, no cache, and it leads no canary."""
    traffic = config.traffic.model_copy(update={"lead": False})
    changes = {"num_threads": 1, "cache": config.cache.model_copy(update={"max_mb": None}), "traffic": traffic}
    return config.model_copy(update=changes)


def _later(problem: Problem) -> Later:
    return Later(f"{problem.detail} {problem.todo}")
