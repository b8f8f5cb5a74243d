"""What the model gets wrong: classes, mistakes, slices, rows to read, and how far its confidence can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from luban.evaluate.figures import inner, shown, signed, span, tick
from luban.evaluate.layout import Row
from luban.evaluate.page import phrases
from luban.evaluate.page.blocks import Block, Card, Cards, Figure, Figures, Heading, Matrix, Piece, Table, Text
from luban.evaluate.page.plots import Axis, Bubble, Line, bubbles, chart, columns

if TYPE_CHECKING:
    from luban.evaluate.view import View

MAX_SLICES = 10
MAX_ROWS = 10
MAX_CURVES = 3
MARKS = ("model", "third", "other")


def results(view: View) -> Iterator[Block]:
    """Metrics with intervals beside the others, comparisons, curves."""
    t = view.words
    yield Text(view.results_note, soft=True)
    head = (t["metric"], t["value"], t["interval"], *(t[name] for name in view.others))
    rows = [
        Row((f"{name}\n{about}", value, interval, *beside)) for name, about, value, interval, beside in view.metric_rows
    ]
    yield Table(head, [Row(row.cells, "chosen" if not number else "") for number, row in enumerate(rows)])
    for sentence in view.reasons:
        yield Text(sentence, soft=True)
    for sentence in view.comparisons:
        yield Text(sentence)
    if view.coverage:
        yield Text(view.coverage)
    figures = [*_ranking(view)]
    if figures:
        yield Figures(figures)


def _ranking(view: View) -> Iterator[Figure]:
    """ROC and precision–recall curves."""
    t, curves = view.words, view.evaluation.get("curves") or {}
    share = lambda value: f"{value * 100:.0f}"  # noqa: E731
    axes = {
        "roc": (t["false_alarms"], t["found_share"]),
        "pr": (t["found_share"], t["right_share"]),
    }
    for name, (x, y) in axes.items():
        found = (curves.get(name) or [])[:MAX_CURVES]
        if not found:
            continue
        lines = [Line(curve["of"], curve["points"], MARKS[number]) for number, curve in enumerate(found)]
        svg = chart(t[name], Axis(f"{x} (%)", 0, 1, share), Axis(f"{y} (%)", 0, 1, share), lines, name == "roc")
        named = [f"{phrases.curve_of(view, curve['of'])} {shown(curve['area'])}" for curve in found]
        if len(named) == 1:
            yield Figure(svg, t[name], f"{t['area']}{t['colon']}{named[0]}")
        else:
            yield Figure(svg, t[name], t["area"], [*zip(MARKS, named, strict=False)])


def wrong(view: View) -> Iterator[Block]:
    """Classes, the matrix or the commonest mistakes, slices, errors to read."""
    yield from _classes(view)
    yield from slices(view)
    yield from _rows(view)
    yield from _residuals(view)


def _classes(view: View) -> Iterator[Block]:
    t = view.words
    if view.class_rows:
        yield Heading(t["per_class"])
        if note := phrases.weakest(view):
            yield Text(note)
        head = (t["class"], t["precision"], t["recall"], t["f1"], t["support"], t["answered"])
        yield Table(head, view.class_rows)
        if note := phrases.classes_left_out(view):
            yield Text(note, soft=True)
    if view.matrix:
        labels, lines = view.matrix
        yield Heading(t["confusion"])
        yield Text(t["confusion_note"], soft=True)
        yield Matrix(f"{t['truth']} \\ {t['answer']}", labels, lines)
    elif view.mistakes:
        yield Heading(t["confusions"])
        yield Table((t["truth"], t["answer"], t["rows"]), view.mistakes, right=2)


def slices(view: View) -> Iterator[Block]:
    """How groups of rows fare against the rest, the worst first."""
    t, found = view.words, view.evaluation.get("slices")
    if not found or not found["slices"]:
        return
    yield Heading(t["slices"])
    yield Text(
        view.say("slices_note", number=f"{found['num_looked_at']:,}", worse=f"{found['num_worse']:,}",
                 metric=inner(view.metric(found["figure"])), value=shown(found["value"])),
        soft=True,
    )  # fmt: skip
    rows = []
    for one in found["slices"][:MAX_SLICES]:
        difference = "" if one["difference"] is None else signed(round(one["difference"], 3))
        interval = span(one["low"], one["high"])
        q = "" if one["q_value"] is None else "< 0.001" if one["q_value"] < 0.001 else f"{one['q_value']:.3f}"
        cells = (phrases.slice_name(view, one), f"{one['num_rows']:,}", shown(one["value"]), interval, difference, q)
        worse = one["significant"] and one["difference"] < 0
        rows.append(Row(cells, "failed" if worse else ""))
    yield Table((t["slice"], t["rows"], view.metric(found["figure"]), t["interval"], t["against_rest"], "q"), rows)


def _rows(view: View) -> Iterator[Block]:
    """Errors to read; only on a page that may hold rows."""
    t, found = view.words, view.rows.get("errors")
    if not found:
        return
    if found["worst"]:
        yield Heading(t["worst"])
        counts = {"wrong": f"{found['num_wrong'] or 0:,}", "rows": f"{found['num_rows']:,}"}
        yield Text(t["worst_note"] if found["num_wrong"] is None else view.say("worst_some", **counts), soft=True)
        yield Cards([_card(view, row) for row in found["worst"][:MAX_ROWS]])
    seen = {row["row_id"] for row in found["worst"][:MAX_ROWS]}
    suspects = [row for row in found["suspects"] if row["row_id"] not in seen][:MAX_ROWS]
    if suspects:
        yield Heading(t["suspects"])
        yield Text(view.say("suspects_note", number=f"{found['num_suspects']:,}"), soft=True)
        yield Cards([_card(view, row) for row in suspects])


def _card(view: View, row: dict[str, Any]) -> Card:
    key = "row_sure" if row["confidence"] is not None else "row_plain"
    sure = view.percent(row["confidence"])
    head = view.say(key, answer=row["answer"], truth=row["truth"], **({"sure": sure} if key == "row_sure" else {}))
    pictures = row.get("pictures", {})
    values = [(name, [Piece(value or "–", 0.0, pictures.get(name, ""))]) for name, value in row["inputs"].items()]
    return Card(head, values, row["row_id"][:12])


def trust(view: View) -> Iterator[Block]:
    """Calibration, and how wrong it is if it need not answer all."""
    t = view.words
    share = lambda value: f"{value * 100:.0f}"  # noqa: E731
    figures = []
    if view.calibration:
        dots = _dots(view)
        axes = Axis(f"{t['confidence']} (%)", 0, 1, share), Axis(f"{t['accuracy']} (%)", 0, 1, share)
        figures.append(
            Figure(
                bubbles(view.calibration, *axes, dots),
                t["calibration"],
                f"{view.calibration}{t['space']}{t['calibration_note']}",
            )
        )
    found = (view.evaluation.get("curves") or {}).get("coverage_risk")
    if found:
        top = max([0.05, *(risk for _, risk in found["points"])])
        x, y = (
            Axis(f"{t['answered_share']} (%)", 0, 1, share),
            Axis(f"{t['wrong_share']} (%)", 0, top, lambda v: f"{v * 100:.3g}"),
        )
        said = t["semicolon"].join(phrases.answered(view, one) for one in found["answered"] if one["share"] < 0.999)
        figures.append(
            Figure(
                chart(t["coverage_risk"], x, y, [Line("", found["points"])]),
                t["coverage_risk"],
                f"{t['coverage_risk_note']}{t['space']}{said}{t['stop'] if said else ''}",
            )
        )
    if figures:
        yield Figures(figures)


def _dots(view: View) -> list[Bubble]:
    t = view.words
    bins = [bin for bin in view.evaluation["calibration"]["bins"] if bin["num_rows"]]
    total = sum(bin["num_rows"] for bin in bins)
    found = []
    for bin in bins:
        sure, right = bin["confidence"], bin["accuracy"]
        says = f"{t['confidence']} {sure:.2f}, {t['accuracy']} {right:.2f}, {bin['num_rows']:,}"
        found.append(Bubble(sure, right, bin["num_rows"] / total, says))
    return found


def _residuals(view: View) -> Iterator[Block]:
    """Of numbers: predicted beside true values, and how far off they are."""
    t, found = view.words, (view.evaluation.get("curves") or {}).get("residuals")
    if not found:
        return
    bins, edges, counts = found["bins"], found["edges"], found["counts"]
    figures = []
    if bins:
        values = [bin[key] for bin in bins for key in ("predicted", "truth_low", "truth_high")]
        low, high = min(values), max(values)
        x, y = Axis(t["predicted"], low, high, tick), Axis(t["truth"], low, high, tick)
        points = [(bin["predicted"], bin["truth"]) for bin in bins]
        band = [(bin["truth_low"], bin["truth_high"]) for bin in bins]
        svg = chart(t["residuals"], x, y, [Line("", points, "model", band, dots=True)], diagonal=True)
        figures.append(Figure(svg, t["residuals"], t["residuals_note"]))
    if counts:
        x, y = Axis(t["error"], edges[0], edges[-1], tick), Axis(t["rows"], 0, max(counts), lambda v: f"{v:,.0f}")
        said = view.say("errors_note", low=shown(found["low"]), high=shown(found["high"]))
        figures.append(Figure(columns(t["errors"], x, y, edges, counts), t["errors"], said))
    yield Figures(figures)
