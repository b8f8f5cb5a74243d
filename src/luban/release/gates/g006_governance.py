"""G006: does somebody answer for this model, and is it said what for?"""

from __future__ import annotations

from luban.release.gates.base import Case, Gate, Said, Verdict


class Governance(Gate):
    """Passes if the project names an owner and a purpose."""

    code = "G006"
    title = "Are owner and purpose named?"

    def check(self, case: Case) -> Verdict:
        """Look at the project's `owner` and `purpose`."""
        named = {name: str(case.project.get(name) or "").strip() for name in ("owner", "purpose")}
        missing = [name for name, value in named.items() if not value]
        if missing:
            found = Said(f"gate_unnamed_{missing[0] if len(missing) == 1 else 'both'}")
            return self.failed(found, [Said(f"gate_{name}_todo") for name in missing])
        return self.passed(Said("gate_named", named))
