"""The controller: looks at a running canary or test, and acts. One of all servers does, held by a lease of the ledger.

`look` is one pass over one model, and can be asked from anywhere; `Leader` is the thread of a server (and the loop of
`luban deployments watch`) that takes the lease where something runs. It keeps no figures of its own but truths that it
has read, and those can be read again: so a server that dies in the middle is replaced by another, which goes on. Each
act states the revision that it was thought of for, and the lease: whoever was paused, or overtaken by a person, is
refused. What it does stands on the audit trail under the name `canary`, or `test`, with the reason.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from luban.errors import LeaseHeld, LubanError, ReleaseError
from luban.policy.rules import Actor
from luban.release.deployments import Deployments, Hold
from luban.release.rollout import Canary, Trial
from luban.release.standing import Standing
from luban.release.versions import DEFAULT
from luban.serve.learning.outcomes import Outcomes
from luban.serve.traffic import counts
from luban.serve.traffic.evidence import ACCURACY, ERROR, Reader, Traffic, chosen_for_review
from luban.serve.traffic.verdicts import Verdict, of_canary, of_test
from luban.store.ledger import Lease, Ledger

LOG = logging.getLogger("luban.serve")
CANARY, TEST = Actor("canary"), Actor("test")
LEASE_S = 15.0
STOP_S = 2.0
"""How long a server that stops waits for its look; a ledger that is locked may hold that up for longer."""


@dataclass(frozen=True)
class Seen:
    """A deployment, and what follows for the canary or test that runs in it; None where nothing runs."""

    standing: Standing
    verdict: Verdict | None


class Controller:
    """Looks and acts for one ledger. Belongs to one thread."""

    def __init__(self, ledger: Ledger, deployments: Deployments) -> None:
        self._ledger = ledger
        self._deployments = deployments
        self._outcomes = Outcomes(ledger)
        self._readers: dict[tuple[str, str, int], Reader] = {}
        self._seen: dict[tuple[str, str, int], float] = {}

    def look(self, model: str, deployment: str = DEFAULT) -> Seen:
        """What follows now; changes nothing. Raises StoreError."""
        standing = self._deployments.read(model, deployment)
        canary, test = standing.state.canary, standing.state.test
        if canary is not None and canary.status == "running" and standing.split:
            return Seen(standing, self._of_canary(standing, canary))
        if test is not None and test.status == "running" and standing.split:
            return Seen(standing, self._of_test(standing, test))
        return Seen(standing, None)

    def act(self, seen: Seen, lease: Lease | None = None) -> Standing:
        """Do what follows. Raises ReleaseError where somebody was faster, LeaseHeld, StoreError."""
        standing, state = seen.standing, seen.standing.state
        hold = Hold(standing, lease)
        model, deployment = standing.model, standing.deployment
        overtaken = _overtaken(standing)
        if overtaken is not None:
            return self._deployments.stop(model, CANARY, overtaken, deployment, hold=hold)
        verdict = seen.verdict
        if verdict is None or verdict.act == "wait":
            return standing
        if verdict.act == "roll back":
            return self._deployments.stop(model, CANARY, verdict.reason, deployment, "rolled back", hold)
        if verdict.act == "step":
            assert state.canary is not None
            if state.canary.rule.promote and len(state.canary.steps) == len(state.canary.rule.steps):
                return self._deployments.promote(model, state.canary.version, CANARY, verdict.reason, deployment, hold)
            return self._deployments.step(hold, CANARY, verdict.reason)
        assert state.test is not None
        if verdict.act == "better" and state.test.rule.promote:
            return self._deployments.promote(model, state.test.version, TEST, verdict.reason, deployment, hold)
        return self._deployments.decide(hold, verdict.act, TEST, verdict.reason)

    def _of_canary(self, standing: Standing, canary: Canary) -> Verdict:
        assert standing.champion is not None
        rows = counts.read(self._ledger, standing.model, standing.deployment, canary.id)
        traffic = Traffic.of(rows, canary.version, standing.champion, canary.steps[-1].revision)
        reader = self._reader(standing, canary, canary.steps[0].since, (ACCURACY, ERROR))
        truths = reader.truths if canary.rule.quality != "off" else {}
        return of_canary(canary, traffic, truths, self._now(standing, canary))

    def _of_test(self, standing: Standing, test: Trial) -> Verdict:
        reader = self._reader(standing, test, test.since, (test.rule.metric,))
        return of_test(test, reader.truths[test.rule.metric])

    def _reader(self, standing: Standing, trial: Canary | Trial, since: float, metrics: tuple[str, ...]) -> Reader:
        """The reader of a canary or test, up to now; readers of others of this model are dropped."""
        assert standing.champion is not None
        key = standing.model, standing.deployment, trial.id
        if key not in self._readers:
            self._readers = {known: one for known, one in self._readers.items() if known[:2] != key[:2]}
            chosen = chosen_for_review(self._ledger)
            self._readers[key] = Reader(trial.version, standing.champion, since, trial.after, metrics, chosen)
        self._readers[key].read(self._outcomes, standing.model)
        return self._readers[key]

    def _now(self, standing: Standing, canary: Canary) -> float:
        """The ledger's clock; where that was set back, at least the time that this process has seen the step last."""
        step, seen = canary.steps[-1], time.monotonic()
        key = standing.model, standing.deployment, step.revision
        if key not in self._seen:
            self._seen = {known: at for known, at in self._seen.items() if known[:2] != key[:2]}
            self._seen[key] = seen
        with self._ledger.reading() as tx:
            return max(tx.clock(), step.since + seen - self._seen[key])


