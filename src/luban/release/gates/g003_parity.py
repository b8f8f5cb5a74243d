"""G003: does the exported bundle answer as the trained model did?

Every test row takes the bundle's whole path, from stored values through row steps, encoders and graph,
and is compared with what the training model gave. Probabilities are compared where the task has
them, else standardised values. A compressed bundle is compared with what the compressed graph gave when it was made.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from luban.release.gates.answers import comparable, whole_path
from luban.release.gates.base import Case, Gate, Verdict


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
            return self.failed(
                f"Training answered {len(case.outputs):,} test rows, the dataset has {len(answers.outputs):,}.",
                "Train again on this dataset.",
            )
        if answers.refused:
            position, reason = answers.refused[0]
            return self.failed(
                f"The bundle refuses {len(answers.refused):,} of {len(case.outputs):,} test rows that training "
                f"answered, the first at position {position}: {reason}.",
                "A step or a column type does not accept its own result: report this with the column's type.",
            )
        if not len(case.outputs):
            return self.failed("There are no test rows to compare.", "Raise `prepare.split.test` above zero.")
        ours = comparable(case.bundle, answers.outputs[answers.answered])
        theirs = comparable(case.bundle, case.outputs[answers.answered])
        rows = np.abs(ours - theirs).reshape(len(ours), -1).max(axis=1, initial=0.0)
        allowed = self.config.rounded_tolerance if case.bundle.rounds else self.config.tolerance
        largest, over = float(np.max(rows, initial=0.0)), int((~(rows <= allowed)).sum())
        sentence = f"Largest difference over {len(rows):,} test rows is {largest:.2g}, allowed {allowed:g}."
        exported = float(case.training["parity"])
        if not exported <= self.config.tolerance:
            return self.failed(
                f"When it was exported, the graph's answers differed from the trained model's by up to {exported:.2g}, "
                f"allowed {self.config.tolerance:g}.",
                "The export of this model family is not faithful: leave the family out of `train.models`.",
            )
        if not over:
            return self.passed(sentence)
        return self.failed(
            f"{sentence} {over:,} rows are beyond it.",
            "The export of this model family is not faithful: leave the family out of `train.models`, and report this.",
        )
