"""Settings of what is kept of answers and said with them: `serve.records`, `serve.review`, `serve.explain`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from luban.catalog import EXPLAINERS, Choice, Config
from luban.choices import OneOf
from luban.policy.rules import Role


class RecordsConfig(Config):
    """What is written down of answers, so that the truth can be joined to them later."""

    answers: bool = True
    """Write down each answer with its version, time and confidence; without it no truth can be joined."""
    rows: bool = False
    """Write down what was asked, too: needed to train on feedback. Rows may hold personal data."""
    share: float = Field(1.0, ge=0, le=1)
    """Share of the requests that are written down, by chance."""
    max_per_s: int = Field(500, ge=1)
    """Most rows that one worker writes down in a second; of more, the rest is left out and counted."""
    keep_days: float = Field(30.0, gt=0)
    """Days after which answers, truths and rows for review are removed."""
    max_kept: int = Field(1_000_000, ge=1)
    """Most answers of one model that are kept; of more, the oldest are removed."""
    max_waiting: int = Field(20_000, ge=1)
    """Most rows that wait in memory while the ledger cannot be written; of more, the oldest are dropped."""
    feedback_role: Role = "caller"
    """Least role that may tell truths. A caller may tell those of the answers that its own key or token was given, an
    operator those of all: where callers' truths are not to be trusted, give `operator`."""


class ReviewConfig(Config):
    """Which answers a person should look at. Their rows are kept in the ledger until they are too old."""

    below: float | None = Field(None, gt=0, le=1)
    """Answers less sure than this are marked, and their rows go to the queue. Left out: none."""
    outside: bool = False
    """Rows outside of what the model was trained on go to the queue, too. Needs `serve.rows.outside: mark`."""
    sample: float = Field(0.0, ge=0, le=1)
    """Share of all rows that go to the queue by chance, so that mistakes made with confidence are found."""
    within: float = Field(0.0, ge=0)
    """For numbers: how far from the truth still counts as right, in the target's unit."""
    within_share: float = Field(0.0, ge=0)
    """The same, as a share of the number that is answered: 0.1 is ten percent. The wider of both counts."""
    max_open: int = Field(10_000, ge=1)
    """Rows of one model that may wait in the queue; more are answered, but not put there."""
    lease_s: float = Field(900.0, gt=0, le=86_400)
    """Seconds that a row belongs to whoever took it, so that no two people decide the same."""

    @property
    def active(self) -> bool:
        """Whether any row can come to the queue."""
        return self.below is not None or self.outside or self.sample > 0


def _auto_or_method(value: Any) -> str:
    return "auto" if value == "auto" else "named"


Method = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[Annotated[Choice, OneOf(EXPLAINERS)], Tag("named")],
    Discriminator(_auto_or_method),
]


class ReasonsConfig(Config):
    """Reasons that come with an answer where `"explain": true` asks for them."""

    method: Method = "auto"
    """auto: Shapley values from few coalitions; or a method of `luban explain` that attributes to parts."""
    max_ms: float = Field(500.0, gt=0, le=60_000)
    """Time for the reasons of one request; what is not explained by then is answered without."""
    max_parts: int = Field(8, ge=1, le=1000)
    """Parts of a row that are named, those that weigh most."""
    max_rows: int = Field(16, ge=1)
    """Rows of one request that are explained, the first ones."""
    max_waiting: int = Field(16, ge=1)
    """Requests that may wait for the thread that explains; more are answered without reasons."""
    language: Literal["en", "zh"] = "en"
    """Language of the sentence; left out, the project's `language`."""
