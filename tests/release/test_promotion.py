"""The rules of promotion."""

from __future__ import annotations

import pytest

from luban.release.config import ReleaseConfig
from luban.release.promotion import should_promote

BETTER = {"metric": "f1", "difference": 0.02, "low": 0.01, "high": 0.03, "significant": True, "worse": False}
CHANCE = {**BETTER, "low": -0.01, "significant": False}
WORSE = {**BETTER, "difference": -0.02, "low": -0.03, "high": -0.01, "significant": False, "worse": True}
NONE = {**BETTER, "low": None, "high": None, "significant": False, "reason": "one class"}


@pytest.mark.parametrize(
    ("rule", "comparison", "expected", "words"),
    [
        ("significant", BETTER, True, "it is better"),
        ("significant", CHANCE, False, "may be chance"),
        ("significant", WORSE, False, "worse"),
        ("significant", NONE, False, "one class"),
        ("significant", None, False, "not compared"),
        ("always", None, True, "always"),
        ("always", WORSE, True, "always"),
        ("never", BETTER, False, "by command"),
    ],
)
def test_rules(rule, comparison, expected: bool, words: str) -> None:
    promote, reason = should_promote(rule, comparison)
    assert promote is expected
    assert words in reason


def test_all_gates_are_asked_by_default() -> None:
    assert [gate.kind for gate in ReleaseConfig().gates] == [
        "baseline",
        "leak",
        "parity",
        "neighbours",
        "budget",
        "governance",
    ]


def test_a_list_of_gates_is_read_with_their_settings() -> None:
    config = ReleaseConfig.model_validate({"gates": ["baseline", {"kind": "parity", "tolerance": 1e-3}]})
    assert config.gates[1].config.tolerance == 1e-3  # type: ignore[attr-defined]
    assert ReleaseConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("raw", [{"gates": ["baseline", "baseline"]}, {"gates": ["basline"]}, {"promote": "sometimes"}])
def test_wrong_settings_are_refused(raw) -> None:
    with pytest.raises(ValueError, match=r"twice|Did you mean `baseline`|significant"):
        ReleaseConfig.model_validate(raw)
