"""G003: does the exported bundle answer as the trained model did?

Every test row takes the bundle's whole path, from stored values through row steps, encoders and graph,
and is compared with what the training model gave. Probabilities are compared where the task has
them, else standardised values. A compressed bundle is compared with what the compressed graph gave when it was made.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from luban.release.gates.answers import comparable, whole_path
from luban.release.gates.base import Case, Gate, Said, Verdict


class Parity(Gate):
    """Passes if no test row's answer moved by more than the tolerance."""

    code = "G003"
    title = "Does the bundle answer as the trained model did?"

    class Config(Gate.Config):
        """How near is the same."""

        tolerance: float = Field(1e-4, gt=0, le=0.1)
        """Largest difference allowed in a probability, or in a value in standard deviations."""
        rounded_tolerance: float = Field(0.05, gt=0, le=0.5)
        """The same for a compressed graph that rounds to integers: a hair decides which way."""

    def check(self, case: Case) -> Verdict:
        """Run all test rows through the bundle."""
        answers = whole_path(case.bundle, case.dataset)
        if len(answers.outputs) != len(case.outputs):
            counts = {"ours": f"{len(case.outputs):,}", "theirs": f"{len(answers.outputs):,}"}
            return self.failed(Said("gate_other_rows", counts), Said("gate_train_again"))
        if answers.refused:
            position, reason = answers.refused[0]
            counts = {"count": f"{len(answers.refused):,}", "rows": f"{len(case.outputs):,}"}
            said = Said("gate_refused", {**counts, "position": str(position), "reason": reason})
            return self.failed(said, Said("gate_refused_todo"))
        if not len(case.outputs):
            return self.failed(Said("gate_no_test"), Said("gate_no_test_todo"))
        ours = comparable(case.bundle, answers.outputs[answers.answered])
        theirs = comparable(case.bundle, case.outputs[answers.answered])
        rows = np.abs(ours - theirs).reshape(len(ours), -1).max(axis=1, initial=0.0)
        allowed = self.config.rounded_tolerance if case.bundle.rounds else self.config.tolerance
        largest, over = float(np.max(rows, initial=0.0)), int((~(rows <= allowed)).sum())
        figures = {"rows": f"{len(rows):,}", "largest": f"{largest:.2g}", "allowed": f"{allowed:g}"}
        exported = float(case.training["parity"])
        if not exported <= self.config.tolerance:
            limits = {"largest": f"{exported:.2g}", "allowed": f"{self.config.tolerance:g}"}
            return self.failed(Said("gate_exported", limits), Said("gate_unfaithful"))
        found = [Said("gate_parity", figures)]
        if not over:
            return self.passed(found)
        return self.failed([*found, Said("gate_parity_over", {"count": f"{over:,}"})], Said("gate_unfaithful_report"))
