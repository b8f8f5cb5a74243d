"""What to do next: a ranked list drawn from the facts of this run, each with what it stands on.

Decided here: every step is a rule over figures, so that the same run gives the same advice; gates that
fail come first, then what the figures say costs most; no step is shown that nothing was measured for. A
step names the section that shows its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luban.evaluate.figures import inner, shown
from luban.evaluate.page import phrases

if TYPE_CHECKING:
    from luban.evaluate.view import View

MOST = 8
"""Steps that are shown."""
SUSPECT_SHARE, CONFLICT_SHARE, COPY_SHARE = 0.02, 0.01, 0.2
WEAK_RECALL, WEAK_SHARE = 0.9, 0.85
UNSURE = 0.05
WIDE = 0.1
FRAGILE = 0.1
GOOD_ENOUGH = 0.98


@dataclass(frozen=True)
class Step:
    """One thing to do: in a sentence, why, how much it matters (larger is earlier), and where its figures stand."""

    todo: str
    why: str
    weight: float
    section: str


def steps(view: View) -> list[Step]:
    """The steps that the facts ask for, the most pressing first."""
    found = [step for rule in RULES for step in rule(view)]
    return sorted(found, key=lambda step: -step.weight)[:MOST]


def _gates(view: View) -> Iterator[Step]:
    for code, title, _, found, todo, status in view.gate_rows:
        if status == "failed":
            yield Step(todo, f"{code} {title} {found}", 100.0, "gates")


def _baseline(view: View) -> Iterator[Step]:
    found = view.evaluation["comparisons"].get("baseline")
    if found and not found["significant"]:
        yield Step(view.words["do_baseline"], view.words["why_baseline"], 90.0, "results")


def _few_rows(view: View) -> Iterator[Step]:
    found = view.evaluation["metrics"].get("accuracy")
    if found and found["low"] is not None and found["high"] - found["low"] > WIDE:
        half = view.percent((found["high"] - found["low"]) / 2)
        rows = f"{view.evaluation['num_rows']:,}"
        yield Step(view.words["do_more_test"], view.say("why_more_test", rows=rows, half=half), 60.0, "results")


def _conflicts(view: View) -> Iterator[Step]:
    rows = view.report.data.get("rows", {})
    count, total = rows.get("quarantined", {}).get("label-conflicts", 0), rows.get("kept") or 0
    if total and count / total >= CONFLICT_SHARE:
        why = view.say("why_conflicts", number=f"{count:,}", share=view.percent(count / total))
        yield Step(view.words["do_conflicts"], why, 55.0, "data")


def _suspects(view: View) -> Iterator[Step]:
    count = view.report.suspects
    total = view.evaluation["num_rows"]
    if count is not None and total and count / total >= SUSPECT_SHARE:
        why = view.say("why_suspects", number=f"{count:,}", share=view.percent(count / total))
        yield Step(view.words["do_suspects"], why, 50.0 + 100 * count / total, "wrong")


def _copies(view: View) -> Iterator[Step]:
    rows = view.report.data.get("rows", {})
    count, total = rows.get("quarantined", {}).get("duplicates", 0), rows.get("found") or 0
    if total and count / total >= COPY_SHARE:
        why = view.say("why_copies", number=f"{count:,}", share=view.percent(count / total))
        yield Step(view.words["do_copies"], why, 20.0, "data")


def _weak_class(view: View) -> Iterator[Step]:
    classes, mean = phrases.weak_classes(view), view.evaluation["metrics"].get("balanced_accuracy", {}).get("value")
    if len(classes) < 2 or not mean:
        return
    worst = classes[0]
    if worst["recall"] < WEAK_RECALL and worst["recall"] < WEAK_SHARE * mean:
        counts = (view.report.data.get("class_counts_by_split") or {}).get("train", {})
        rows = f"{counts[worst['label']]:,}" if worst["label"] in counts else "?"
        why = view.say("why_class", label=worst["label"], recall=view.percent(worst["recall"]), rows=rows)
        yield Step(view.say("do_class", label=worst["label"]), why, 58.0, "wrong")


def _person(view: View) -> Iterator[Step]:
    """Leaving the least sure rows to a person, where that halves the errors' share or nearly so."""
    found = ((view.evaluation.get("curves") or {}).get("coverage_risk") or {}).get("answered") or []
    whole = next((one["error"] for one in found if one["share"] >= 0.999), None)
    if whole is None or whole <= 1 - GOOD_ENOUGH or view.evaluation.get("costs"):
        return
    some = [one for one in found if one["share"] < 0.999 and one["error"] <= 0.67 * whole]
    if some:
        one = max(some, key=lambda entry: entry["share"])
        todo = view.say("do_person", confidence=view.percent(one["least_confidence"], 0))
        why = view.say("why_person", share=view.percent(1 - one["share"], 0), error=view.percent(one["error"]),
                       whole=view.percent(whole))  # fmt: skip
        yield Step(todo, why, 45.0, "trust")


