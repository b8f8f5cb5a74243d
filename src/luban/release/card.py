"""The model card: what a model is for, what it was made from, how well it does, where it fails.

Source: Mitchell et al., "Model Cards for Model Reporting", 2019. Decided here: limits are drawn from
what was measured, not written by hand; every figure can be traced by the hashes at the end. Says what
the report says, through the same view.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luban.catalog import fingerprint
from luban.evaluate.figures import inner, shown
from luban.evaluate.markdown import table
from luban.evaluate.origins import candidate_rows, data_rows
from luban.evaluate.page import phrases

if TYPE_CHECKING:
    from luban.bundle.manifest import Manifest
    from luban.evaluate.report import Report
    from luban.evaluate.view import View

FEW_ROWS = 30
"""Below so many test rows a class's figures are called rough."""
NOT_SURE = 0.05
"""Above this calibration error confidence is said to be no probability."""
MAX_WORSE = 3
"""Groups of rows, and ways of writing, that are named at most."""


@dataclass(frozen=True)
class Subject:
    """What the card is about, from the bundle's manifest."""

    task: str
    target: str
    inputs: tuple[tuple[str, str], ...]
    """Name and type of each column that it reads."""
    protocol: int
    identity: str

    @classmethod
    def of(cls, manifest: Manifest) -> Subject:
        """The subject of a bundle."""
        inputs = tuple((column.name, column.type) for column in manifest.dataset_schema.inputs)
        return cls(manifest.task.kind, manifest.task.target, inputs, manifest.protocol, manifest.identity)


def card(report: Report, subject: Subject) -> str:
    """The model card as Markdown, in the report's language."""
    view = report.view
    parts = [
        *_uses(view, subject),
        *_figures(view),
        *_limits(view),
        *_data(view),
        *_trace(view, subject),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _uses(view: View, subject: Subject) -> Iterator[str]:
    t, project = view.words, view.report.project
    yield f"# {t['card']}: {view.report.title}"
    yield f"**{view.verdict}**"
    yield f"## {t['card_use']}"
    yield str(project.get("purpose") or f"{t['purpose']}: {t['nobody']}")
    yield view.say("card_owner", owner=project["owner"]) if project.get("owner") else f"{t['owner']}: {t['nobody']}"
    yield t["card_not"]
    yield f"## {t['card_details']}"
    inputs = t["comma"].join(f"{name} ({phrases.named(view, 'type', kind)})" for name, kind in subject.inputs)
    yield view.say("card_target", target=subject.target, task=phrases.named(view, "task", subject.task), inputs=inputs)
    chosen = [row for row in candidate_rows(view) if row.mark == "chosen"]
    yield table([t["candidate"], t["family"], t["status"], t["loss"], t["seconds"]], [r.cells[:5] for r in chosen], 3)
    yield table([t["costs"], t["value"]], [row.cells for row in view.cost_rows])


def _figures(view: View) -> Iterator[str]:
    t = view.words
    yield f"## {t['results']}"
    yield view.results_note
    head = [t["metric"], t["value"], t["interval"], *(t[name] for name in view.others)]
    yield table(head, [[name, value, interval, *beside] for name, _, value, interval, beside in view.metric_rows])
    yield "\n".join(f"- {sentence}" for sentence in [*view.reasons, *view.comparisons])
    if view.class_rows:
        yield f"### {t['per_class']}"
        head = [t["class"], t["precision"], t["recall"], t["f1"], t["support"], t["answered"]]
        yield table(head, [row.cells for row in view.class_rows])
    yield view.calibration or ""
    yield view.coverage or ""


def _limits(view: View) -> Iterator[str]:
    yield f"## {view.words['card_limits']}"
    yield "\n".join(f"- {sentence}" for sentence in limits(view))


def limits(view: View) -> Iterator[str]:
    """Where the model is weak, or not measured, in sentences."""
    split = view.report.data.get("split", {})
    yield view.say("card_split", split=phrases.named(view, "by", str(split.get("by", "random"))))
    classes = view.evaluation["classes"]
    rough = [found["label"] for found in classes if found["support"] < FEW_ROWS]
    if rough:
        yield view.say("card_rough", rows=str(FEW_ROWS), classes=", ".join(rough[:20]) + (" …" if rough[20:] else ""))
    found = [scores for scores in classes if scores["recall"] is not None]
    if found:
        weakest = min(found, key=lambda scores: scores["recall"])
        yield view.say("card_weak", recall=view.percent(weakest["recall"]), label=weakest["label"])
    calibration = view.evaluation["calibration"]
    if calibration is not None and calibration["ece_after"] > NOT_SURE:
        yield view.say("card_sure", ece=shown(calibration["ece_after"]))
    yield from _closer(view)
    failed = [gate["code"] for gate in view.report.gates if gate["status"] == "failed"]
    if failed and view.report.forced:
        yield view.say("card_forced", gates=view.words["comma"].join(failed), reason=view.report.forced)
    yield view.words["card_groups"]
    yield from phrases.notes(view)


def _closer(view: View) -> Iterator[str]:
    """What slices, rows written otherwise, explanations and compression showed."""
    slices = view.evaluation.get("slices") or {"slices": []}
    worse = [one for one in slices["slices"] if one["significant"] and one["difference"] < 0]
    for one in worse[:MAX_WORSE]:
        figures = {"value": shown(one["value"]), "all": shown(slices["value"]), "rows": f"{one['num_rows']:,}"}
        metric = inner(view.metric(slices["figure"]))
        yield view.say("card_slice", slice=phrases.slice_name(view, one), metric=metric, **figures)
    robustness = view.evaluation.get("robustness") or {"perturbed": []}
    hurt = [one for one in robustness["perturbed"] if one["significant"]]
    for one in sorted(hurt, key=lambda one: one["difference"])[:MAX_WORSE]:
        metric = inner(view.metric(robustness["figure"]))
        before, after = shown(one["before"]), shown(one["after"])
        yield view.say("why_robust", what=phrases.perturbation(view, one), metric=metric, before=before, after=after)
    columns = phrases.important(view)
    if columns:
        yield view.say("card_important", columns=view.words["comma"].join(columns))
    for one in (view.report.training.get("compression") or {}).get("tried", []):
        if one["status"] == "accepted":
            yield phrases.compressed(view, one)


def _data(view: View) -> Iterator[str]:
    t = view.words
    yield f"## {t['data']}"
    yield table([t["data"], t["count"]], [row.cells for row in data_rows(view)])


def _trace(view: View, subject: Subject) -> Iterator[str]:
    t = view.words
    yield f"## {t['card_trace']}"
    rows = [
        [t["card_bundle"], subject.identity],
        [t["card_protocol"], str(subject.protocol)],
        [t["card_report"], fingerprint(view.report.to_json())],
        *(list(row.cells) for row in view.lineage_rows),
    ]
    yield table([t["lineage"], t["value"]], rows, 2)
    yield f"**{t['method']}** {view.method}"
    yield f"*{t['card_source']}*"
