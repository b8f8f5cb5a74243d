"""The server's log: one JSON object a line on standard error.

Every line has `time` (UTC), `level`, `event` and the event's own fields; a traceback is one field. No
request header and no body is ever logged, so neither is a key. This module is set up by the
server, never by importing it.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson

LOGGERS = ("luban.serve", "uvicorn.error")


class JsonLines(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {...}}` adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def set_up(stream: TextIO | None = None) -> None:
    """Write the server's log to `stream` (standard error); calling it twice changes nothing."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        # The web server tells at INFO that it starts and stops; that is said better here.
        logger.setLevel(logging.WARNING if name.startswith("uvicorn") else logging.INFO)
