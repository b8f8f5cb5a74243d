"""G001: does the model beat its baseline, by more than chance?

Looks at the paired difference of the first metric on test rows, as `evaluate` found it.
"""

from __future__ import annotations

from luban.release.gates.base import Case, Gate, Verdict


class BeatsBaseline(Gate):
    """Passes if the whole interval of the difference to the baseline lies above zero."""

    code = "G001"
    title = "Does it beat the trivial baseline?"

    def check(self, case: Case) -> Verdict:
        """Look at the comparison with the baseline."""
        found = case.evaluation["comparisons"]["baseline"]
        metric, level = found["metric"], case.evaluation["level"]
        if found["low"] is None or found["high"] is None:
            return self.failed(
                f"The difference in {metric} to the baseline has no interval: {found['reason']}.",
                "Give the test more rows and more than one class: raise `prepare.split.test`, or bring more data.",
            )
        sentence = (
            f"{metric} is {found['model']:.4g}, the baseline's {found['value']:.4g}; paired difference "
            f"{found['difference']:+.4f} ({level:.0%} interval {found['low']:+.4f} to {found['high']:+.4f}, "
            f"above zero is better) on {case.evaluation['num_rows']:,} test rows."
        )
        if found["significant"]:
            return self.passed(sentence)
        return self.failed(
            sentence,
            "Bring more rows or columns that bear on the target, check that labels are right, or give training more "
            "time (`train.time_budget_s`).",
        )
