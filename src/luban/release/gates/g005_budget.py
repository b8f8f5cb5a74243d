"""G005: is the bundle as fast and as small as the project asks?

Figures come from `release.measure`, taken on this machine and recorded as a decision; a budget that is
not stated is not judged. A bundle that was compressed is also asked what that cost on test rows, for it was chosen
on validation rows: it fails if the first metric lost more than `max_drop`, beyond what chance does.
"""

from __future__ import annotations

from luban.release.config import BudgetConfig
from luban.release.gates.base import Case, Gate, Said, Verdict

LIMITS = ("p95_ms", "size_mb")
MAX_DROP = BudgetConfig().max_drop


class WithinBudget(Gate):
    """Passes if every stated limit is kept."""

    code = "G005"
    title = "Is it within its budget?"

    def check(self, case: Case) -> Verdict:
        """Compare what was measured with the project's `budget`."""
        budget = case.project.get("budget") or {}
        stated = [(name, budget[name]) for name in LIMITS if budget.get(name) is not None]
        measured = {name: case.measured.get(name) for name in LIMITS}
        figures = ", ".join(f"{name} {value:.3g}" for name, value in measured.items() if value is not None)
        lost = _lost(case, float(budget.get("max_drop", MAX_DROP)))
        if lost is not None:
            return self.failed(lost, Said("gate_max_drop_todo"))
        if not stated:
            return self.not_applicable(Said("gate_no_budget", {"figures": figures or "–"}))
        unknown = [name for name, _ in stated if measured[name] is None]
        if unknown:
            return self.failed(Said("gate_not_measured", {"names": ", ".join(unknown)}), Said("gate_not_measured_todo"))
        found = [
            Said(f"gate_{name}", {"found": f"{measured[name]:.3g}", "limit": f"{limit:g}"}) for name, limit in stated
        ]
        over = [name for name, limit in stated if float(measured[name] or 0.0) > limit]
        if not over:
            return self.passed(found)
        names = ", ".join(f"`budget.{name}`" for name in over)
        return self.failed(found, Said("gate_budget_todo", {"names": names}))


def _lost(case: Case, allowed: float) -> Said | None:
    """What compression lost on test rows, where that is more than allowed and not by chance."""
    found = case.evaluation["comparisons"].get("uncompressed")
    if not found or not found["worse"]:
        return None
    lost = -found["difference"]
    if not case.evaluation["metrics"][found["metric"]]["higher_is_better"] and found["value"]:
        lost /= abs(found["value"])  # of an error in the target's unit, the share by which it grew
    if lost <= allowed:
        return None
    return Said("gate_max_drop", {"metric": found["metric"], "lost": f"{lost:.4f}", "allowed": f"{allowed:g}"})
