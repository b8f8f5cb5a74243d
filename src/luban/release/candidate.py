"""What is to be released, and all that the verbs before found out about it. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luban.data.dataset import Dataset


@dataclass(frozen=True)
class Candidate:
    """What is to be released, and all that was found out about it.

    `folder` is what `train` and `compress` left, `keys` are the keys of their results, in order; `project`,
    `training`, `evaluation` and `explanation` are JSON; `errors` and `explained` too, which hold rows' own values.
    """

    project: dict[str, Any]
    dataset: Dataset
    folder: Path
    keys: dict[str, str]
    training: dict[str, Any]
    evaluation: dict[str, Any]
    run_id: str
    errors: dict[str, Any] | None = None
    explanation: dict[str, Any] | None = None
    explained: dict[str, Any] | None = None
    explain_key: str = ""
    """Key of the explanation's result, whose decisions are kept with the others."""

    @property
    def last_key(self) -> str:
        """The key of what made the bundle: what is measured on it is decided under this key."""
        return list(self.keys.values())[-1]
