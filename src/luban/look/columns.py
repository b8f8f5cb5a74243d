"""What single columns show: missing values, constants, personal data, languages.

Works on a sample of raw values; knows no column type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from luban.data.infer import as_text
from luban.look.finding import Finding, Level
from luban.policy.personal import KINDS, is_wholly, kinds_in

OFTEN_MISSING = 0.05
MOSTLY_MISSING = 0.5
MOSTLY_PERSONAL = 0.5
"""From this share on, a column *is* personal data and does not just hold some."""
MIXED = 0.05
LANGUAGE_SAMPLE = 2000
_SCRIPTS = {
    "Chinese": re.compile(r"[\u4e00-\u9fff\u3400-\u4dbf]"),
    "Japanese": re.compile(r"[\u3040-\u30ff]"),
    "Korean": re.compile(r"[\uac00-\ud7af]"),
    "Latin": re.compile(r"[A-Za-z\u00c0-\u024f]"),
    "Cyrillic": re.compile(r"[\u0400-\u04ff]"),
    "Arabic": re.compile(r"[\u0600-\u06ff]"),
}
_DENSE = ("Chinese", "Japanese", "Korean")
"""One of their characters says as much as several letters."""


def texts_of(values: Sequence[Any]) -> list[str]:
    """Values as people write them; a whole number that a sheet holds as a fraction without its `.0`."""
    return [str(int(v)) if isinstance(v, float) and v.is_integer() else as_text(v) for v in values]


def holes(name: str, present: int, rows: int) -> Iterator[Finding]:
    """Missing values, where there are many."""
    missing = rows - present
    if present == 0:
        yield Finding("empty", "warn", name)
    elif missing >= OFTEN_MISSING * rows:
        level: Level = "warn" if missing >= MOSTLY_MISSING * rows else "note"
        yield Finding("missing", level, name, {"count": missing, "share": missing / rows})


def constant(name: str, texts: Sequence[str]) -> Iterator[Finding]:
    """One value in every row."""
    if len(texts) > 1 and len(set(texts)) == 1:
        yield Finding("constant", "note", name)


def personal(name: str, texts: Sequence[str]) -> tuple[str | None, list[Finding]]:
    """What looks personal in a column: the kind that it consists of, or None, and a finding for each kind."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(kinds_in(text))
    whole, found = None, []
    for kind in KINDS:
        if not (count := counts[kind]):
            continue
        if count >= MOSTLY_PERSONAL * len(texts) and sum(is_wholly(t, kind) for t in texts) >= MOSTLY_PERSONAL * len(
            texts
        ):
            whole = kind
            found.append(
                Finding("is-personal", "warn", name, {"kind": kind, "count": count, "share": count / len(texts)})
            )
        else:
            found.append(
                Finding("has-personal", "warn", name, {"kind": kind, "count": count, "share": count / len(texts)})
            )
    return whole, found


def script(text: str) -> str | None:
    """The writing that most of a text is in, or None where it has no letters.

    >>> script("房间很干净 ok"), script("clean room"), script("123")
    ('Chinese', 'Latin', None)
    """
    counts = {name: len(pattern.findall(text)) * (3 if name in _DENSE else 1) for name, pattern in _SCRIPTS.items()}
    best = max(counts, key=lambda name: counts[name])
    if not counts[best]:
        return None
    return (
        "Japanese"
        if best == "Chinese" and counts["Japanese"] * 4 >= counts["Chinese"] > 0 and counts["Japanese"]
        else best
    )


def languages(name: str, texts: Sequence[str]) -> Iterator[Finding]:
    """Several writings in one column of texts."""
    counts = Counter(found for text in texts[:LANGUAGE_SAMPLE] if (found := script(text)) is not None)
    total = sum(counts.values())
    often = [(kind, count / total) for kind, count in counts.most_common() if count >= MIXED * total]
    if len(often) > 1:
        yield Finding("languages", "note", name, {"shares": ", ".join(f"{kind} {share:.0%}" for kind, share in often)})
