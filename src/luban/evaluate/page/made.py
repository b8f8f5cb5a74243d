"""How the model came about: what was tried, how much more rows would help, how stable it is, what compression did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from luban.evaluate.figures import brief, shown, tick
from luban.evaluate.layout import Row
from luban.evaluate.origins import candidate_rows, leaderboard_note
from luban.evaluate.page import phrases
from luban.evaluate.page.blocks import Block, Figure, Figures, Heading, Table, Text
from luban.evaluate.page.plots import Axis, Line, chart

if TYPE_CHECKING:
    from luban.evaluate.view import View

MAX_CANDIDATES = 30


def made(view: View) -> Iterator[Block]:
    """The leaderboard, the search, and whether more rows would help."""
    t = view.words
    yield Text(leaderboard_note(view), soft=True)
    head = (t["candidate"], t["family"], t["status"], t["loss"], t["seconds"], t["note"])
    found = candidate_rows(view)
    yield Table(head, found[:MAX_CANDIDATES], right=3, note=True)
    if len(found) > MAX_CANDIDATES:
        yield Text(view.say("first_of", shown=str(MAX_CANDIDATES), all=f"{len(found):,}"), soft=True)
    yield from _more_rows(view)
    yield from _stability(view)
    yield from _tuning(view)


def _more_rows(view: View) -> Iterator[Block]:
    """The learning curve, and loss on training rows beside that on validation rows."""
    t, training = view.words, view.report.training
    curve, reading, fit = training.get("learning_curve"), training.get("more_rows"), training.get("fit")
    if not curve and not fit:
        return
    yield Heading(t["learning"])
    said = phrases.more_rows(view)
    if said:
        yield Text(said)
    if fit:
        yield Text(view.say("fit", train=shown(fit["train_loss"]), valid=shown(fit["valid_loss"])), soft=not said)
    if curve and reading and len(curve) > 1:
        points = [(float(one["rows"]), float(one["loss"])) for one in curve]
        band = [(float(one["low"]), float(one["high"])) for one in curve]
        low, high = min(low for low, _ in band), max(high for _, high in band)
        x = Axis(t["training_rows"], points[0][0], points[-1][0], lambda value: f"{value:,.0f}", log=True)
        svg = chart(t["learning"], x, Axis(t["loss"], low, high, tick), [Line("", points, "model", band, dots=True)])
        yield Figures([Figure(svg, t["learning_figure"], t["learning_note"])])


def _stability(view: View) -> Iterator[Block]:
    t, found = view.words, view.report.training.get("stability")
    if not found:
        return
    yield Heading(t["stability"])
    ends = {"low": shown(min(found["losses"])), "high": shown(max(found["losses"]))}
    if found.get("changed") is not None:
        yield Text(view.say("stable", changed=view.percent(found["changed"]), **ends))
    elif found.get("difference") is not None:
        yield Text(view.say("stable_numbers", difference=shown(found["difference"]), **ends))
    for seed, reason in found.get("failed", {}).items():
        yield Text(view.say("stable_failed", seed=seed, reason=view.translated(reason)))


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
    x, y = Axis(t["trial"], 1, len(losses), lambda v: f"{v:.0f}"), Axis(t["loss"], low, high, tick)
    lines = [
        Line("", [(position + 1, loss) for position, loss in enumerate(losses)], "other", dots=True),
        Line("", [(position + 1, loss) for position, loss in enumerate(best)], "model"),
    ]
    yield Figures([Figure(chart(t["tuning_curve"], x, y, lines), t["tuning_curve"], t["tuning_figure"])])


def compression(view: View) -> Iterator[Block]:
    """What was tried to make it smaller and faster, and why it was kept or not."""
    t, found = view.words, view.report.training.get("compression")
    if not found or not found["tried"]:
        return
    for one in found["tried"]:
        yield Text(phrases.compressed(view, one))
    measured = [one for one in found["tried"] if "row" in one]
    if measured:
        name = view.metric(measured[0]["metric"])
        head = (t["method_name"], t["time_row"], t["time_batch"], t["size"], name, t["status"])
        yield Table(head, [_measured(view, one) for one in measured], right=1)


def _measured(view: View, one: dict[str, Any]) -> Row:
    spans = [f"× {r['value']:.2f} ({r['low']:.2f}–{r['high']:.2f})" for r in (one["row"], one["batch"])]
    size = f"{brief(one['size_mb'][0])} → {brief(one['size_mb'][1])} MB"
    quality = "" if one["drop"] is None else f"{shown(one['before'])} → {shown(one['after'])}"
    mark = "chosen" if one["status"] == "accepted" else ""
    return Row((one["method"], *spans, size, quality, view.words[f"kept_{one['status']}"]), mark)
