"""The server's log: one JSON object a line on standard error, by the names of the Elastic Common Schema.

`@timestamp` (UTC), `log.level`, `message`, `ecs.version`, and the event's own members: what ECS has a name for is
called by it (`http.request.method`, `event.duration` in nanoseconds, …), all else is `luban.<name>`
(https://www.elastic.co/guide/en/ecs/current). Decided here:

- no body and no header is ever logged, so neither is a key;
- every text is masked: what looks like a telephone number, a mail address or a card is not written, since a reason
  may quote a row;
- requests are logged as `serve.log` says; failures and slow ones are not subject to sampling.

This module is set up by the server, never by importing it.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TextIO
from urllib.parse import unquote

import orjson

from luban import __version__
from luban.catalog import Config, execution
from luban.policy.masking import mask
from luban.serve.watch.tracing import parent_of

if TYPE_CHECKING:
    from luban.serve.watch.track import Told

LOGGERS = ("luban.serve", "luban.jobs", "uvicorn.error", "opentelemetry")
ECS_VERSION = "8.11.0"
MAX_TRACE = 20_000
"""Most characters of a traceback."""
NAMES = {
    "method": "http.request.method",
    "path": "url.path",
    "status": "http.response.status_code",
    "request_id": "http.request.id",
    "duration_ns": "event.duration",
    "trace_id": "trace.id",
    "span_id": "span.id",
    "caller": "user.name",
    "address": "server.address",
    "bytes": "http.request.body.bytes",
}
"""ECS's names of fields that this server logs."""


class LogConfig(Config):
    """Which requests are logged, beside what the server says of itself."""

    access: Literal["none", "errors", "slow", "all"] = execution("slow")
    """none; those answered with 500 and above; these and slow ones; or all."""
    slow_ms: float = execution(1000.0, gt=0)
    """What is slow, in milliseconds."""
    share: float = execution(1.0, gt=0, le=1)
    """With `all`: the share of good and quick requests that is logged, drawn at random."""


MAX_ERRORS_PER_S = 100
"""Requests answered with 5xx that are logged in a second, in one process."""
MAX_COMPLAINTS_PER_S = 10
"""Lines of the web server about what is no HTTP, in a second: whoever reaches the port can cause them."""


class Seldom(logging.Filter):
    """Lets through so many warnings of the web server in a second; how many it held back is in the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._ends = 0.0
        self._num_told = self._num_left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Errors always; a warning where there is room."""
        if record.levelno > logging.WARNING:
            return True
        now = time.monotonic()
        if now >= self._ends:
            self._ends, self._num_told = now + 1, 0
        self._num_told += 1
        if self._num_told > MAX_COMPLAINTS_PER_S:
            self._num_left_out += 1
            return False
        if self._num_left_out:
            record.fields = {"not_logged": self._num_left_out}
            self._num_left_out = 0
        return True


class Access:
    """Which requests are logged, and what of them."""

    def __init__(self, config: LogConfig) -> None:
        self._errors = config.access != "none"
        self._slow_s = config.slow_ms / 1000 if config.access in ("slow", "all") else float("inf")
        self._share = config.share if config.access == "all" else 0.0
        self._second_ends = 0.0
        self._num_told = self._num_left_out = 0
        self._away_told = float("-inf")
        self._num_away = 0

    def sent_away(self) -> None:
        """A request was sent away unread: the first is told at once, then once a second how many there were."""
        self._num_away += 1
        if self._errors and (now := time.monotonic()) >= self._away_told + 1:
            fields = {"count": self._num_away}
            logging.getLogger("luban.serve").warning("requests sent away", extra={"fields": fields})
            self._away_told, self._num_away = now, 0

    def wants(self, status: int, seconds: float) -> bool:
        """Whether this request is logged. Costs next to nothing."""
        if status >= 500:
            return self._errors and self._has_room()
        return seconds >= self._slow_s or (self._share > 0 and (self._share >= 1 or random.random() < self._share))

    def _has_room(self) -> bool:
        """Whether one more line of an error may be written in this second; those that may not are told as a number.

        Under overload most requests are refused: a line for each would cost more than their answers.
        """
        now = time.monotonic()
        if now >= self._second_ends:
            if self._num_left_out:
                fields = {"count": self._num_left_out}
                logging.getLogger("luban.serve").warning("requests not logged", extra={"fields": fields})
            self._second_ends, self._num_told, self._num_left_out = now + 1, 0, 0
        self._num_told += 1
        self._num_left_out += self._num_told > MAX_ERRORS_PER_S
        return self._num_told <= MAX_ERRORS_PER_S

    @staticmethod
    def write(request: Told, status: int, seconds: float) -> None:
        """One line."""
        fields: dict[str, object] = {
            "method": request.method,
            "path": unquote(request.path),  # or a mail address in it would not look like one
            "route": request.route,
            "status": status,
            "duration_ns": round(seconds * 1e9),
            "request_id": request.id,
            "caller": request.caller.name,
        }
        parent = parent_of(request.track.traceparent or request.header("traceparent"))
        if parent is not None:
            fields |= {
                "trace_id": f"{parent[0]:032x}",
                "span_id": f"{parent[1]:016x}" if request.track.traceparent else "",
            }
        picked = request.track.picked
        if picked is not None:
            served = picked.arm.served
            fields |= {"model": served.name, "version": served.version, "arm": picked.arm.name}
            fields["rows"] = request.track.num_rows
        level = logging.WARNING if status >= 500 else logging.INFO
        logging.getLogger("luban.serve").log(level, "request", extra={"fields": fields})


class JsonLines(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {...}}` adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "log.level": record.levelname.lower(),
            "message": mask(record.getMessage()),
            "ecs.version": ECS_VERSION,
            "service.name": "luban",
            "service.version": __version__,
            "log.logger": record.name,
            "process.pid": record.process,
        }
        for name, value in getattr(record, "fields", {}).items():
            if value is not None and value != "":
                line[NAMES.get(name, f"luban.{name}")] = mask(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[0] is not None:
            line["error.type"] = record.exc_info[0].__name__
            line["error.message"] = mask(str(record.exc_info[1]))
            line["error.stack_trace"] = mask(self.formatException(record.exc_info), MAX_TRACE)
        return orjson.dumps(line, default=str).decode()


def set_up(stream: TextIO | None = None) -> None:
    """Write the server's log to `stream` (standard error); calling it twice changes nothing."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.filters = [Seldom()] if name == "uvicorn.error" else []
        logger.handlers = [handler]
        logger.propagate = False
        # The web server tells at INFO that it starts and stops; that is said better here.
        logger.setLevel(logging.INFO if name.startswith("luban.") else logging.WARNING)
