"""Why the model answers so: which columns count, how far explanations can be trusted, and examples to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from luban.evaluate.figures import shown, span
from luban.evaluate.layout import Row
from luban.evaluate.masking import masked, plain
from luban.evaluate.page.blocks import Bar, Bars, Block, Card, Cards, Heading, Piece, Table, Text

if TYPE_CHECKING:
    from luban.evaluate.view import View

MAX_COLUMNS = 20
MAX_CHARACTERS = 600


def why(view: View) -> Iterator[Block]:
    """Columns by importance, then rows."""
    methods = view.report.explanation.get("methods", [])
    for method in methods:
        if "columns" in (method.get("finding") or {}):
            yield from _importance(view, method)
    for method in methods:
        if method.get("faithfulness"):
            yield from _trusted(view, method)
    yield from _examples(view)


def _importance(view: View, method: dict[str, Any]) -> Iterator[Block]:
    t, found = view.words, method["finding"]
    columns = sorted(found["columns"], key=lambda one: -one["value"])[:MAX_COLUMNS]
    largest = max((one["value"] for one in columns), default=0.0)
    if len(columns) < 2 or largest <= 0:
        return
    yield Heading(t["importance"])
    asked = t.get(f"importance_{method.get('model')}", "")
    yield Text(f"{t['importance_note']}{asked}", soft=True)
    bars = []
    for one in columns:
        written = (
            f"{shown(one['value'])} ({span(one['low'], one['high'])})"
            if one["low"] is not None
            else shown(one["value"])
        )
        bars.append(Bar(one["column"], max(one["value"], 0.0) / largest, written))
    yield Bars(bars)


def _trusted(view: View, method: dict[str, Any]) -> Iterator[Block]:
    """How an explanation itself was measured: what it names must matter, and it must look at the model."""
    t, found = view.words, method["faithfulness"]
    rows = []
    for name in ("deletion", "insertion", "random_model"):
        one = found.get(name) or {}
        if one.get("value") is not None:
            rows.append(Row((t[f"faithful_{name}"], shown(one["value"]), span(one["low"], one["high"]))))
    if not rows:
        return
    yield Heading(view.say("faithful", method=method["method"]))
    good = found.get("beats_chance") and found.get("sees_the_model")
    yield Text(t["faithful_yes" if good else "faithful_no"])
    yield Table((t["check"], t["value"], t["interval"]), rows)


def _examples(view: View) -> Iterator[Block]:
    t = view.words
    explained = view.rows.get("explained") or {}
    findings = [one for one in explained.get("findings", []) if one.get("shares")]
    if not findings:
        return
    yield Heading(t["examples"])
    if explained.get("model") == "learnt":
        yield Text(t["examples_learnt"], soft=True)
    cards = [Card(_head(view, one), _values(one), str(one.get("row_id", ""))[:12]) for one in findings]
    yield Cards(cards, (t["speaks_for"], t["speaks_against"]))


def _head(view: View, one: dict[str, Any]) -> str:
    """What was answered: its words, or its number."""
    values = list(one["answer"].values())
    words = [value for value in values if isinstance(value, str)]
    numbers = [shown(value) for value in values if isinstance(value, (int, float))]
    return f"{view.words['answer']}{view.words['colon']}{(words or numbers or [str(one['explains'])])[0]}"


def _values(one: dict[str, Any]) -> list[tuple[str, Sequence[Piece]]]:
    """Each column's value in pieces, weighed by the largest share of the row; what looks personal is masked."""
    largest = max((abs(share["value"]) for share in one["shares"]), default=0.0) or 1.0
    found: list[tuple[str, Sequence[Piece]]] = []
    for column, value in one["values"].items():
        shares = [share for share in one["shares"] if share["column"] == column]
        text = "–" if value is None else plain(value)
        # where something is masked, marks of parts would stand in the wrong places: the value is shown without
        hidden = text != (without := masked(text))
        found.append((column, [Piece(without[:MAX_CHARACTERS])] if hidden else pieces(text, shares, largest)))
    return found


def pieces(text: str, shares: Sequence[dict[str, Any]], largest: float) -> list[Piece]:
    """A text cut where its shares stand, in the order in which they stand; what is between has no weight.

    >>> [(p.text, p.weight) for p in pieces("not bad", [{"name": "bad", "value": 2.0, "parts": [1]}], 4.0)]
    [('not ', 0.0), ('bad', 0.5)]
    """
    if len(shares) == 1 and shares[0]["name"] not in text:
        return [Piece(text[:MAX_CHARACTERS], shares[0]["value"] / largest)]
    found: list[Piece] = []
    at = 0
    for share in sorted(shares, key=lambda one: one["parts"]):
        start = share["at"][0] if share.get("at") else text.find(share["name"], at)
        if start < at:
            continue
        stop = share["at"][1] if share.get("at") else start + len(share["name"])
        if start > at:
            found.append(Piece(text[at:start]))
        found.append(Piece(text[start:stop], share["value"] / largest))
        at = stop
    if at < len(text):
        found.append(Piece(text[at:]))
    return found
