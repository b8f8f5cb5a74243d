"""Sentences and names that several sections say: of slices, perturbations, rules, policies, in the page's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luban.evaluate.figures import shown

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
    return list(view.report.data.get("notes", []))


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
        return f"{one['column']} = {one['label']}"
    if by == "missing":
        return f"{one['column']}{view.words['colon']}{named(view, 'signal', one['label'])}"
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
