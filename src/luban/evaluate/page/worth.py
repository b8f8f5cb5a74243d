"""What it costs and earns: time, size, money, and how answers hold when the same thing comes written otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from luban.evaluate.figures import shown, span
from luban.evaluate.layout import Row
from luban.evaluate.page import phrases
from luban.evaluate.page.blocks import Block, Heading, Table, Text

if TYPE_CHECKING:
    from luban.evaluate.view import View


def costs(view: View) -> Iterator[Block]:
    """Time, size, time to train, and money."""
    if view.cost_rows:
        yield Table((), view.cost_rows)
    yield from money(view)


def money(view: View) -> Iterator[Block]:
    """From which confidence on to answer, and what that earns, where it is stated what answers are worth."""
    t, found = view.words, view.evaluation.get("costs")
    if not found:
        return
    yield Heading(view.say("money", currency=found["currency"]))
    if found["reason"]:
        yield Text(view.translated(found["reason"]))
        return
    for sentence in phrases.money_advice(view):
        yield Text(sentence)
    rows = [
        Row(
            (
                phrases.policy(view, one),
                shown(one["value"]),
                span(one["low"], one["high"]),
                view.percent(one["reviewed"]),
                view.percent(one["error"]),
            ),
            "chosen" if one["policy"] == "chosen" else "",
        )
        for one in found["money"]
    ]
    yield Table((t["policy"], t["per_1000"], t["interval"], t["to_person"], t["wrong_share"]), rows)
    yield Text(view.say("money_note", rows=f"{found['num_valid']:,}"), soft=True)


def robustness(view: View) -> Iterator[Block]:
    """What each way of writing the same thing otherwise does to the answers."""
    t, found = view.words, view.evaluation.get("robustness")
    if not found:
        return
    yield Text(view.say("robustness_note", rows=f"{found['num_rows']:,}"), soft=True)
    head = (t["change"], t["rows"], t["changed_share"], view.metric(found["figure"]), t["afterwards"], t["no_answer"])
    yield Table(head, [_perturbed(view, one) for one in found["perturbed"]])


def _perturbed(view: View, one: dict[str, Any]) -> Row:
    changed = view.percent(one["changed"]) if one["changed"] is not None else shown(one["moved"])
    cells = (
        phrases.perturbation(view, one),
        f"{one['num_rows']:,}",
        changed,
        shown(one["before"]),
        shown(one["after"]),
        f"{one['num_refused']:,}",
    )
    return Row(cells, "failed" if one["significant"] else "")
