"""The response cache: rows that were answered before are not asked again. Off unless `serve.cache.max_mb` is set.

Decided here: an answer is kept by row, under a keyed hash (BLAKE2b, 128 bits, a key drawn at each start) of the
bundle's identity, the options with their defaults, and the values of the input columns, told apart by type: 1, 1.0,
true, "1" and a missing value are five values. Rows carry no context in this protocol of bundles, so there is none
in the key. Not kept are rows themselves, errors, and answers of a bundle with state; questions for reasons and
those of very many rows go past the cache. Bounded in bytes (estimated), the longest unused goes first; too old is
what has lain for `ttl_s` by the monotonic clock. Belongs to one event loop. Knows no protocol.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

from luban.serve.fleet.memory import MB
from luban.serve.question import Answer
from luban.serve.watch.figures import Sample

if TYPE_CHECKING:
    from luban.serve.fleet.cache_config import CacheConfig
    from luban.serve.fleet.served import Served
    from luban.serve.watch.track import Track
    from luban.tasks.base import TaskOptions

MAX_ROWS = 1000
"""Questions of more rows go past the cache: looking them all up would hold others up."""
_PLAIN = frozenset({str, int, float, bool, type(None), bytes})
_ENTRY_BYTES = 300
"""What an entry takes beside its answer: key, order, times."""


Submit: TypeAlias = Callable[
    ["Served", list[Mapping[str, Any]], "TaskOptions | None", float, "Track | None"], "asyncio.Future[list[Answer]]"
]
"""One answer a row, later: `Batcher.submit`, and `ResponseCache.submit` in front of it."""


class ResponseCache:
    """In front of the batcher; asks it what is not kept. Answers are equal to those without it."""

    def __init__(self, ask: Submit, config: CacheConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.hits: dict[str, int] = {}
        self.misses: dict[str, int] = {}
        """Rows by name of the model."""
        self.num_bytes = 0
        self._ask = ask
        self._max_bytes = int((config.max_mb or 0) * MB)
        self._ttl_s = config.ttl_s
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, tuple[float, int, Answer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def figures(self) -> Iterator[Sample]:
        """For those who watch."""
        for model, count in self.hits.items():
            yield Sample("luban_cache_hits_total", (model,), count)
        for model, count in self.misses.items():
            yield Sample("luban_cache_misses_total", (model,), count)
        yield Sample("luban_cache_entries", (), len(self))
        yield Sample("luban_cache_bytes", (), self.num_bytes)

    def submit(
        self,
        served: Served,
        rows: list[Mapping[str, Any]],
        options: TaskOptions | None,
        deadline: float,
        track: Track | None = None,
    ) -> asyncio.Future[list[Answer]]:
        """As the batcher's, which is asked for those rows alone that are not kept."""
        if not rows or len(rows) > MAX_ROWS or not served.stateless:
            return self._ask(served, rows, options, deadline, track)
        keys = self._keys(served, rows, options)
        found = [self._get(key) for key in keys]
        missing = [place for place, answer in enumerate(found) if answer is None]
        name = served.name
        self.hits[name] = self.hits.get(name, 0) + len(rows) - len(missing)
        self.misses[name] = self.misses.get(name, 0) + len(missing)
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        if not missing:
            future.set_result([answer for answer in found if answer is not None])
            return future
        asked = self._ask(served, [rows[place] for place in missing], options, deadline, track)
        asked.add_done_callback(partial(self._take, future, keys, found, missing))
        return future

    def _take(
        self,
        future: asyncio.Future[list[Answer]],
        keys: Sequence[bytes | None],
        found: list[Answer | None],
        missing: Sequence[int],
        asked: asyncio.Future[list[Answer]],
    ) -> None:
        if asked.cancelled():
            future.cancel()
            return
        error = asked.exception()
        if error is None:
            for place, answer in zip(missing, asked.result(), strict=True):
                self._put(keys[place], answer)
                found[place] = answer
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result([answer for answer in found if answer is not None])

    def _keys(self, served: Served, rows: list[Mapping[str, Any]], options: TaskOptions | None) -> list[bytes | None]:
        """A key a row; None for one that holds what has no plain form."""
        asked = options.model_dump_json() if options is not None else served.default_options
        common = blake2b(digest_size=16, key=self._secret)
        common.update(f"{served.bundle.identity}\n{asked}\n".encode())
        names = served.inputs
        keys: list[bytes | None] = []
        for row in rows:
            values = [row.get(name, ...) for name in names]
            if all(value is ... or _is_plain(value) for value in values):
                one = common.copy()
                # What Python writes of plain values tells types and numbers apart; JSON has one word for NaN,
                # infinity and nothing. Of a file it would write four times as much: it is hashed by itself.
                one.update(repr([_File(value) if type(value) is bytes else value for value in values]).encode())
                keys.append(one.digest())
            else:
                keys.append(None)
        return keys

    def _get(self, key: bytes | None) -> Answer | None:
        entry = self._kept.get(key) if key is not None else None
        if key is None or entry is None:
            return None
        until, size, answer = entry
        if until <= self._clock():
            del self._kept[key]
            self.num_bytes -= size
            return None
        self._kept.move_to_end(key)
        copied: Answer = _copied(answer)
        return copied

    def _put(self, key: bytes | None, answer: Answer) -> None:
        if key is None or "error" in answer:
            return
        size = _ENTRY_BYTES + _size(answer)
        if size > self._max_bytes:
            return
        before = self._kept.pop(key, None)
        self.num_bytes += size - (before[1] if before is not None else 0)
        # A copy: who finishes an answer may add to it, and what it adds is of one request.
        self._kept[key] = (self._clock() + self._ttl_s, size, _copied(answer))
        while self.num_bytes > self._max_bytes:
            _, (_, freed, _) = self._kept.popitem(last=False)
            self.num_bytes -= freed


class _File:
    """A file among values, written as its hash; nothing plain is written so."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __repr__(self) -> str:
        return f"<{blake2b(self._data).hexdigest()}>"


def _is_plain(value: Any) -> bool:
    return type(value) in _PLAIN or (type(value) is list and all(map(_is_plain, value)))


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copied(inner) if type(inner) in (dict, list) else inner for name, inner in value.items()}
    if type(value) is list:
        return [_copied(inner) if type(inner) in (dict, list) else inner for inner in value]
    return value


def _size(value: Any) -> int:
    size = sys.getsizeof(value)
    if type(value) is dict:
        return size + sum(map(_size, value.values()))
    return size + sum(map(_size, value)) if type(value) is list else size
