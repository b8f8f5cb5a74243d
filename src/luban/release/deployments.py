"""Deployments: who shares a model's questions, changed at run time, one transaction and one audit entry a change.

Servers read the state every `serve.poll_s` seconds and follow. Decided here: each change is asked of `policy` first and
gives the deployment a new revision; whoever states the revision that it knows is refused where somebody was faster;
promotion and rollback are the registry's, so `luban models` and `luban deployments` cannot disagree. A version that
does not exist, or that is champion already, is refused. How a deployment stands in the ledger is in `standing`.
Knows no server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import or_, select

from luban.errors import ReleaseError
from luban.policy.rules import Actor, allow
from luban.release.registry import Registry
from luban.release.rollout import Canary, CanaryRule, Ended, State, Step, TestRule, Trial, Weight
from luban.release.standing import Standing, last_truth, read, write
from luban.release.versions import DEFAULT, numbers_of, shift
from luban.store.database import Transaction
from luban.store.ledger import Lease, Ledger
from luban.store.tables import audit


@dataclass(frozen=True)
class Hold:
    """A claim to act on what was read: refused where the deployment was changed since, or the lease was lost."""

    known: Standing
    lease: Lease | None = None


Make = Callable[[Standing, Transaction, int], State]
"""The new state, given what is and the new revision. Raises ReleaseError."""


class Deployments:
    """All deployments in one ledger. Threads and processes may share them."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry

    def read(self, model: str, deployment: str = DEFAULT) -> Standing:
        """How it stands. Raises StoreError."""
        with self._ledger.reading() as tx:
            return read(tx, model, deployment)

    def set_weights(
        self, model: str, shares: Mapping[int, float], actor: Actor, deployment: str = DEFAULT, reason: str = ""
    ) -> Standing:
        """Give versions fixed shares; the champion has what is left. No shares: all is the champion's."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            for number, share in shares.items():
                _challenger(tx, at, number)
                if not 0 < share < 1:
                    raise ReleaseError(f"The share of version {number} must be above 0 and below 1, but got {share:g}.")
            if math.fsum(shares.values()) > 1:
                total = f"{math.fsum(shares.values()):g}"
                raise ReleaseError(f"Shares must add up to 1 at most, but got {total}: the champion has what is left.")
            weights = tuple(Weight(version=number, share=share) for number, share in sorted(shares.items()))
            return _free(at).model_copy(update={"weights": weights, "beside": at.champion})

        detail = {"weights": {str(number): share for number, share in sorted(shares.items())}}
        return self._change(model, deployment, actor, "weights", detail, make, reason)

    def set_shadows(self, model: str, numbers: tuple[int, ...], actor: Actor, deployment: str = DEFAULT) -> Standing:
        """Let versions be asked too, without being heard; none: nobody."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            for number in numbers:
                _challenger(tx, at, number)
            return at.state.model_copy(update={"shadows": tuple(dict.fromkeys(numbers))})

        return self._change(model, deployment, actor, "shadow", {"versions": list(numbers)}, make)

    def start_canary(
        self, model: str, number: int, rule: CanaryRule, actor: Actor, deployment: str = DEFAULT
    ) -> Standing:
        """Begin a canary with the first share of its rule."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            _challenger(tx, at, number)
            step = Step(share=rule.steps[0], since=tx.clock(), revision=revision)
            canary = Canary(id=revision, after=last_truth(tx, model), version=number, rule=rule, steps=(step,))
            return _free(at).model_copy(update={"canary": canary, "weights": (), "beside": at.champion})

        detail = {"version": number, "rule": rule.model_dump(mode="json")}
        return self._change(model, deployment, actor, "canary", detail, make)

    def start_test(self, model: str, number: int, rule: TestRule, actor: Actor, deployment: str = DEFAULT) -> Standing:
        """Begin an A/B test of a version beside the champion."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            _challenger(tx, at, number)
            test = Trial(id=revision, after=last_truth(tx, model), version=number, rule=rule, since=tx.clock())
            return _free(at).model_copy(update={"test": test, "weights": (), "beside": at.champion})

        detail = {"version": number, "rule": rule.model_dump(mode="json")}
        return self._change(model, deployment, actor, "test", detail, make)

    def step(self, hold: Hold, actor: Actor, reason: str) -> Standing:
        """Take a running canary to its next share, or, after the last, let it have passed."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            canary = at.state.canary
            if canary is None or canary.status != "running":
                raise ReleaseError(f"No canary of `{at.model}` is running.")
            done = len(canary.steps)
            if done == len(canary.rule.steps):
                changed: dict[str, Any] = {"status": "passed"}
            else:
                step = Step(share=canary.rule.steps[done], since=tx.clock(), revision=revision)
                changed = {"steps": (*canary.steps, step)}
            return at.state.model_copy(update={"canary": canary.model_copy(update={**changed, "reason": reason})})

        known = hold.known
        return self._change(known.model, known.deployment, actor, "step", {}, make, reason, hold)

    def decide(self, hold: Hold, found: Literal["better", "worse"], actor: Actor, reason: str) -> Standing:
        """Let a running A/B test have come to its result. A challenger that is worse gets no more questions."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            test = at.state.test
            if test is None or test.status != "running":
                raise ReleaseError(f"No test of `{at.model}` is running.")
            return at.state.model_copy(update={"test": test.model_copy(update={"status": found, "reason": reason})})

        known, detail = hold.known, {"found": found}
        return self._change(known.model, known.deployment, actor, "decide", detail, make, reason, hold)

    def stop(
        self,
        model: str,
        actor: Actor,
        reason: str = "",
        deployment: str = DEFAULT,
        how: Ended = "stopped",
        hold: Hold | None = None,
    ) -> Standing:
        """End whatever shares the questions: all go to the champion. Shadows stay."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            return at.state.ended(how, reason)

        verb = "rollback" if how == "rolled back" else "stop"
        return self._change(model, deployment, actor, verb, {}, make, reason, hold)

    def promote(
        self,
        model: str,
        number: int,
        actor: Actor,
        reason: str = "",
        deployment: str = DEFAULT,
        hold: Hold | None = None,
    ) -> Standing:
        """Make a version champion with all questions, in one transaction with the end of what shared them."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            self._registry.promote_within(tx, model, number, actor, deployment, reason)
            return at.state.ended("promoted" if any(number == v for _, v, _ in at.split) else "stopped", reason)

        return self._change(model, deployment, actor, "promote", {"version": number}, make, reason, hold)

    def rollback(self, model: str, actor: Actor, reason: str = "", deployment: str = DEFAULT) -> Standing:
        """At once: end what shares the champion's questions, or, where nothing does, go back to the champion before."""

        def make(at: Standing, tx: Transaction, revision: int) -> State:
            if not at.split:
                self._registry.rollback_within(tx, model, actor, deployment, reason)
            return at.state.ended("rolled back", reason)

        return self._change(model, deployment, actor, "rollback", {}, make, reason)

    def history(self, model: str, limit: int = 100) -> list[dict[str, Any]]:
        """The audit trail of a model's deployments, promotions and rollbacks, newest first, as flat rows."""
        ours = audit.c.object.startswith(f"model {model} deployment ", autoescape=True)
        moved = audit.c.object.startswith(f"model {model} version ", autoescape=True)
        with self._ledger.reading() as tx:
            found = tx.execute(
                select(audit)
                .where(audit.c.workspace == tx.workspace, or_(ours, moved & audit.c.verb.in_(("promote", "rollback"))))
                .order_by(audit.c.number.desc())
                .limit(limit)
            ).all()
        columns = ("number", "time", "actor", "verb", "object")
        return [{**{name: getattr(row, name) for name in columns}, "detail": json.loads(row.detail)} for row in found]

    def _change(
        self,
        model: str,
        deployment: str,
        actor: Actor,
        verb: str,
        detail: Mapping[str, Any],
        make: Make,
        reason: str = "",
        hold: Hold | None = None,
    ) -> Standing:
        allow(actor, verb, f"model {model}")
        with self._ledger.transaction(hold.lease if hold is not None else None) as tx:
            at = read(tx, model, deployment)
            if hold is not None and at.revision != hold.known.revision:
                raise ReleaseError(
                    f"The deployment of `{model}` was changed meanwhile: {at.revision}, not {hold.known.revision}.",
                    "Look at it again: luban deployments show.",
                )
            revision = at.revision + 1
            state = make(at, tx, revision)
            write(tx, at, revision, state, actor)
            entry = {**detail, "revision": revision, **({"reason": reason} if reason else {})}
            self._ledger.audit(tx, actor.name, verb, f"model {model} deployment {deployment}", entry)
            after = read(tx, model, deployment)
            had, have = ({number for _, number, _ in one.split} for one in (at, after))
            # A share that ended beside the same champion; where another became champion, nothing was wrong with it.
            shift(tx, model, deployment, had - have if after.champion == at.champion else (), have)
            return after


def _challenger(tx: Transaction, at: Standing, number: int) -> None:
    """Raise ReleaseError unless it is a version beside the champion."""
    numbers = numbers_of(tx, at.model)
    if number not in numbers:
        known = f"Versions: {', '.join(map(str, numbers[:20]))}." if numbers else "Nothing is released yet."
        raise ReleaseError(f"`{at.model}` has no version {number}.", known)
    if at.champion is None:
        raise ReleaseError(f"`{at.model}` has no champion in the deployment `{at.deployment}`.", "Promote a version.")
    if number == at.champion:
        raise ReleaseError(f"Version {number} is the champion of `{at.model}` already.", "Name another version.")


def _free(at: Standing) -> State:
    """The state without a split. Raises ReleaseError where a canary or a test is under way."""
    for what, one in (("canary", at.state.canary), ("test", at.state.test)):
        if one is not None and one.share and at.split:
            raise ReleaseError(
                f"A {what} of version {one.version} is under way beside the champion of `{at.model}`.",
                "End it first: luban deployments stop.",
            )
    return at.state.ended("stopped", "Another version became champion.")
