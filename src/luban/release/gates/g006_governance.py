"""G006: does somebody answer for this model, and is it said what for?"""

from __future__ import annotations

from luban.release.gates.base import Case, Gate, Verdict


class Governance(Gate):
    """Passes if the project names an owner and a purpose."""

    code = "G006"
    title = "Are owner and purpose named?"

    def check(self, case: Case) -> Verdict:
        """Look at the project's `owner` and `purpose`."""
        named = {name: str(case.project.get(name) or "").strip() for name in ("owner", "purpose")}
        missing = [name for name, value in named.items() if not value]
        if missing:
            return self.failed(
                f"The project names no {' and no '.join(missing)}.",
                " ".join(
                    {
                        "owner": "Write `owner:` who answers for this model.",
                        "purpose": "Write `purpose:` what it is for, in a sentence.",
                    }[name]
                    for name in missing
                ),
            )
        return self.passed(f"{named['owner']} answers for it. Purpose: {named['purpose']}")
