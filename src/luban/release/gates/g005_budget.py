"""G005: is the bundle as fast and as small as the project asks?

Figures come from `release.measure`, taken on this machine and recorded as a decision; a budget that is
not stated is not judged.
"""

from __future__ import annotations

from luban.release.gates.base import Case, Gate, Verdict

LIMITS = (
    ("p95_ms", "one row is answered within {found:.3g} ms in 95 of 100 cases, allowed {limit:g} ms"),
    ("size_mb", "the bundle is {found:.3g} MB, allowed {limit:g} MB"),
)


class WithinBudget(Gate):
    """Passes if every stated limit is kept."""

    code = "G005"
    title = "Is it within its budget?"

    def check(self, case: Case) -> Verdict:
        """Compare what was measured with the project's `budget`."""
        budget = case.project.get("budget") or {}
        stated = [(name, text, budget[name]) for name, text in LIMITS if budget.get(name) is not None]
        measured = {name: case.measured.get(name) for name, _ in LIMITS}
        figures = ", ".join(f"{name} {value:.3g}" for name, value in measured.items() if value is not None)
        if not stated:
            return self.not_applicable(f"The project states no budget. Measured: {figures or 'nothing'}.")
        unknown = [name for name, _, _ in stated if measured[name] is None]
        if unknown:
            return self.failed(
                f"{' and '.join(unknown)} was not measured.", "Release again on a dataset that has test rows."
            )
        sentences = {name: text.format(found=measured[name], limit=limit) for name, text, limit in stated}
        over = [name for name, _, limit in stated if float(measured[name] or 0.0) > limit]
        found = "; ".join(sentences.values())
        found = found[0].upper() + found[1:] + "."
        if not over:
            return self.passed(found)
        return self.failed(
            found,
            f"Raise {' and '.join(f'`budget.{name}`' for name in over)}, name fewer or smaller models in "
            "`train.models`, or lower their settings (`max_terms`, `ngram_max`, number of trees).",
        )
