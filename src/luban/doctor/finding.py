"""One line of what was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Finding:
    """What is so, and what mends it. `needed`: by the project that was asked about."""

    area: str
    name: str
    status: Status
    text: str
    mend: str = ""
    """A command, or what to do; empty where all is well."""
    needed: bool = False


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """All findings, and whether nothing that is needed is missing."""
    listed = list(findings)
    return {"findings": [asdict(one) for one in listed], "ok": not lacking(listed)}


def lacking(findings: Iterable[Finding]) -> list[Finding]:
    """What is needed and missing."""
    return [one for one in findings if one.needed and one.status == "missing"]
