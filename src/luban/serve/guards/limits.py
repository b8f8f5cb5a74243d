"""Limits: how much a caller may ask of a model. A guard, and an inspector of rows.

Decided here: requests are counted before a body is read, rows before the model is asked; what is refused says when
to come again (`Retry-After`) and what the limit is (`RateLimit` and `RateLimit-Policy`, the IETF draft
draft-ietf-httpapi-ratelimit-headers-10). Who has no key counts as one caller with all others like him. Knows no
bucket's inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from luban.serve.guards.counts import Counts
from luban.serve.guards.limits_config import LimitConfig, LimitsConfig
from luban.serve.http.problems import Problem

if TYPE_CHECKING:
    from luban.serve.fleet.served import Served
    from luban.serve.question import Caller, Entry, Question

Own = Callable[[str], LimitConfig | None]


class Limits:
    """Counts every entry. `own` gives the limit that a key was made with, by a caller's id."""

    def __init__(self, config: LimitsConfig, counts: Counts, own: Own = lambda caller_id: None) -> None:
        self._config = config
        self._counts = counts
        self._own = own
        self.num_refused = 0
        """Questions that came too often, or with too many rows."""

    def enter(self, entry: Entry) -> None:
        """Raises Problem where this caller asks too often."""
        limit = self._own(entry.caller.id) or self._config.requests
        if limit is not None:
            self._take("requests", entry.caller, entry.model, limit, 1)

    def inspect(self, question: Question, served: Served, faults: list[str | None]) -> None:
        """Raises Problem where this caller asks too many rows."""
        if question.rows:
            self.take_rows(question.entry.caller, question.entry.model, len(question.rows))

    @property
    def counts_rows(self) -> bool:
        """Whether rows are limited at all."""
        return self._config.rows is not None

    def take_rows(self, caller: Caller, model: str, count: int) -> None:
        """Count rows. Raises Problem where this caller asks too many."""
        limit = self._config.rows
        if limit is None:
            return
        if count > limit.capacity:
            self.num_refused += 1
            detail = f"At most {limit.capacity} rows may be asked at once, but got {count}."
            raise Problem("too-many-rows", detail, "Send fewer rows a request.")
        self._take("rows", caller, model, limit, count)

    def _take(self, what: str, caller: Caller, model: str, limit: LimitConfig, cost: int) -> None:
        wait = self._counts.take(f"{what}\0{caller.id or caller.name}\0{model}", limit, cost)
        if wait:
            self.num_refused += 1
            raise too_many(what, limit, wait)


def too_many(what: str, limit: LimitConfig, wait_s: float) -> Problem:
    """What to say to one who asks too much: the limit, and when to come again."""
    seconds = max(1, math.ceil(wait_s))
    window = max(1, math.ceil(limit.capacity / limit.rate_per_s))
    headers = {
        "retry-after": str(seconds),
        "ratelimit-policy": f'"{what}";q={limit.capacity};w={window}',
        "ratelimit": f'"{what}";r=0;t={seconds}',
    }
    wait_ms = math.ceil(wait_s * 1000 - 1e-6)
    detail = f"The limit is {limit.rate_per_s:g} {what} a second, at most {limit.capacity} at once."
    todo = f"Ask again in {wait_ms} ms, or ask for a higher limit."
    return Problem("too-many-requests", detail, todo, {"retry_after_ms": wait_ms}, headers)
