"""What is to be released, and all that the verbs before found out about it. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luban.data.dataset import Dataset


@dataclass(frozen=True)
class Candidate:
    """What is to be released, and all that was found out about it.

    `folder` is what `train` left; `project`, `training` and `evaluation` are JSON.
    """

    project: dict[str, Any]
    dataset: Dataset
    folder: Path
    key: str
    training: dict[str, Any]
    evaluation: dict[str, Any]
    run_id: str
