"""How the model came about: what was tried, how much more rows would help, how stable it is, what compression did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from luban.evaluate.figures import brief, number, shown
from luban.evaluate.layout import Row
from luban.evaluate.page.blocks import Block, Figure, Figures, Heading, Table, Text
from luban.evaluate.page.plots import Axis, Line, chart

if TYPE_CHECKING:
    from luban.evaluate.view import View

MAX_CANDIDATES = 30


def made(view: View) -> Iterator[Block]:
    """The leaderboard, the search, and whether more rows would help."""
    t = view.words
    yield Text(view.leaderboard_note, soft=True)
    head = (t["candidate"], t["family"], t["status"], t["loss"], t["seconds"], t["note"])
    yield Table(head, view.candidates[:MAX_CANDIDATES], right=3, note=True)
    if len(view.candidates) > MAX_CANDIDATES:
        yield Text(view.say("first_of", shown=str(MAX_CANDIDATES), all=f"{len(view.candidates):,}"), soft=True)
    yield from _tuning(view)


def _tuning(view: View) -> Iterator[Block]:
    t, found = view.words, view.report.training.get("tuning")
    if not found:
        return
    trials = [one for one in found["trials"] if one["loss"] is not None]
    yield Heading(t["tuning"])
    blanks = {"family": found["family"], "number": f"{len(found['trials']):,}"}
    if found["best_yaml"]:
        yield Text(view.say("tuning_best", best=found["best"], settings=f"`{found['best_yaml']}`", **blanks))
    else:
        yield Text(view.say("tuning_none", **blanks))
    yield from _progress(view, trials)


def _progress(view: View, trials: list[dict[str, Any]]) -> Iterator[Block]:
    """The best loss so far, trial by trial."""
    t = view.words
    if len(trials) < 3:
        return
    losses = [float(one["loss"]) for one in trials]
    best = [min(losses[: position + 1]) for position in range(len(losses))]
    low, high = min(losses), max(losses)
    x, y = Axis(t["trial"], 1, len(losses), lambda v: f"{v:.0f}"), Axis(t["loss"], low, high, shown)
    lines = [
        Line("", [(position + 1, loss) for position, loss in enumerate(losses)], "other", dots=True),
        Line("", [(position + 1, loss) for position, loss in enumerate(best)], "model"),
    ]
    yield Figures([Figure(chart(t["tuning"], x, y, lines), t["tuning"], t["tuning_figure"])])


def compression(view: View) -> Iterator[Block]:
    """What was tried to make it smaller and faster, and why it was kept or not."""
    t, found = view.words, view.report.training.get("compression")
    if not found or not found["tried"]:
        return
    for one in found["tried"]:
        key = f"compressed_{one['code']}"
        said = view.say(key, reason=one["reason"], **_figures(one, found)) if key in t else one["reason"]
        yield Text(f"{one['method']}{t['colon']}{said}")
    measured = [one for one in found["tried"] if "row" in one]
    if measured:
        head = (t["method"], t["time_row"], t["time_batch"], t["size"], t["drop"], t["status"])
        yield Table(head, [_measured(view, one) for one in measured], right=1)


def _figures(one: dict[str, Any], found: dict[str, Any]) -> dict[str, str]:
    """The blanks of a compression's sentence."""
    if "row" not in one:
        return {}
    return {
        "row": f"{one['row']['value']:.2f}",
        "batch": f"{one['batch']['value']:.2f}",
        "before": brief(one["size_mb"][0]),
        "after": brief(one["size_mb"][1]),
        "drop": "" if one["drop"] is None else shown(one["drop"]),
        "allowed": shown(found["max_drop"]),
        "moved": f"{one['moved']:,}",
        "asked": f"{one['asked']:,}",
    }


def _measured(view: View, one: dict[str, Any]) -> Row:
    spans = [f"× {r['value']:.2f} ({r['low']:.2f}–{r['high']:.2f})" for r in (one["row"], one["batch"])]
    size = f"{brief(one['size_mb'][0])} → {brief(one['size_mb'][1])} MB"
    status = view.words[one["status"]]
    mark = "chosen" if one["status"] == "accepted" else ""
    return Row((one["method"], *spans, size, "" if one["drop"] is None else number(one["drop"], 4), status), mark)
