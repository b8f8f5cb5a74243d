"""Records of answers, and of rows that a person should look at: written beside the requests, never in their way.

A reply is put to a queue in memory (about a microsecond); a thread writes what has come in one transaction every
`WRITE_S`. Decided here:

- a ledger that is locked or away costs no request: what waits is kept, tried again, and beyond the bounds (rows and
  bytes) the oldest is dropped and counted;
- killed at any instant, what was not written yet is lost, at most the last half second, and nothing is half written;
  told to stop, all is written first;
- a request id that comes again keeps its first answer: nobody can write over another's record. The others are counted;
- of very many requests only `max_per_s` rows are recorded, so that the thread's work is bounded; rows that were
  marked for review are always among them;
- what is older than `keep_days`, and of answers what is more than `max_kept`, is removed. For a day after the clock was
  set by more than an hour nothing is removed by age: a clock that is wrong must not cost all records.

Where nobody waits for answers (`patient`: jobs), nothing is left out or dropped, and there is no thread: whoever asked
calls `write` before it goes on, and so waits for the ledger itself.

Several workers and servers may write to one ledger. Knows no task and no protocol.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from luban.errors import StoreError
from luban.serve.learning.chance import Draw, by_chance
from luban.serve.learning.recorded import Item, answers_of, insert_new, reviews_of
from luban.serve.learning.review_queue import num_open
from luban.serve.learning.sweep import Sweep
from luban.serve.learning.truths import Judge, join
from luban.serve.watch.figures import Sample
from luban.store.tables import answers as answer_table
from luban.store.tables import reviews as review_table

if TYPE_CHECKING:
    from luban.serve.learning.learning_config import RecordsConfig
    from luban.serve.question import Answer, Question, Reply
    from luban.store.ledger import Ledger

WRITE_S = 0.5
FLUSH_S = 5.0
"""How long a server that stops waits for the last records."""
BATCH_ROWS = 500
MAX_WAITING_BYTES = 64 * 1024 * 1024
UNKNOWN_BYTES = 1024 * 1024
"""What a row is taken to weigh that came in a body without a length."""
PATIENT_ROWS = 2000
"""The same where nobody waits: fewer, larger transactions."""
BUSY_SHARE, PATIENT_SHARE = 0.25, 0.5
"""Of the time at most so much is spent writing, so that others find the ledger free; unless the server stops."""
NO_ROWS: Mapping[int, Any] = {}
Waiting: TypeAlias = (
    "tuple[float, str, str, str, tuple[str, int | None], float | None, list[Answer], Mapping[int, Any], "
    "Mapping[int, list[str]] | None, bool, int, str]"
)
"""The members of an `Item`."""
LOG = logging.getLogger("luban.serve")


class Records:
    """A listener with a thread of its own. `answered` belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        config: RecordsConfig,
        max_open: int,
        judge: Judge,
        clock: Callable[[], float] = time.time,
        draw: Draw = by_chance,
        patient: bool = False,
    ) -> None:
        self._draw = draw
        self._patient = patient
        self.batch_rows = PATIENT_ROWS if patient else BATCH_ROWS
        """Rows of one transaction, about."""
        self._rest = 1 / (PATIENT_SHARE if patient else BUSY_SHARE) - 1
        self._ledger = ledger
        self._config = config
        self._answers, self._keep_rows, self._max_waiting = config.answers, config.rows, config.max_waiting
        self._share = config.share
        self._max_open = max_open
        self._judge = judge
        self._clock = clock
        self._sweep = Sweep(ledger, config.keep_days, config.max_kept, clock)
        self._queue: deque[Waiting] = deque()
        self._batch: list[Item] = []
        self._second, self._left = 0.0, 0
        # Each number is changed by one thread alone: those of the loop, then those of the writer.
        self._came = self._came_bytes = self._fell = self._fell_bytes = self.num_skipped = 0
        self._went = self._went_bytes = self._lost = 0
        self.num_written = self.num_repeated = self.num_refused_reviews = 0
        self._failing = self._full = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="luban-records", daemon=True)

    @property
    def num_waiting(self) -> int:
        """Rows that are not written yet."""
        return self._came - self._fell - self._went

    @property
    def num_dropped(self) -> int:
        """Rows that will never be written."""
        return self._fell + self._lost

    def start(self) -> Records:
        """Start the thread, unless whoever asks is patient."""
        if not self._patient:
            self._thread.start()
        return self

    def close(self) -> None:
        """Write what waits, within `FLUSH_S`; say what was lost."""
        self._stop.set()
        if self._patient:
            self.write()
        else:
            self._thread.join(FLUSH_S)
        if self.num_waiting:
            LOG.error("records lost", extra={"fields": {"rows": self.num_waiting}})

    def answered(self, question: Question, reply: Reply) -> None:
        """Put one reply to the queue."""
        now, marked, answers = self._clock(), reply.marked, reply.answers
        every = self._answers and self._is_drawn(now, question.entry.request_id, len(answers))
        if not every and marked is None:
            return
        rows, num_bytes = NO_ROWS, 0
        if marked is not None or self._keep_rows:
            rows, num_bytes = self._rows(question, marked, every)
        self._came += len(answers)
        self._came_bytes += num_bytes
        arm, entry, sticky = reply.picked.arm, question.entry, question.sticky
        # Who named a version was not drawn, and marked answers alone are no fair sample: neither has a share.
        share = arm.weight if every and question.version is None else None
        by = (arm.name, arm.served.version)
        # A plain tuple: the writer makes an `Item` of it.
        told = (now, entry.request_id, entry.model, sticky, by, share, answers, rows, marked, every, num_bytes)
        self._queue.append((*told, entry.caller.id))
        if self._patient:
            return
        if self._came - self._fell - self._went > self._max_waiting or self._waiting_bytes > MAX_WAITING_BYTES:
            self._drop()

    def _rows(
        self, question: Question, marked: Mapping[int, list[str]] | None, every: bool
    ) -> tuple[Mapping[int, Any], int]:
        """Rows that are to be kept, by position, and what they are taken to weigh."""
        asked = question.rows
        rows = {
            position: asked[position] for position in (range(len(asked)) if every and self._keep_rows else marked or ())
        }
        return rows, question.entry.num_bytes or UNKNOWN_BYTES * len(rows)

    def figures(self) -> Iterable[Sample]:
        """For metrics."""
        yield Sample("luban_records_waiting", (), self.num_waiting)
        yield Sample("luban_records_written_total", (), self.num_written)
        yield Sample("luban_records_dropped_total", (), self.num_dropped)
        yield Sample("luban_records_skipped_total", (), self.num_skipped)

    @property
    def _waiting_bytes(self) -> int:
        return self._came_bytes - self._fell_bytes - self._went_bytes

    def _is_drawn(self, now: float, request_id: str, count: int) -> bool:
        if self._share < 1 and self._draw("records", request_id, 0) >= self._share:
            return False
        if self._patient:
            return True
        if not 0 <= now - self._second < 1:
            self._second, self._left = now, self._config.max_per_s
        if self._left <= 0:
            self.num_skipped += count
            return False
        self._left -= count
        return True

    def _drop(self) -> None:
        """Forget the oldest until the bounds are kept."""
        while self._queue and (self.num_waiting > self._config.max_waiting or self._waiting_bytes > MAX_WAITING_BYTES):
            try:
                item = self._queue.popleft()
            except IndexError:  # the writer was faster
                return
            self._fell += len(item[6])
            self._fell_bytes += item[10]

    def _run(self) -> None:
        pause = WRITE_S
        while not self._stop.wait(pause):
            started = time.perf_counter()
            self.write()
            self._sweep.now_and_then()
            pause = max(WRITE_S, (time.perf_counter() - started) * self._rest)
        self.write()

    def write(self) -> None:
        """Write what waits, in as many transactions as it takes; leave it where the ledger refuses."""
        while self._batch or self._queue:
            self._batch = self._batch or self._taken()
            count, size = sum(len(one.answers) for one in self._batch), sum(one.num_bytes for one in self._batch)
            started = time.perf_counter()
            try:
                self._put(self._batch)
            except StoreError as error:
                self._say_failing(error)
                return
            except Exception:
                # One reply that cannot be written must not hold up all others for ever.
                if len(self._batch) > 1:
                    half = len(self._batch) // 2
                    self._queue.extendleft(reversed(self._batch[half:]))
                    self._batch = self._batch[:half]
                    continue
                LOG.exception("records cannot be written", extra={"fields": {"rows": count}})
                self._lost += count
            else:
                self._failing = False
            self._batch = []
            self._went += count
            self._went_bytes += size
            self._stop.wait((time.perf_counter() - started) * self._rest)

    def _taken(self) -> list[Item]:
        batch: list[Item] = []
        count = 0
        while count < self.batch_rows:
            try:
                batch.append(Item._make(self._queue.popleft()))
            except IndexError:  # empty, or the loop dropped the last one
                break
            count += len(batch[-1].answers)
        return batch

    def _say_failing(self, error: StoreError) -> None:
        if not self._failing:
            self._failing = True
            LOG.warning("records wait", extra={"fields": {"reason": error.message, "rows": self.num_waiting}})

    def _put(self, batch: list[Item]) -> None:
        answers = [row for item in batch for row in answers_of(item, self._config.rows)]
        reviews = [row for item in batch for row in reviews_of(item)]
        if not answers:
            return
        with self._ledger.transaction() as tx:
            written = insert_new(tx, answer_table, answers)
            room = {model: self._max_open - num_open(tx, model) for model in {row["model"] for row in reviews}}
            queued = []
            for row in reviews:
                room[row["model"]] -= 1
                if room[row["model"]] >= 0:
                    queued.append(row)
            insert_new(tx, review_table, queued)
            # Last: a truth that waited closes the row of its answer.
            join(tx, [(row["request_id"], row["position"]) for row in answers], self._judge)
        self.num_written += written
        self.num_repeated += len(answers) - written
        refused = len(reviews) - len(queued)
        self.num_refused_reviews += refused
        if refused and not self._full:
            LOG.warning("the review queue is full", extra={"fields": {"max_open": self._max_open}})
        self._full = bool(refused) if reviews else self._full
