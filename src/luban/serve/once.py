"""What may come once: the identifiers of tokens that were used, until they have expired.

`Memory` keeps them in this process, or, with a folder, in files of a folder that all processes of a server share
(a file is made by one of them only). Restarted, the server has forgotten them, unless they are kept in Redis.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from luban.serve.problems import Problem

MAX_KEPT = 1_000_000
_SWEEP_S = 30.0


class Memory:
    """Identifiers that came, with the time until which each is kept."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._until: dict[str, float] = {}
        self._swept = time.monotonic()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def take(self, name: str, until: float) -> bool:
        """Whether this is the first time. Raises Problem where too many are kept: in doubt, nobody comes in."""
        self._sweep()
        if self._folder is not None:
            return self._make(self._folder / f"{int(until)}-{name}")
        if name in self._until:
            return False
        if len(self._until) >= MAX_KEPT:
            raise Problem("busy", "Too many tokens were used.", "Ask again later.", None, {"retry-after": "30"})
        self._until[name] = until
        return True

    def _make(self, path: Path) -> bool:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True

    def _sweep(self) -> None:
        """Forget those that have expired by any clock's account; a minute more, in case one was set back."""
        if time.monotonic() - self._swept < _SWEEP_S:
            return
        self._swept, past = time.monotonic(), time.time() - 60
        self._until = {name: until for name, until in self._until.items() if until > past}
        if self._folder is not None:
            for path in self._folder.iterdir():
                if float(path.name.partition("-")[0]) < past:
                    path.unlink(missing_ok=True)
