"""What a gate is: one question about a candidate for release, answered with a reason.

Each gate is one file with a stable code. It looks, never changes, and does not know the registry.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from luban.catalog import Component

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
class Verdict:
    """A gate's answer: what was found, and, if it failed, what to do."""

    code: str
    title: str
    status: Literal["passed", "failed", "not applicable"]
    found: str
    todo: str = ""

    def to_json(self) -> dict[str, str]:
        """The verdict as plain JSON."""
        return asdict(self)


class Gate(Component):
    """One question. `code` is stable for ever ("G001"); `title` says what is asked."""

    code: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def check(self, case: Case) -> Verdict:
        """Look at the case."""

    def passed(self, found: str) -> Verdict:
        """A verdict that lets the release through."""
        return Verdict(self.code, self.title, "passed", found)

    def failed(self, found: str, todo: str) -> Verdict:
        """A verdict that stops the release."""
        return Verdict(self.code, self.title, "failed", found, todo)

    def not_applicable(self, found: str) -> Verdict:
        """A verdict for a case that the question does not fit."""
        return Verdict(self.code, self.title, "not applicable", found)
