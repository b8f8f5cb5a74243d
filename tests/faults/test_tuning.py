"""kill -9 in the middle of a search, then the same call: the same trials, nothing done twice, the same result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .project import Answer, Tiny, check_whole, rows, side_by_side, without_time

TUNE = {"family": "linear", "trials": 7, "pruner": "halving", "space": {"c": [0.1, 100], "weighting": ["tfidf", "nb"]}}
KILLS = 3


def made(folder: Path) -> Tiny:
    """Enough rows for one rung: a third of the training rows is more than 200."""
    train = {"models": ["linear", "vote"], "num_threads": 1, "refit": False, "learning_curve": False}
    return Tiny.made(folder, rows(960), train=train, tune=TUNE)


def outcome(answer: Answer) -> dict[str, Any]:
    """What training came to, times left out."""
    done = answer.events[-1]
    return {
        "chosen": done["chosen"],
        "leaderboard": [without_time(row) for row in done["leaderboard"]],
        "tuning": done["tuning"],
    }


def decided(tiny: Tiny) -> dict[str, Any]:
    """All that was decided while training."""
    (found,) = (tiny.folder / ".luban").rglob("decisions.json")
    decisions: dict[str, Any] = json.loads(found.read_bytes())
    return decisions


def test_killed_in_a_search(tmp_path: Path) -> None:
    undisturbed = made(tmp_path / "undisturbed")
    counted = undisturbed.killed_at(0, "train", "--json")
    assert counted.status == 0, counted.err
    changes = int(counted.err.split("changes ")[-1])
    expected = outcome(counted)
    assert expected["tuning"]["counts"]["pruned"]
    assert {row["name"] for row in expected["leaderboard"]} >= {f"linear#{n}" for n in range(1, 8)}

    def one(number: int) -> None:
        tiny = made(tmp_path / str(number))
        killed = tiny.killed_at(number, "train", "--json")
        assert killed.status == -9
        kept = tiny.results()
        answer = tiny.done("train", "--json")
        assert outcome(answer) == expected
        assert decided(tiny) == decided(undisturbed)
        found = tiny.results()
        assert {key: found[key] for key in kept} == kept, "what was recorded was made again"
        for name, row in killed.candidates().items():
            assert answer.candidates()[name] == row, "a trial was trained again: its seconds differ"
        check_whole(tiny)

    side_by_side(one, [round(changes * (0.35 + 0.6 * n / KILLS)) for n in range(KILLS)])
