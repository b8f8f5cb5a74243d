"""What may come once: the identifiers of tokens that were used, until they have expired.

`Memory` keeps them in this process, or, with a folder, in files of a folder that all processes of a server share
(a file is made by one of them only). Restarted, the server has forgotten them. `InRedis` keeps them for all servers,
and beyond a restart; while Redis is gone, nobody comes in by such a token.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from luban.serve.http.problems import NotYet, Problem

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.guards.redis_counts import RedisCounts

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


class InRedis:
    """Identifiers that came to any server. Belongs to one event loop."""

    def __init__(self, redis: RedisCounts) -> None:
        self._redis = redis
        self._told: dict[str, bool] = {}
        """What Redis said to those who now ask again."""

    def take(self, name: str, until: float) -> bool:
        """Whether this is the first time. Raises NotYet: Redis must be asked."""
        told = self._told.pop(name, None)
        if told is None:
            gone = Problem("no-limits", "Tokens that were used cannot be looked up now.", "Ask again later.")
            raise NotYet(gone, partial(self._ask, name, until))
        return told

    async def _ask(self, name: str, until: float) -> None:
        first = await self._redis.once(name, max(1.0, until - time.time()) + 60)
        # Of two that came at once, one is the first: whoever asks again before the other takes that for it.
        self._told[name] = first or self._told.get(name, False)


def once_of(config: ServeConfig, shared: Path | None) -> Memory | InRedis:
    """Where this server keeps what may come once."""
    if config.limits.redis is None:
        return Memory(None if shared is None else shared / "once")
    from luban.serve.guards.redis_counts import RedisCounts

    return InRedis(RedisCounts(config.limits.redis))
