"""What a report shows, computed once for every form: sentences, tables and shades, in the report's language.

The records of the verbs come as plain JSON; here they become rows of strings. HTML, Markdown and the
terminal only lay them out, so that no form says something else than another. Knows no form. What prepare and train
left, before there was anything to evaluate, is told in `origins`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from luban.evaluate import wording
from luban.evaluate.figures import brief, inner, leaves, number, percent, shown, signed, span, text
from luban.evaluate.layout import Cell, Row
from luban.evaluate.phrasebook import translated

if TYPE_CHECKING:
    from luban.evaluate.report import Report

MAX_MATRIX = 20
"""Classes that a confusion matrix is drawn for; beyond, the most frequent mistakes are listed."""
MAX_LIST = 20
MAX_CLASSES = 50
AIMS = ("balanced_accuracy", "f1")
"""First figures of a model whose answers were chosen for them: accuracy would hold that against it."""


class View:
    """A report's contents in words. `rows` is what may be shown of rows themselves; empty where nothing may."""

    def __init__(self, report: Report, rows: dict[str, Any] | None = None) -> None:
        self.report = report
        self.rows = rows or {}
        self.language = report.language
        self.words = wording.words(report.language)
        self.evaluation = report.evaluation

    def say(self, key: str, **blanks: str) -> str:
        """A text of the language, filled."""
        return self.words[key].format(**blanks)

    def translated(self, sentence: str) -> str:
        """A sentence that was said in English, in the report's language as far as its phrase book goes."""
        return translated(sentence, self.language)

    @property
    def method(self) -> str:
        """How figures and intervals were measured."""
        return self.translated(self.evaluation["method"])

    def percent(self, value: float | None, digits: int = 1) -> str:
        """A share as a percentage, as the language writes it."""
        return percent(value, digits, self.words["before_percent"])

    def metric(self, name: str) -> str:
        """A metric's name in words."""
        return wording.metric_words(name, self.language)[0]

    @cached_property
    def verdict(self) -> str:
        """How good the model is, in one sentence."""
        name = self.telling
        found = self.evaluation["metrics"].get(name)
        other = self.evaluation["others"].get("baseline", {}).get(name)
        if not found or not other or found["value"] is None or found["low"] is None or other["value"] is None:
            return self.say("says_nothing", reason=self.translated((found or {}).get("reason") or name))
        if name == "accuracy":
            return self.say(
                "says_classes",
                model=self.percent(found["value"]),
                low=number(found["low"] * 100, 1),
                high=number(found["high"] * 100, 1),
                other=self.percent(other["value"]),
            )
        values = {"model": found["value"], "low": found["low"], "high": found["high"], "other": other["value"]}
        filled = {key: shown(value) for key, value in values.items()}
        if name == "mae":
            return self.say("says_values", **filled)
        return self.say("says", metric=self.metric(name), **filled)

    @property
    def telling(self) -> str:
        """The figure that says most to a person: accuracy or the mean error, unless another was aimed at or is all."""
        first, metrics = str(self.evaluation["first_metric"]), self.evaluation["metrics"]
        return next((name for name in ("accuracy", "mae") if name in metrics and first not in AIMS), first)

    @property
    def any_failed(self) -> bool:
        """Whether a gate stands in the way."""
        return any(gate["status"] == "failed" for gate in self.report.gates)

    @cached_property
    def gate_verdict(self) -> str:
        """How the gates stand, in one sentence."""
        gates = self.report.gates
        failed = sum(gate["status"] == "failed" for gate in gates)
        if not gates:
            return self.say("gates_none")
        counts = {"failed": str(failed), "all": str(len(gates))}
        if failed and self.report.forced:
            return self.say("gates_forced", reason=self.report.forced, **counts)
        return self.say("gates_some", **counts) if failed else self.say("gates_all")

    @cached_property
    def others(self) -> list[str]:
        """Names of the models beside this one, the baseline first."""
        return [name for name in ("baseline", "champion", "uncompressed") if name in self.evaluation["others"]]

    @cached_property
    def metric_rows(self) -> list[tuple[str, str, str, str, list[str]]]:
        """Name, explanation, value, interval, and the others' values, of every headline metric."""
        rows = []
        for name in [*self.evaluation["headline"], *(m for m in self.evaluation["metrics"] if m == "coverage")]:
            title, explained = wording.metric_words(name, self.language)
            found = self.evaluation["metrics"][name]
            beside = [shown(self.evaluation["others"][other][name]["value"]) for other in self.others]
            value = self.words["undefined"] if found["value"] is None else shown(found["value"])
            rows.append((title, explained, value, span(found["low"], found["high"]), beside))
        return rows

    @cached_property
    def results_note(self) -> str:
        """How many rows the figures stand on."""
        level = self.percent(self.evaluation["level"], 0)
        return self.say("results_note", rows=f"{self.evaluation['num_rows']:,}", level=level)

    @cached_property
    def reasons(self) -> list[str]:
        """Why a figure or an interval is missing, in sentences."""
        named: dict[str, list[str]] = {}
        for name in self.evaluation["headline"]:
            reason = self.evaluation["metrics"][name]["reason"]
            if reason:
                named.setdefault(reason, []).append(self.metric(name))
        return [
            self.say("no_interval", metrics=self.words["comma"].join(who), reason=self.translated(reason))
            for reason, who in named.items()
        ]

    @cached_property
    def comparisons(self) -> list[str]:
        """A sentence or two for each comparison."""
        return [sentence for found in self.evaluation["comparisons"].values() for sentence in self._compared(found)]

    def _compared(self, found: dict[str, Any]) -> list[str]:
        other, metric = (
            inner(name) for name in (self.words.get(found["other"], found["other"]), self.metric(found["metric"]))
        )
        if found["difference"] is None or found["low"] is None:
            return [self.say("compare_none", other=other, reason=self.translated(str(found["reason"])))]
        key = "compare_better" if found["significant"] else "compare_worse" if found["worse"] else "compare_chance"
        sign = -1.0 if key == "compare_worse" else 1.0
        ends = sorted((sign * found["low"], sign * found["high"]))
        amount = sign * found["difference"]
        write = signed if key == "compare_chance" else shown
        low, high = map(write, ends)
        said = [self.say(key, other=other, metric=metric, difference=write(amount), low=low, high=high)]
        test = found["mcnemar"]
        if test is not None and test["only_model"] + test["only_other"]:
            p = "< 0.0001" if test["p_value"] < 0.0001 else f"{test['p_value']:.4f}"
            counts = {"model": f"{test['only_model']:,}", "them": f"{test['only_other']:,}"}
            said.append(self.say("mcnemar", other=other, p=p, **counts).replace("= <", "<"))
        return said

    @cached_property
    def class_rows(self) -> list[Row]:
        """Every class, or the most frequent ones: label, precision, recall, F1, rows, answered."""
        classes = sorted(self.evaluation["classes"], key=lambda found: -found["support"])[:MAX_CLASSES]
        if len(self.evaluation["classes"]) <= MAX_CLASSES:
            classes = self.evaluation["classes"]
        return [
            Row(
                (
                    found["label"],
                    *(shown(found[name]) for name in ("precision", "recall", "f1")),
                    f"{found['support']:,}",
                    f"{found['predicted']:,}",
                )
            )
            for found in classes
        ]

    @cached_property
    def matrix(self) -> tuple[list[str], list[list[Cell]]] | None:
        """Labels and shaded cells of the confusion matrix; None for numbers and for very many classes."""
        found = self.evaluation["confusion"]
        if found is None or len(found["labels"]) > MAX_MATRIX:
            return None
        size = len(found["labels"])
        counts = [[0] * size for _ in range(size)]
        for true, answered, rows in found["cells"]:
            counts[true][answered] = rows
        return found["labels"], [
            [Cell(rows, rows / max(sum(line), 1), i == j) for j, rows in enumerate(line)]
            for i, line in enumerate(counts)
        ]

    @cached_property
    def mistakes(self) -> list[Row]:
        """The most frequent mistakes: truth, answer, rows."""
        found = self.evaluation["confusion"]
        if found is None:
            return []
        wrong = sorted((cell for cell in found["cells"] if cell[0] != cell[1]), key=lambda cell: -cell[2])
        labels = found["labels"]
        return [Row((labels[true], labels[answered], f"{rows:,}")) for true, answered, rows in wrong[:MAX_LIST]]

    @cached_property
    def calibration(self) -> str | None:
        """What temperature scaling did, in a sentence."""
        found = self.evaluation["calibration"]
        if found is None:
            return None
        after = shown(found["ece_after"])
        if found["ece_before"] is None:
            return self.say("calibration_plain", after=after)
        before, temperature = shown(found["ece_before"]), shown(found["temperature"])
        return self.say("calibration_scaled", before=before, after=after, temperature=temperature)

    @cached_property
    def coverage(self) -> str | None:
        """How the interval of a value did, in a sentence."""
        found = self.evaluation["coverage"]
        if found is None:
            return None
        return self.say(
            "coverage_note",
            found=self.percent(self.evaluation["metrics"]["coverage"]["value"]),
            promised=self.percent(found["promised"], 0),
            width=shown(found["mean_width"]),
        )

    @cached_property
    def gate_rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """Code, title, status in words, found, to do, status."""
        titles = wording.GATE_TITLES[self.language]
        return [
            (
                g["code"],
                titles.get(g["code"], g["title"]),
                self.words[g["status"]],
                self._said(g, "found"),
                self._said(g, "todo"),
                g["status"],
            )
            for g in self.report.gates
        ]

    def _said(self, gate: dict[str, Any], what: str) -> str:
        """What a gate says, in this language where it says it by key."""
        says = gate.get("says", {}).get(what)
        return wording.said(says, self.language) if says else self.translated(str(gate[what]))

    @cached_property
    def cost_rows(self) -> list[Row]:
        """Time of one row, size, time to train."""
        costs = self.report.costs
        units = (("p50_ms", "ms"), ("p95_ms", "ms"), ("size_mb", "MB"), ("train_s", "s"))
        return [Row((self.words[k], f"{brief(costs[k])} {unit}")) for k, unit in units if costs.get(k) is not None]

    @cached_property
    def lineage_rows(self) -> list[Row]:
        """Facts by which every figure can be traced; of nested ones the hashes alone, the rest is in the JSON."""
        found = []
        for key, value in leaves(self.report.lineage):
            if value not in ("", None) and ("." not in key or "fingerprint" in key or ".pins." in key):
                found.append(Row((self.words.get(f"lineage_{key}", key), text(value))))
        return found
