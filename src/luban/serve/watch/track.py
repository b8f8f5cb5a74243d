"""What is noted of one request on its way, for the log and for traces.

Every request has one; it is filled by whoever knows (the desk: who answered; the batcher: when), and read when the
request is over. Noting is free where a request is not traced. Knows no format and no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from luban.serve.fleet.routing import Picked
    from luban.serve.question import Caller


class Track:
    """One request's notes. `spans` is None where the request is not traced; times are of `time.perf_counter`."""

    __slots__ = ("num_rows", "picked", "root", "spans", "together", "traceparent")

    def __init__(self) -> None:
        self.picked: Picked | None = None
        self.num_rows = 0
        self.together = 1
        """Questions that were answered by one call of the model, this one among them."""
        self.spans: list[tuple[str, float, float]] | None = None
        self.root: object = None
        """The tracer's own: the span of the request itself, and by how much the clock on the wall is ahead."""
        self.traceparent = ""
        """The W3C header that names this request's own span; "" where it is not traced."""

    def span(self, name: str, began: float, ended: float) -> None:
        """Note a part of the way, if somebody wants to know."""
        if self.spans is not None:
            self.spans.append((name, began, ended))


class Told(Protocol):
    """A request as those see it who tell of it: what was asked, by whom, and its notes."""

    method: str
    path: str
    route: str
    """The path as it stands in the table of routes; "" where there is none."""
    id: str
    caller: Caller
    track: Track

    def header(self, name: str) -> str:
        """A header's value, "" where it is absent; `name` in small letters."""
