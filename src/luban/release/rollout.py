"""What a deployment may say beside its champion: fixed weights, shadows, a canary, an A/B test.

Frozen records, kept as JSON in the ledger. Decided here: the registry's alias alone says who is champion. A
*split* (weights, canary or test; one at a time) names the champion that it was made beside; once the alias names
another, by whatever command, the split is void and all questions go to the champion. So a promotion or a
rollback needs nobody's consent. Shadows go with any champion. Knows no ledger and no server.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from luban.catalog import Config

CANARY, CHALLENGER = "canary", "challenger"
Quality = Literal["off", "known", "required"]
Ended = Literal["rolled back", "promoted", "stopped"]


class Weight(Config):
    """One version's fixed share of the questions; the champion has what is left."""

    version: int = Field(ge=1)
    share: float = Field(gt=0, lt=1)


class CanaryRule(Config):
    """How a canary steps up, and what makes it go back."""

    steps: tuple[float, ...] = Field((0.05, 0.25, 0.5), min_length=1, max_length=20)
    """Shares of the questions that it is given one after the other, growing, above 0 and below 1."""
    step_s: float = Field(600.0, ge=0, le=30 * 86_400)
    """Seconds that a step lasts at least."""
    min_requests: int = Field(100, ge=1)
    """Requests that the canary must have answered in a step before the next."""
    max_error_rate: float | None = Field(None, gt=0, lt=1)
    """Share of failed requests above which it goes back, whatever the champion does; null: the comparison alone."""
    max_latency_ratio: float | None = Field(2.5, ge=1, le=100)
    """It goes back where its answers take more than this many times the champion's; null: time is not compared. Arms
    are asked in batches of their own, one after the other, so an equal one may be up to twice as slow."""
    quality: Quality = "known"
    """off: truth is not looked at. known: as far as it has come. required: no step without `min_truths`."""
    min_truths: int = Field(50, ge=1)
    """Judged answers that the canary must have, before its quality is said to be known."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Probability that a canary that is no worse goes back by chance, over all looks and all rules together."""
    promote: bool = False
    """Make it champion once the last step has held; else it stays there until a person decides."""

    @model_validator(mode="after")
    def _steps_grow(self) -> Self:
        inside = all(0 < share < 1 for share in self.steps)
        if not inside or list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"`steps` must grow, above 0 and below 1, but got {list(self.steps)}")
        return self


class Step(Config):
    """A step that was taken: since when (seconds since 1970), and the first revision that had this share."""

    share: float
    since: float
    revision: int


class Canary(Config):
    """A version on its way up. `id` is the revision that began it; the last of `steps` is where it stands.

    `after` is the number of the last truth that was there when it began.
    """

    id: int
    after: int = 0
    version: int
    rule: CanaryRule
    steps: tuple[Step, ...]
    status: Literal["running", "passed", "rolled back", "promoted", "stopped"] = "running"
    reason: str = ""

    @property
    def share(self) -> float:
        """Its share now: none once it has ended."""
        return self.steps[-1].share if self.status in ("running", "passed") else 0.0


class TestRule(Config):
    """What an A/B test compares."""

    __test__ = False

    share: float = Field(0.5, gt=0, lt=1)
    """Share of the questions that the challenger is given, from beginning to end."""
    metric: str = Field("accuracy", min_length=1)
    """accuracy: share of right answers. error: mean error of answers, where smaller is better. Any other: the business
    figure of that name, as it is posted to /v1/feedback."""
    smaller_is_better: bool = False
    """For a business figure that should be small. `error` always should."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Probability of calling two equal versions different, over all looks together."""
    min_units: int = Field(100, ge=2)
    """Callers (or requests) with a known outcome that each side must have before anything is said of an error or a
    business figure. Accuracy needs none: its test is exact at any number."""
    promote: bool = False
    """Make the challenger champion as soon as it is better; else it keeps its share until a person decides."""

    @property
    def falls(self) -> bool:
        """Whether smaller is better."""
        return self.smaller_is_better or self.metric == "error"


class Trial(Config):
    """An A/B test. `id` is the revision that began it; `since` in seconds since 1970; `after` as in Canary."""

    id: int
    after: int = 0
    version: int
    rule: TestRule
    since: float
    status: Literal["running", "better", "worse", "promoted", "stopped"] = "running"
    reason: str = ""

    @property
    def share(self) -> float:
        """Its share now: none once it has ended."""
        return self.rule.share if self.status in ("running", "better") else 0.0


class State(Config):
    """What one deployment says. `beside` is the champion that the split was made beside."""

    beside: int | None = None
    weights: tuple[Weight, ...] = ()
    shadows: tuple[int, ...] = ()
    canary: Canary | None = None
    test: Trial | None = None

    def split(self, champion: int | None) -> tuple[tuple[str, int, float], ...]:
        """Name, version and share of each arm beside the champion; nothing where another is champion now."""
        if champion is None or champion != self.beside:
            return ()
        if self.canary is not None and self.canary.share:
            return ((CANARY, self.canary.version, self.canary.share),)
        if self.test is not None and self.test.share:
            return ((CHALLENGER, self.test.version, self.test.share),)
        return tuple((f"v{weight.version}", weight.version, weight.share) for weight in self.weights)

    @property
    def salt(self) -> str:
        """Decides who gets which arm: the same through all steps of a canary, another for each trial."""
        if self.canary is not None and self.canary.share:
            return f"canary {self.canary.id}"
        if self.test is not None and self.test.share:
            return f"test {self.test.id}"
        return ""

    def ended(self, how: Ended, reason: str) -> State:
        """Without a split: whatever runs has ended so."""
        canary, test = self.canary, self.test
        if canary is not None and canary.share:
            canary = canary.model_copy(update={"status": how, "reason": reason})
        if test is not None and test.share:
            test = test.model_copy(update={"status": "stopped" if how == "rolled back" else how, "reason": reason})
        return self.model_copy(update={"weights": (), "canary": canary, "test": test})
