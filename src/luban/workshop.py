"""The workshop: what every verb of one project works with, and how a verb's result is kept.

A `Workshop` holds the project, its state, the engine, who acts and who watches; while it is open for
work it holds the project's lease, so that two runs never work on one project at once. `kept` is the
one place where a verb's result is looked up or made: under a key of the verb's name, its code, its
libraries, its config and its inputs. It knows no verb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from luban.engine.local import LocalEngine
from luban.policy.rules import Actor
from luban.project import Project
from luban.release.registry import Registry
from luban.store.home import Home
from luban.store.keys import environment, result_key


class Watch:
    """Told what happens while a run works. This one is silent; faces override what they show."""

    def verb(self, name: str, kept: bool) -> None:
        """A verb begins; `kept`: its result was there already."""

    def step(self, what: str, share: float) -> None:
        """What is being done, and the share of it that is done, 0 to 1."""

    def candidate(self, row: dict[str, Any]) -> None:
        """A new row of the leaderboard."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True)
class Workshop:
    """One project, opened."""

    project: Project
    folder: Path
    home: Home
    engine: LocalEngine
    actor: Actor
    watch: Watch
    run_id: str = ""
    lease: Any = None
    decisions: Mapping[str, Any] = field(default_factory=dict)
    """Decisions of another run that are to be replayed: by verb, then by key."""

    @classmethod
    def open(cls, project: Project, folder: Path, watch: Watch | None = None) -> Workshop:
        """The workshop of the project in `folder`."""
        return cls(project, folder, Home.open(folder), LocalEngine(), Actor.current(), watch or Watch())

    @cached_property
    def registry(self) -> Registry:
        """Released models."""
        return Registry(self.home.ledger, self.home.store)

    @contextmanager
    def working(self, wait_s: float = 0.0, decisions: Mapping[str, Any] | None = None) -> Iterator[Workshop]:
        """The workshop with its lease held and a run begun; raises LeaseHeld if another run works.

        `decisions` are another run's, from `decisions.json`.
        """
        ledger, name = self.home.ledger, self.project.name
        with ledger.lease(f"project:{name}", wait_s=wait_s, on_wait=lambda held: self.watch.note(str(held))) as lease:
            run_id = ledger.begin_run(name, self.project.model_dump(mode="json"), environment())
            status = "failed"
            try:
                yield replace(self, run_id=run_id, lease=lease, decisions=decisions or {})
                status = "done"
            except KeyboardInterrupt:
                status = "interrupted"
                raise
            finally:
                ledger.end_run(run_id, status)

    def key(
        self, verb: str, code: Sequence[str], libraries: Sequence[str], config: object, inputs: Mapping[str, str]
    ) -> str:
        """The result key of a verb; another run's decisions, where they are replayed, are an input."""
        given = self.decisions.get(verb)
        if given is not None:
            from luban.catalog import fingerprint

            inputs = {**inputs, "decisions": fingerprint(given)}
        return result_key(verb, code, libraries, config, inputs)

    def kept(self, verb: str, key: str, make: Callable[[Path, str], None]) -> Path:
        """The folder of a verb's result: kept from before, or made now by `make(folder, key)`."""
        found = self.home.kept(key)
        self.watch.verb(verb, found is not None)
        self.home.ledger.event(self.run_id, verb, "kept" if found else "started", {"key": key})
        if found is None:
            if verb in self.decisions:
                self.home.ledger.preset(key, self.decisions[verb])
            found = self.home.keep(key, lambda folder: make(folder, key), self.lease)
            self.home.ledger.event(self.run_id, verb, "finished", {"key": key})
        return found
