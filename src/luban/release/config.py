"""The `release` and `budget` sections of a project file.

Decided here: all gates of the core are asked unless the project names its own list, in which plug-ins
may stand; a budget that is not stated is not judged. Does not know any gate.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from luban.catalog import GATES, Choice, Config
from luban.choices import OneOf

Promote = Literal["significant", "always", "never"]


class ReleaseConfig(Config):
    """What stands between a trained model and its users."""

    gates: tuple[Annotated[Choice, OneOf(GATES)], ...] = Field(
        default_factory=lambda: tuple(Choice(name, GATES.resolve(name).Config()) for name in GATES.own())
    )
    """The gates to pass, by name or `kind` with settings; all of Luban's own if left out."""
    promote: Promote = "significant"
    """When a new version becomes champion. significant: it beats the champion on the same test rows, the
    whole interval of the difference above zero. always: at once. never: by command alone. The first
    version always does."""

    @model_validator(mode="after")
    def _gates_once(self) -> ReleaseConfig:
        kinds = [gate.kind for gate in self.gates]
        twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if twice:
            raise ValueError(f"each gate must stand once, but these stand twice: {', '.join(twice)}")
        return self


class BudgetConfig(Config):
    """What a released model may cost; what is left out is not judged."""

    p95_ms: float | None = Field(None, gt=0)
    """Milliseconds in which 95 of 100 single rows are answered, in process, on the machine that releases."""
    size_mb: float | None = Field(None, gt=0)
    """Size of the bundle's files in megabytes (10⁶ bytes)."""
    max_drop: float = Field(0.01, ge=0)
    """Points of the first metric that compression may cost; of an error in the target's unit, the share by
    which it may grow."""
