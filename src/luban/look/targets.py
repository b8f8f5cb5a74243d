"""What could be predicted: columns ranked as targets, with reasons, and how many rows each class has.

Decided here: a column is taken without asking only if it is named like a target, or has few values and
stands where labels are kept, last; anything less is a candidate to choose from, since a wrong target costs more than a
question. Free text, ids, times, personal data and constants are no targets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from luban.catalog import FEATURES
from luban.data.infer import Conclusion
from luban.look.finding import Finding

TAKEN = 1.5
FEW_VALUES = 20
ROWS_EACH = 5
FEW_ROWS = 200
FEW_OF_A_CLASS = 30
IMBALANCED = 0.8
NUM_NAMED = 5
_NAMES = re.compile(
    r"^(y|labels?|targets?|class(es)?|outcome|churn(ed)?|sentiment|category|intent|result|verdict|"
    r".*[_ ](label|target|class)|(is|has)[_ ].*|"
    r".*标签|.*类别|.*分类|目标|结果|.*情感|意图|结论|标注|是否.*)$",
    re.I,
)
_FIGURES = re.compile(
    r"(price|amount|revenue|sales|score|rating|cost|salary|duration|demand|"
    r"价格|金额|销量|销售额|评分|得分|分数|满意度|成本|时长|工资|房价)$",
    re.I,
)


@dataclass(frozen=True)
class Candidate:
    """A column that could be the target, how likely, and codes and figures of the reasons."""

    name: str
    score: float
    reasons: tuple[Finding, ...]


def candidates(
    texts: Mapping[str, Sequence[str]], conclusions: Sequence[Conclusion], apart: Set[str] = frozenset()
) -> list[Candidate]:
    """Columns that could be a target, likeliest first; those `apart` are not looked at."""
    last = conclusions[-1].column.name if conclusions else ""
    found = []
    for conclusion in conclusions:
        column, present = conclusion.column, texts[conclusion.column.name]
        distinct = len(set(present))
        free = FEATURES.resolve(column.type).free_form and distinct > FEW_VALUES
        if column.name in apart or column.role != "input" or distinct < 2 or free or column.type == "time":
            continue
        reasons = list(_reasons(column.name, column.type, distinct, len(present), column.name == last))
        score = sum(float(one.figures["score"]) for one in reasons)
        if score >= 1:
            found.append(Candidate(column.name, score, tuple(reasons)))
    return sorted(found, key=lambda one: -one.score)


def _reasons(name: str, kind: str, distinct: int, rows: int, is_last: bool) -> Iterator[Finding]:
    if _NAMES.match(name.strip()):
        yield Finding("target-named", "note", name, {"score": 2.0})
    elif kind == "number" and _FIGURES.search(name.strip()):
        yield Finding("target-figure", "note", name, {"score": 1.0})
    if distinct <= FEW_VALUES and distinct * ROWS_EACH <= rows:
        yield Finding("target-few", "note", name, {"score": 1.0, "distinct": distinct})
    if is_last:
        yield Finding("target-last", "note", name, {"score": 0.5})


def labels(name: str, lists: Sequence[Sequence[str] | None], rows: int) -> Iterator[Finding]:
    """Labels of few rows, where a row may have several, or none."""
    if rows < FEW_ROWS:
        yield Finding("few-rows", "warn", name, {"count": rows, "enough": FEW_ROWS})
    counts = Counter(label for found in lists for label in found or ())
    rare = sum(count < FEW_OF_A_CLASS for count in counts.values())
    if rare:
        yield Finding("few-of-a-class", "warn", name, {"count": rare, "classes": len(counts), "enough": FEW_OF_A_CLASS})


def classes(name: str, texts: Sequence[str], rows: int) -> Iterator[Finding]:
    """Rows without a target, classes of few rows, and one class that outweighs the rest."""
    if missing := rows - len(texts):
        yield Finding("unlabelled", "warn", name, {"count": missing, "share": missing / rows})
    if len(texts) < FEW_ROWS:
        yield Finding("few-rows", "warn", name, {"count": len(texts), "enough": FEW_ROWS})
    counts = Counter(texts)
    if len(counts) > max(2, min(1000, len(texts) // 2)):
        return  # a number, or as good as
    rare = sum(count < FEW_OF_A_CLASS for count in counts.values())
    if rare:
        yield Finding("few-of-a-class", "warn", name, {"count": rare, "classes": len(counts), "enough": FEW_OF_A_CLASS})
    most = counts.most_common(1)[0][1] / len(texts) if texts else 0.0
    if most >= IMBALANCED and len(counts) > 1:
        yield Finding("imbalance", "warn", name, {"share": most, "least": min(counts.values())})
