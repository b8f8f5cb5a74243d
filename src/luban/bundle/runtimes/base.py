"""What a runtime is: it audits a stage's files, then opens them.

The bytes that were hashed are the bytes that are opened: a runtime is given bytes, never paths.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

from luban.bundle.manifest import StageSpec
from luban.catalog import Component
from luban.features.kinds import Arrays

Run = Callable[[Arrays], Arrays]
"""From a stage's `takes` (padded arrays by name) to its `gives`. Threads may share it."""


class Runtime(Component):
    """Executes stages of one kind."""

    @abstractmethod
    def audit(self, stage: StageSpec, files: Mapping[str, bytes]) -> str | None:
        """None if the files may be opened, or why not. Constructs nothing."""

    @abstractmethod
    def open(self, stage: StageSpec, files: Mapping[str, bytes], num_threads: int) -> Run:
        """The stage, ready to run. Only called after `audit` gave None."""
