"""The models of one server, by name; who answers a question; and what is loaded again because it was asked.

A model is asked by its routing (`routing.py`), which `live` keeps; one that is idle is loaded by the first question
that comes, off the event loop, while others of that model wait for the same load and those of other models go on.
A version that answers nobody may be asked by its number: by operators, or by all where `any_version` says so.
Knows no protocol, and not how a bundle is loaded.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from luban.errors import LubanError, ServeError
from luban.serve.fleet.live import STOP_S, LiveBundle
from luban.serve.fleet.memory import Memory
from luban.serve.fleet.origins import Origin
from luban.serve.fleet.routing import Picked, Routing
from luban.serve.fleet.waking import LATER, Waking
from luban.serve.http.problems import Problem

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.serve.fleet.served import Served
    from luban.serve.question import Question

LOG = logging.getLogger("luban.serve")
TICK_S = 1.0
"""Time between two looks at what should be given back, at most."""


@dataclass(frozen=True)
class Origins:
    """Where the models of one server come from; the first is asked where no model is named.

    `more` gives models that may join while it runs. Where it is given, the server is ready with one model;
    else it needs all of `first`.
    """

    first: tuple[Origin, ...]
    more: Callable[[], Sequence[Origin]] | None = None


class Fleet:
    """All models of one server. Lives are started by `start`; questions are picked on one event loop."""

    def __init__(
        self,
        origins: Origins,
        poll_s: float = 1.0,
        memory: Memory | None = None,
        load: Callable[[Path], Bundle] | None = None,
        any_version: bool = False,
    ) -> None:
        self.memory = memory if memory is not None else Memory()
        self._origins = origins
        self._poll_s = poll_s
        self._load = load
        self._any_version = any_version
        self._models: dict[str, LiveBundle] = {}
        self._waking = Waking()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Load what is wanted, as far as there is room, then follow it. Raises BundleError, ServeError."""
        try:
            for origin in self._origins.first:
                self._add(origin)
        except BaseException:
            self.stop()
            raise
        self._thread = threading.Thread(target=self._keep, name="luban-fleet", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; who waits for a load is told no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
        for live in self._models.values():
            live.stop()
        self._waking.close()

    def names(self) -> list[str]:
        """Names of the models that this server may be asked."""
        return list(self._models)

    def live(self, model: str = "") -> LiveBundle:
        """One model. Raises Problem where there is no such one."""
        models = self._models
        if not model:
            return next(iter(models.values()))
        if model not in models:
            raise Problem("no-such-model", f"There is no model `{model}` here.", "Those that you may ask: /v1/models.")
        return models[model]

    def unready(self) -> str:
        """Why this server should not be asked yet; "" where it may be."""
        waiting = [live for live in self._models.values() if live.state == "refused"]
        if not waiting or (self._origins.more is not None and len(waiting) < len(self._models)):
            return ""
        return waiting[0].reason

    def pick(self, question: Question) -> Picked | None:
        """Who answers; None where it must be loaded first (`load`). Raises Problem."""
        live = self._models.get(question.entry.model) or self.live(question.entry.model)
        if question.version is not None:
            return self._pick_numbered(live, question, question.version)
        shelf = live.shelf
        routing = shelf.routing
        if routing is not None:
            shelf.touch()
            return routing.pick(question.sticky or question.entry.request_id)
        if live.state == "refused":
            raise Problem("no-model", live.reason, "Release a model, or wait until it is loaded.", None, LATER)
        return None

    def load(self, question: Question) -> asyncio.Future[Routing]:
        """What `pick` said must be loaded first; who holds the future keeps it loaded. The future may hold a Problem.

        Many may wait for one load: add a callback, and never cancel the future.
        """
        live = self.live(question.entry.model)
        number = question.version
        return self._waking.load(live, None if number is None or _answers(live, number) else number)

    async def served(self, model: str = "") -> Served:
        """What answers for a model first, loaded where it is idle. Raises Problem."""
        live = self.live(model)
        now = live.now
        if now is not None:
            return now
        if live.state == "refused":
            raise Problem("no-model", live.reason, "Release a model, or wait until it is loaded.", None, LATER)
        routing = await asyncio.shield(self._waking.load(live, None))
        return routing.arms[0].served

    def _pick_numbered(self, live: LiveBundle, question: Question, number: int) -> Picked | None:
        if not (self._any_version or _answers(live, number) or question.entry.caller.may("operator")):
            detail = f"Version {number} of `{live.name}` answers nobody now, so asking it takes the role operator."
            raise Problem("not-allowed", detail, "Ask without a version, or set serve.any_version.")
        arm = live.shelf.find(number)
        if arm is None:
            return None
        live.shelf.touch()
        return Picked(arm)

    def _add(self, origin: Origin) -> None:
        live = LiveBundle(origin, self._poll_s, self._load, self.memory)
        live.start()
        if live.name in self._models:
            live.stop()
            raise ServeError(f"Two models of one server must have different names, but got `{live.name}` twice.")
        self._models = {**self._models, live.name: live}

    def _keep(self) -> None:
        config = self.memory.config
        tick_s = min([TICK_S, *(s / 4 for s in (config.idle_s, config.spare_s) if s)])
        while not self._stop.wait(tick_s):
            try:
                self.memory.sweep()
                for origin in self._origins.more() if self._origins.more is not None else ():
                    if origin.name not in self._models:
                        self._add(origin)
            except (LubanError, OSError) as error:
                LOG.warning("models not looked for", extra={"fields": {"reason": str(error)}})
            except Exception:  # The thread must outlive whatever a database driver raises.
                LOG.exception("models not looked for")


def _answers(live: LiveBundle, number: int) -> bool:
    lineup = live.lineup
    return lineup is not None and any(wanted.version == number for wanted in lineup.versions())