def _money(view: View) -> Iterator[Step]:
    found = view.evaluation.get("costs")
    if not found or found["reason"]:
        return
    now = next((one for one in found["money"] if one["policy"] == "now"), None)
    if now and now["gain_low"] is not None and now["gain_low"] > 0:
        sentences = phrases.money_advice(view)
        yield Step(sentences[0], sentences[1], 70.0, "costs")


def _slices(view: View) -> Iterator[Step]:
    found = view.evaluation.get("slices") or {}
    worse = [one for one in found.get("slices", []) if one["significant"] and one["difference"] < 0]
    if worse:
        one = worse[0]
        name = phrases.slice_name(view, one)
        why = view.say("why_slice", value=shown(one["value"]), all=shown(found["value"]), rows=f"{one['num_rows']:,}",
                       metric=inner(view.metric(found["figure"])))  # fmt: skip
        yield Step(view.say("do_slice", slice=name), why, 48.0, "wrong")


def _calibration(view: View) -> Iterator[Step]:
    found = view.evaluation["calibration"]
    if found and found["ece_after"] > UNSURE:
        why = view.say("why_sure", ece=shown(found["ece_after"]))
        yield Step(view.words["do_sure"], why, 40.0, "trust")


def _robust(view: View) -> Iterator[Step]:
    found = view.evaluation.get("robustness") or {}
    hurt = [one for one in found.get("perturbed", []) if one["name"] != "missing" and one["significant"]]
    fragile = [one for one in hurt if (one["changed"] or 0) >= FRAGILE or one["changed"] is None]
    if fragile:
        one = min(fragile, key=lambda entry: entry["difference"])
        why = view.say("why_robust", what=phrases.perturbation(view, one), before=shown(one["before"]),
                       after=shown(one["after"]), metric=inner(view.metric(found["figure"])))  # fmt: skip
        yield Step(view.words["do_robust"], why, 42.0, "robustness")


def _skipped(view: View) -> Iterator[Step]:
    rows = view.report.training.get("leaderboard", [])
    spent = [row for row in rows if row["status"] == "skipped" and "time_budget_s" in str(row.get("reason"))]
    if spent:
        why = view.say("why_time", number=str(len(spent)))
        yield Step(view.words["do_time"], why, 35.0, "made")


def _more_rows(view: View) -> Iterator[Step]:
    why = phrases.more_rows(view)
    verdict = (view.report.training.get("more_rows") or {}).get("verdict")
    if verdict == "helps":
        yield Step(view.words["do_more_rows"], why, 52.0, "made")
    elif verdict == "hardly":
        yield Step(view.words["do_same_rows"], why, 30.0, "made")


def _compressed(view: View) -> Iterator[Step]:
    """Compression that cost more on test rows than it was allowed to, beyond what chance would."""
    found, tried = view.evaluation["comparisons"].get("uncompressed"), view.report.training.get("compression") or {}
    if found and found["worse"] and tried and -found["difference"] > tried["max_drop"]:
        blanks = {"metric": inner(view.metric(found["metric"])), "allowed": shown(tried["max_drop"])}
        why = view.say("why_compare", difference=shown(-found["difference"]), **blanks)
        yield Step(view.words["do_compare"], why, 65.0, "compression")


RULES: tuple[Callable[[View], Iterator[Step]], ...] = (
    _gates, _baseline, _few_rows, _conflicts, _suspects, _copies, _weak_class, _person, _money, _slices, _calibration,
    _robust, _skipped, _more_rows, _compressed,
)  # fmt: skip
