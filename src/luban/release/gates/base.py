"""What a gate is: one question about a candidate for release, answered with a reason.

Each gate is one file with a stable code. It looks, never changes, and does not know the registry. What it finds it
says by key and values (`Said`), so that a report can say it in any language; a plug-in's gate may say a sentence.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from luban.catalog import Component
from luban.evaluate import wording
from luban.evaluate.phrasebook import translated

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Case:
    """What a gate may look at.

    `evaluation` and `training` are the reports of those verbs as JSON; `project` the resolved project
    file as JSON. `outputs` [rows of the test split, n] are what the training model gave for them,
    before export. `measured` has what `release.measure` found: `p50_ms`, `p95_ms`, `size_mb`.
    """

    bundle: Bundle
    dataset: Dataset
    evaluation: dict[str, Any]
    training: dict[str, Any]
    project: dict[str, Any]
    outputs: np.ndarray
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """A sentence by its key in `wording` and the values of its blanks, which may be said by key themselves."""

    key: str
    values: Mapping[str, str | Said] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`key`, and `values`, nested alike."""
        return {
            "key": self.key,
            "values": {k: v if isinstance(v, str) else v.to_json() for k, v in self.values.items()},
        }


Sentences: TypeAlias = str | Said | Sequence[Said]


def english(said: Sentences) -> str:
    """The sentences in English."""
    if isinstance(said, str):
        return said
    return wording.said([one.to_json() for one in _list(said)], "en")


def _list(said: Sentences) -> list[Said]:
    return [] if isinstance(said, str) else [said] if isinstance(said, Said) else list(said)


@dataclass(frozen=True)
class Verdict:
    """A gate's answer: what was found, and, if it failed, what to do, in English and (`says`) by keys."""

    code: str
    title: str
    status: Literal["passed", "failed", "not applicable"]
    found: str
    todo: str = ""
    says: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """`found` and `todo` by key and values; without those that were said in a sentence."""

    @classmethod
    def of(
        cls, gate: Gate, status: Literal["passed", "failed", "not applicable"], found: Sentences, todo: Sentences = ""
    ) -> Verdict:
        """A gate's verdict."""
        said = {"found": found, "todo": todo}
        says = {name: [one.to_json() for one in _list(what)] for name, what in said.items() if _list(what)}
        return cls(gate.code, gate.title, status, english(found), english(todo), says)

    def told(self, what: Literal["found", "todo"], language: wording.Language) -> str:
        """What was found, or what to do, in a language; a sentence of a plug-in's as it was said."""
        says = self.says.get(what)
        if says:
            return wording.said(says, language)
        return translated(self.found if what == "found" else self.todo, language)

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain JSON."""
        return asdict(self)


class Gate(Component):
    """One question. `code` is stable for ever ("G001"); `title` says what is asked."""

    code: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def check(self, case: Case) -> Verdict:
        """Look at the case."""

    def passed(self, found: Sentences) -> Verdict:
        """A verdict that lets the release through."""
        return Verdict.of(self, "passed", found)

    def failed(self, found: Sentences, todo: Sentences) -> Verdict:
        """A verdict that stops the release."""
        return Verdict.of(self, "failed", found, todo)

    def not_applicable(self, found: Sentences) -> Verdict:
        """A verdict for a case that the question does not fit."""
        return Verdict.of(self, "not applicable", found)
