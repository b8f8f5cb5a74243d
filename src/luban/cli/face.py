"""What a person or a machine sees while a verb works: progress, leaderboard, messages.

Three faces: `Bars` on a terminal, `Lines` elsewhere (quiet: one line a verb and a candidate), `Events`
with --json (one JSON object a line on standard output, the result last). Holds no business logic.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from luban.cli.said import emit
from luban.workshop import Watch


@contextmanager
def watching(as_json: bool) -> Iterator[Watch]:
    """The face that fits: JSON events, bars on a terminal, or plain lines."""
    if as_json:
        yield Events()
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with Bars() as bars:
            yield bars
    else:
        yield Lines()


class Events(Watch):
    """For machines: one JSON object a line."""

    def verb(self, name: str, kept: bool) -> None:
        """{"event": "verb", …}."""
        emit({"event": "verb", "verb": name, "kept": kept})

    def candidate(self, row: dict[str, Any]) -> None:
        """{"event": "candidate", …}: a row of the leaderboard."""
        emit({"event": "candidate", **row})

    def note(self, text: str) -> None:
        """{"event": "note", …}."""
        emit({"event": "note", "text": text})


class Lines(Watch):
    """For logs: a line a verb and a candidate, on standard error."""

    def verb(self, name: str, kept: bool) -> None:
        """`prepare: kept` or `prepare …`."""
        print(f"{name}: kept from before" if kept else f"{name} …", file=sys.stderr, flush=True)

    def candidate(self, row: dict[str, Any]) -> None:
        """One row of the leaderboard."""
        print(f"  {candidate_line(row)}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A line."""
        print(text, file=sys.stderr, flush=True)


class Bars(Lines):
    """For a person at a terminal: a bar for what is being done, lines above it for what is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=1.0)
        self._verb = ""

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def verb(self, name: str, kept: bool) -> None:
        """A line for the verb, and a fresh bar."""
        self._verb = name
        self._print(f"[bold]{name}[/bold]" + (" [dim]kept from before[/dim]" if kept else ""))
        self._progress.reset(self._task, description=name, total=1.0)

    def step(self, what: str, share: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, description=f"{self._verb}: {what}", completed=share)

    def candidate(self, row: dict[str, Any]) -> None:
        """One row of the leaderboard above the bar."""
        self._print(f"  {candidate_line(row)}")

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)


def candidate_line(row: dict[str, Any]) -> str:
    """A leaderboard row as a line of text."""
    if row["status"] != "trained":
        return f"{row['name']:<14} {row['status']}: {row['reason']}"
    return f"{row['name']:<14} loss {row['loss']:.4f}   {row['seconds']:.1f} s   {row['reason']}".rstrip()
