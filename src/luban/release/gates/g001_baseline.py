"""G001: does the model beat its baseline, by more than chance?

Looks at the paired difference of the first metric on test rows, as `evaluate` found it.
"""

from __future__ import annotations

from luban.release.gates.base import Case, Gate, Said, Verdict


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
                Said("gate_no_interval", {"metric": metric, "reason": str(found["reason"])}), Said("gate_more_test")
            )
        values = {
            "metric": metric,
            "model": f"{found['model']:.4g}",
            "other": f"{found['value']:.4g}",
            "level": f"{level:.0%}",
            "rows": f"{case.evaluation['num_rows']:,}",
            **{name: f"{found[name]:+.4f}" for name in ("difference", "low", "high")},
        }
        sentence = Said("gate_difference", values)
        if found["significant"]:
            return self.passed(sentence)
        return self.failed(sentence, Said("gate_more_data"))
