"""How a model came to be: what became of the rows that were read, and which candidates were tried.

Read from the records of prepare and train, in the words of a `View`. Knows no form, and no figure of the evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luban.evaluate.figures import number, shown, text
from luban.evaluate.layout import Row

if TYPE_CHECKING:
    from luban.evaluate.view import View

SPLITS = ("train", "valid", "test")


def candidate_rows(view: View) -> list[Row]:
    """The leaderboard, the best first, then those that were not trained."""
    found = view.report.training.get("leaderboard", [])
    ordered = sorted(found, key=lambda row: (row.get("loss") is None, row.get("loss") or 0.0))
    chosen = view.report.training.get("chosen")
    return [
        Row(
            (
                row["name"],
                row["family"],
                view.words.get("chosen" if row["name"] == chosen else row["status"], row["status"]),
                "" if row.get("loss") is None else number(row["loss"], 4) + _deviation(row),
                "" if row.get("seconds") is None else number(row["seconds"], 1),
                view.translated(text(row.get("reason"))),
            ),
            "chosen" if row["name"] == chosen else "",
        )
        for row in ordered
    ]


def leaderboard_note(view: View) -> str:
    """What candidates were chosen by."""
    loss = str(view.report.training.get("loss") or view.words["loss"])
    return view.say("leaderboard_note", loss=view.words.get(f"loss_{loss}", loss))


def data_rows(view: View) -> list[Row]:
    """Rows read, set aside by rule, kept, and dealt out; values changed."""
    data = view.report.data
    rows = data.get("rows", {})
    found = [Row((view.words["data_read"], shown(rows.get("found"))))] if rows else []
    for rule, count in sorted(rows.get("quarantined", {}).items()):
        found.append(Row((view.say("data_aside", rule=view.words.get(f"rule_{rule}", rule)), f"− {count:,}")))
    if rows:
        found.append(Row((view.words["data_kept"], shown(rows.get("kept"))), "chosen"))
    dealt = data.get("split", {}).get("rows", {})
    found += [Row((view.words[f"data_{part}"], f"{dealt[part]:,}")) for part in SPLITS if part in dealt]
    return found + changed_rows(view)


def changed_rows(view: View) -> list[Row]:
    """Values that steps changed, and values that could not be read."""
    data, found = view.report.data, []
    changed: dict[str, int] = {}
    for change in data.get("changes", []):
        changed[change["rule"]] = changed.get(change["rule"], 0) + change["count"]
    found += [
        Row((view.say("data_changed", step=view.words.get(f"step_{rule}", rule)), f"{count:,}"))
        for rule, count in changed.items()
    ]
    for column in data.get("columns", []):
        if column.get("unreadable"):
            label = view.say("data_unreadable", column=column["name"])
            found.append(Row((label, f"{column['unreadable']:,}")))
    return found


def _deviation(row: dict[str, Any]) -> str:
    """The deviation of a candidate's loss between folds, where there are folds."""
    return "" if row.get("spread") is None else f" ± {number(row['spread'], 4)}"
