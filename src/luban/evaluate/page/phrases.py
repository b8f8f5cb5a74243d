"""Sentences and names that several sections say: of slices, perturbations, rules, policies, in the page's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luban.evaluate.figures import brief, shown

if TYPE_CHECKING:
    from luban.evaluate.view import View

FEW_ROWS = 30
"""Below so many test rows a class's figures are called rough."""


def named(view: View, group: str, name: str) -> str:
    """The words for one of a group of names; a plug-in's name stands for itself."""
    return view.words.get(f"{group}_{name}", name.replace("_", " "))


def rule(view: View, name: str) -> str:
    """Why rows were set aside."""
    return named(view, "rule", name)


def notes(view: View) -> list[str]:
    """What prepare has to say, in its sentences."""
    return [view.translated(note) for note in view.report.data.get("notes", [])]


def curve_of(view: View, name: str) -> str:
    """Whom a curve is about."""
    return view.words[f"curve_{name}"] if name in ("macro", "micro") else name


def weak_classes(view: View) -> list[dict[str, Any]]:
    """Classes whose rows are found least often, the weakest first, those with enough test rows alone."""
    enough = [one for one in view.evaluation["classes"] if one["recall"] is not None and one["support"] >= FEW_ROWS]
    return sorted(enough, key=lambda one: (one["recall"], one["label"]))


def weakest(view: View) -> str:
    """The weakest class in a sentence; empty where there is none."""
    found = weak_classes(view)
    if len(found) < 2:
        return ""
    return view.say("card_weak", recall=view.percent(found[0]["recall"]), label=found[0]["label"])


def classes_left_out(view: View) -> str:
    """How many classes the table does not show."""
    shown_rows, total = len(view.class_rows), len(view.evaluation["classes"])
    return view.say("first_of", shown=str(shown_rows), all=f"{total:,}") if shown_rows < total else ""


def slice_name(view: View, one: dict[str, Any]) -> str:
    """What the rows of a slice share."""
    by = one["by"]
    if by == "value":
        equals = "" if one["label"][:1] in ("≤", ">") else "= "
        return f"{one['column']} {equals}{one['label']}"
    if by == "missing":
        return f"{one['column']}{view.words['colon']}{named(view, 'signal', one['label'])}"
    if by == "weekday":
        return f"{one['column']}{view.words['colon']}{named(view, 'weekday', one['label'])}"
    return f"{one['column']}{view.words['colon']}{named(view, 'signal', by)} {one['label']}"


def answered(view: View, one: dict[str, Any]) -> str:
    """How wrong it is among the rows that it is surest of."""
    return view.say("answered_some", share=view.percent(one["share"], 0), error=view.percent(one["error"]))


def perturbation(view: View, one: dict[str, Any]) -> str:
    """What was changed, and in which columns."""
    name = named(view, "perturbed", one["name"])
    return f"{name}{view.words['colon']}{view.words['comma'].join(one['columns'])}"


def policy(view: View, one: dict[str, Any]) -> str:
    """Who answers, and how."""
    said = view.words.get(f"policy_{one['policy']}", one["policy"])
    return f"{said}{view.words['colon']}{one['answer']}" if one["answer"] is not None else said


def money_advice(view: View) -> list[str]:
    """From which probability on to answer, and what it earns more."""
    found = view.evaluation["costs"]
    chosen = next((one for one in found["money"] if one["policy"] == "chosen"), None)
    said = []
    if found["threshold"] is not None and chosen is not None:
        threshold = shown(found["threshold"])
        if found["positive"] is not None and found["review_from"] is not None:
            said.append(view.say("threshold_review", label=found["positive"], threshold=threshold,
                                 review=shown(found["review_from"])))  # fmt: skip
        elif found["positive"] is not None:
            said.append(view.say("threshold_two", label=found["positive"], threshold=threshold))
        else:
            said.append(view.say("threshold_many", threshold=threshold))
    now = next((one for one in found["money"] if one["policy"] == "now"), None)
    if now is not None and now["gain_low"] is not None:
        amounts = {
            key: shown(now[name]) for key, name in (("gain", "gain"), ("low", "gain_low"), ("high", "gain_high"))
        }
        said.append(view.say("money_gain", currency=found["currency"], **amounts))
    if found["break_even_row"] is not None:
        said.append(view.say("money_row", value=shown(found["break_even_row"]), currency=found["currency"]))
    if found["free_errors"]:
        said.append(view.say("money_free", errors=view.words["comma"].join(found["free_errors"])))
    return said


def more_rows(view: View) -> str:
    """Whether more rows would help, in a sentence; empty where that was not looked at."""
    curve, found = view.report.training.get("learning_curve"), view.report.training.get("more_rows")
    if not found or not curve or found["verdict"] not in ("helps", "hardly", "unclear"):
        return ""
    rows = {"before": f"{curve[-2]['rows']:,}", "after": f"{curve[-1]['rows']:,}"}
    figures = {name: shown(found[name]) for name in ("gain", "low", "high")}
    return view.say(f"more_{found['verdict']}", **rows, **figures)


def compressed(view: View, one: dict[str, Any]) -> str:
    """What became of one method of compression; a verdict without words keeps the record's reason."""
    key = f"compressed_{one['code']}"
    if key not in view.words:
        return f"{one['method']}{view.words['colon']}{view.translated(one['reason'])}"
    blanks = {"reason": view.translated(one["reason"])}
    if "row" in one:
        blanks |= {
            "row": f"{one['row']['value']:.2f}",
            "batch": f"{one['batch']['value']:.2f}",
            "before": brief(one["size_mb"][0]),
            "after": brief(one["size_mb"][1]),
            "drop": shown(one["drop"]),
            "allowed": shown(view.report.training["compression"]["max_drop"]),
            "moved": f"{one['moved']:,}",
            "asked": f"{one['asked']:,}",
        }
    return f"{one['method']}{view.words['colon']}{view.say(key, **blanks)}"


def important(view: View, most: int = 5) -> list[str]:
    """The columns that count most, where their importance was measured and is above 0 beyond doubt."""
    found = [method.get("finding") or {} for method in view.report.explanation.get("methods", [])]
    columns = [
        one for finding in found for one in finding.get("columns", []) if one["low"] is not None and one["low"] > 0
    ]
    return [one["column"] for one in sorted(columns, key=lambda one: -one["value"])[:most]]
