"""The bundle that is served now, and how it is exchanged while requests run.

A background thread looks where the bundle comes from (an alias of the registry, or a folder). When
something else is wanted there, it is loaded, audited and self-tested beside the old one, then exchanged
by one assignment: a request keeps the bundle that it began with. A bundle that cannot be loaded is
refused with its reason, and not tried again until another is wanted; the old one stays. A store or
ledger that cannot be reached for a while is asked again at the next look.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from luban.errors import BundleError, LubanError
from luban.serve.fleet import Arm, Routing
from luban.serve.origins import AliasOrigin, FolderOrigin, Lineup, Origin, Wanted, WantedArm

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle

__all__ = ["AliasOrigin", "FolderOrigin", "LiveBundle", "Origin", "Served", "Wanted"]
LOG = logging.getLogger("luban.serve")


@dataclass(frozen=True)
class Served:
    """A loaded bundle with what is said of it in answers. Immutable; threads share it."""

    wanted: Wanted
    bundle: Bundle
    since: datetime

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.wanted.name or self.bundle.manifest.name

    @property
    def version(self) -> int | None:
        """Number of the version; None for a bundle that is served from a folder."""
        return self.wanted.version

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of all columns of the schema."""
        return frozenset(column.name for column in self.bundle.schema.columns)

    @cached_property
    def lists(self) -> frozenset[str]:
        """Names of the columns whose values may be lists: inputs of such a type, and what is not read."""
        import pyarrow as pa

        features = self.bundle.preprocess.features
        return frozenset(n for n in self.columns if n not in features or pa.types.is_list(features[n].storage))

    @cached_property
    def counted(self) -> str | None:
        """The answer column whose values metrics count: the first, if it holds strings, or lists of them."""
        name, kind = next(iter(self.bundle.columns.items()))
        return name if kind in ("string", "array") else None


class LiveBundle:
    """Holds what is served. `now` and `reason` may be read by any thread at any time."""

    def __init__(self, origin: Origin, poll_s: float, load: Callable[[Path], Bundle] | None = None) -> None:
        self.now: Served | None = None
        self.reason = "Nothing was looked for yet."
        """Why nothing, or not the newest, is served; "" if all is well."""
        self.num_loaded = 0
        self.num_refused = 0
        self._routing: Routing | None = None
        self._origin = origin
        self._poll_s = poll_s
        self._load = load if load is not None else _load
        self._refused: set[str] = set()
        self._lineup: Lineup | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Name of the model; "" for a folder that is not loaded yet."""
        return self.now.name if self.now is not None else self._origin.name

    @property
    def routing(self) -> Routing | None:
        """How questions are shared out; None where nothing is loaded."""
        return self._routing

    def start(self) -> None:
        """Look once, then go on looking in a thread of its own.

        A folder that cannot be served raises its error; an alias may come to name a good bundle later.
        """
        self.check()
        if not self._origin.moves:
            if self.now is None:
                raise BundleError(self.reason)
            return
        self._thread = threading.Thread(target=self._poll, name="luban-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _poll(self) -> None:
        while not self._stop.wait(self._poll_s):
            try:
                self.check()
            except Exception as error:  # The thread must outlive whatever a database driver raises.
                self._say(f"Looking for a new version failed: {type(error).__name__}: {error}", error)

    def check(self) -> None:
        """Look once, and exchange the bundle if another is wanted."""
        try:
            lineup = self._origin.look()
        except (LubanError, OSError) as error:
            self._say(_words(error))
            return
        if lineup == self._lineup:
            self.reason, self._refused = "", set()
        elif not any(wanted.key in self._refused for wanted in lineup.versions()):
            self._exchange(lineup)

    def _exchange(self, lineup: Lineup) -> None:
        """Load what is not loaded yet, then exchange all at once; the old ones stay where one is refused."""
        held = {served.wanted.key: served for served in self._held()}
        for wanted in lineup.versions():
            if wanted.key not in held:
                served = self._loaded(wanted)
                if served is None:
                    return
                held[wanted.key] = served
        self._routing = Routing(_arms(lineup.arms, held), _arms(lineup.shadows, held))
        self.now, self._lineup = held[lineup.arms[0].wanted.key], lineup
        self.reason, self._refused = "", set()

    def _held(self) -> list[Served]:
        routing = self._routing
        return [arm.served for arm in (*routing.arms, *routing.shadows)] if routing is not None else []

    def _loaded(self, wanted: Wanted) -> Served | None:
        """The version, loaded and tested; None where it is refused or cannot be had, which is said."""
        try:
            served = self._try(wanted)
        except BundleError as error:
            self._refuse(wanted, _words(error))
        except (LubanError, OSError) as error:
            self._say(_words(error))
        except Exception as error:  # Whatever a damaged model makes a library raise: the old one stays.
            self._refuse(wanted, f"{type(error).__name__}: {error}", error)
        else:
            self.num_loaded += 1
            LOG.info("model loaded", extra={"fields": {**_fields(wanted), "identity": served.bundle.identity}})
            return served
        return None

    def _try(self, wanted: Wanted) -> Served:
        bundle = self._load(self._origin.fetch(wanted))
        if wanted.identity is not None and bundle.identity != wanted.identity:
            raise BundleError(
                f"The registry names identity {wanted.identity[:12]}, but the bundle is {bundle.identity[:12]}.",
                "Release the model again.",
            )
        # Loading tests the graph; this tests the whole path, and warms it up before a client waits for it.
        rows = bundle.example_rows()
        errors = bundle.predict(rows).errors if rows else []
        if errors and None not in errors:
            raise BundleError(f"The bundle answers none of its example rows: {errors[0]}.", "Release the model again.")
        return Served(wanted, bundle, datetime.now(UTC))

    def _refuse(self, wanted: Wanted, reason: str, error: Exception | None = None) -> None:
        self._refused.add(wanted.key)
        self.num_refused += 1
        kept = f" Version {self.now.version} stays." if self.now is not None else ""
        what = f"Version {wanted.version} of `{wanted.name}`" if wanted.version is not None else "The bundle"
        self._say(f"{what} is refused: {reason}{kept}", error)

    def _say(self, reason: str, error: Exception | None = None) -> None:
        """Keep and log why things are not well, once until it changes."""
        if reason != self.reason:
            self.reason = reason
            LOG.warning("model not loaded", extra={"fields": {"reason": reason}}, exc_info=error)


def _arms(wanted: tuple[WantedArm, ...], held: dict[str, Served]) -> tuple[Arm, ...]:
    return tuple(Arm(arm.name, held[arm.wanted.key], arm.weight) for arm in wanted)


def _words(error: Exception) -> str:
    """An error on one line, with its hint."""
    return " ".join(str(error).split())


def _fields(wanted: Wanted) -> dict[str, str | int | None]:
    return {"model": wanted.name, "version": wanted.version}


def _load(folder: Path) -> Bundle:
    from luban.bundle.bundle import Bundle

    return Bundle.load(folder)