class Leader:
    """Looks after models while something runs, in a thread of its own; `models` gives their names at each look."""

    def __init__(
        self,
        ledger: Ledger,
        deployments: Deployments,
        models: Callable[[], Iterable[str]],
        every_s: float,
        told: Callable[[Seen], None] = lambda seen: None,
    ) -> None:
        self._ledger = ledger
        self._deployments = deployments
        self._controller = Controller(ledger, deployments)
        self._models = models
        self._every_s = every_s
        self._told = told
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: dict[str, str] = {}
        self._leases: dict[str, tuple[contextlib.ExitStack, Lease]] = {}

    def start(self) -> None:
        """Begin a thread."""
        self._thread = threading.Thread(target=self.run, name="luban-lead", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; another server takes over, at once or when the lease is over."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def run(self) -> None:
        """Look until `stop`."""
        while not self._stop.wait(self._every_s):
            self._look()
        for model in list(self._leases):
            self._give_back(model)

    def run_until_idle(self) -> None:
        """Look in this thread as long as something runs. Raises StoreError."""
        try:
            while any(self._runs(model) for model in self._models()):
                self._look()
                self._stop.wait(self._every_s)
        finally:
            for model in list(self._leases):
                self._give_back(model)

    def _look(self) -> None:
        for model in self._names():
            try:
                self._follow(model)
                self._said.pop(model, None)
            except LeaseHeld:
                self._give_back(model)  # Another leads.
            except ReleaseError as error:  # Somebody was faster: the next look sees what they did.
                LOG.info("deployment changed meanwhile", extra={"fields": {"reason": str(error)}})
            except Exception as error:  # The thread must outlive whatever a database driver raises.
                self._say(model, error)

    def _names(self) -> list[str]:
        try:
            return list(self._models())
        except LubanError as error:
            self._say("", error)
            return []

    def _follow(self, model: str) -> None:
        """One look at one model, holding its lease as long as something runs there."""
        if not self._runs(model):
            self._give_back(model)
            return
        if model not in self._leases:
            stack = contextlib.ExitStack()
            lease = stack.enter_context(self._ledger.lease(f"deployments:{model}", LEASE_S))
            self._leases[model] = stack, lease
            counts.forget(self._ledger, model, DEFAULT)
        seen = self._controller.look(model)
        self._told(seen)
        now = self._controller.act(seen, self._leases[model][1])
        if now.revision != seen.standing.revision:
            why = seen.verdict.reason if seen.verdict is not None else _overtaken(seen.standing)
            LOG.info("deployment moved", extra={"fields": {"model": model, "revision": now.revision, "reason": why}})

    def _give_back(self, model: str) -> None:
        held = self._leases.pop(model, None)
        if held is None:
            return
        try:
            held[0].close()
        except LubanError as error:  # It ends by itself after its time.
            self._say(model, error)

    def _say(self, model: str, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        if self._said.get(model) != said:
            known = isinstance(error, LubanError)
            fields = {"model": model, "reason": said}
            LOG.warning("deployment not led", extra={"fields": fields}, exc_info=None if known else error)
        self._said[model] = said

    def _runs(self, model: str) -> bool:
        standing = self._deployments.read(model)
        canary, test = standing.state.canary, standing.state.test
        running = any(one is not None and one.status == "running" for one in (canary, test))
        return running or _overtaken(standing) is not None


def _overtaken(standing: Standing) -> str | None:
    """Why a canary or test is void although nobody ended it; None where all is well."""
    state = standing.state
    if standing.split or not any(one is not None and one.share for one in (state.canary, state.test)):
        return None
    return f"Version {standing.champion} became champion by another command."
