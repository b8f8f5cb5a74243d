"""This process's counts: a listener that counts each version's replies, and a thread that writes them to the ledger.

Models without a deployment cost one comparison a reply. A version that the deployment wants and this server
refuses is written down, too, with the reason, so that whoever leads a canary learns of it. A ledger that cannot be
reached is tried again: rows hold totals, nothing is lost by it. Knows no verdict.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from luban.errors import LubanError
from luban.release.versions import DEFAULT
from luban.serve.traffic import counts
from luban.serve.traffic.counts import Counts, Place
from luban.serve.traffic.plans import CHAMPION, plan_of

if TYPE_CHECKING:
    from luban.release.standing import Standing
    from luban.serve.fleet.fleet import Fleet
    from luban.serve.fleet.routing import Picked
    from luban.serve.question import Question, Reply
    from luban.store.ledger import Ledger

LOG = logging.getLogger("luban.serve")
Figures = dict[Place, Mapping[str, Any]]
STOP_S = 5.0
"""How long a server that stops waits for the last counts; a ledger that is locked may hold them up for longer."""


class Counting:
    """A listener and watcher of the desk. Counts on the event loop; may be read from any thread."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int, int], Counts] = {}

    def answered(self, question: Question, reply: Reply) -> None:
        """Count a reply."""
        picked = reply.picked
        if picked.revision:
            self._of(question, picked).answered(reply.num_errors > 0, None if question.background else reply.seconds)

    def failed(self, question: Question, picked: Picked, error: Exception) -> None:
        """Count a request without a reply."""
        if picked.revision:
            self._of(question, picked).lost()

    def _of(self, question: Question, picked: Picked) -> Counts:
        arm = picked.arm
        key = question.entry.model, picked.revision, arm.served.version or 0
        found = self._counts.get(key)
        if found is None:
            share = 1.0 - arm.weight if arm.name == CHAMPION else arm.weight
            found = self._counts[key] = Counts(share)
        return found

    def figures(self, deployment: str = DEFAULT) -> Figures:
        """All that was counted, by place."""
        return {
            Place(model, deployment, revision, version): found.to_json()
            for (model, revision, version), found in list(self._counts.items())
        }


def refused(fleet: Fleet, read: Callable[[str], Standing], deployment: str = DEFAULT) -> Figures:
    """Versions that deployments want here and this server does not serve, with the reason. Raises StoreError."""
    found: Figures = {}
    for model in fleet.names():
        reason = fleet.live(model).reason
        plan = plan_of(read(model)) if reason else None
        if plan is None:
            continue
        for arm in (*plan.arms[1:], *plan.shadows):
            if f"Version {arm.version} " in reason:
                found[Place(model, deployment, plan.revision, int(arm.version))] = {"refused": reason}
    return found


class Writer:
    """Writes what `sources` give, every `every_s`, in a thread of its own, and once more at the end."""

    def __init__(self, ledger: Ledger, server: str, every_s: float, sources: list[Callable[[], Figures]]) -> None:
        self._ledger = ledger
        self._server = server
        self._every_s = every_s
        self._sources = sources
        self._written: dict[Place, Mapping[str, Any]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="luban-traffic", daemon=True)
        self._said = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Write once more, within `STOP_S`, and end."""
        self._stop.set()
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            LOG.error("counts lost", extra={"fields": {"reason": "The ledger did not take them in time."}})

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._write()
        self._write()

    def _write(self) -> None:
        try:
            found: dict[Place, dict[str, Any]] = {}
            for source in self._sources:
                for place, figures in source().items():  # A version may be an arm and a shadow at once.
                    found.setdefault(place, {}).update(figures)
            changed = {place: figures for place, figures in found.items() if self._written.get(place) != figures}
            if changed:
                counts.write(self._ledger, self._server, changed)
            self._written, self._said = {**found}, ""
        except Exception as error:  # The thread must outlive whatever a database driver raises.
            said = f"{type(error).__name__}: {error}"
            if said != self._said:
                LOG.warning(
                    "counts not written",
                    extra={"fields": {"reason": said}},
                    exc_info=None if isinstance(error, LubanError) else error,
                )
            self._said = said
