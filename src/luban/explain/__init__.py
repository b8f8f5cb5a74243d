"""Explanation: why a bundle answers as it does. Methods, one file each, that ask the bundle from outside.

`luban.explain.explain(bundle, rows, method="shapley")` is the short way from Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from luban.bundle.bundle import Bundle, Rows
    from luban.explain.base import Finding

EXPLAINERS = {
    "occlusion": ".occlusion:Occlusion",
    "shapley": ".shapley:Shapley",
    "integrated-gradients": ".integrated_gradients:IntegratedGradients",
    "counterfactual": ".counterfactual:CounterfactualSearch",
    "path": ".path:DecisionPath",
    "permutation": ".permutation:Permutation",
    "surrogate": ".surrogate:Surrogate",
}


def explain(
    bundle: Bundle,
    rows: Rows,
    method: str = "shapley",
    *,
    asked: str | None = None,
    settings: Mapping[str, object] | None = None,
    checkpoint: Path | None = None,
    others: Mapping[str, Sequence[object]] | None = None,
    seed: int = 0,
) -> Sequence[Finding]:
    """Explain a bundle's answers to `rows` (dictionaries by column name, or an Arrow table of raw values).

    `asked` is the class whose answer is explained, by default the one that is predicted; `settings` are those of the
    method, `checkpoint` the folder that `train` left, `others` known values by column for methods that change rows.
    The truth is known where an Arrow table holds the target column. Gives a finding a row, or one about the model:
    `finding.to_json()` has the figures. Raises ConfigError for a class or method that is not known, or does not suit
    the bundle.
    """
    from dataclasses import replace

    import pyarrow as pa

    from luban.catalog import EXPLAINERS as CATALOG
    from luban.explain.base import Case, refuse
    from luban.explain.truth import truth_of_rows

    explainer = CATALOG.make(method, settings)
    refuse(method, explainer.supports(bundle, checkpoint))
    case = Case.of(bundle, rows, asked, seed)
    truth = truth_of_rows(bundle, rows) if isinstance(rows, pa.Table) else None
    found: Sequence[Finding] = explainer.explain(replace(case, checkpoint=checkpoint, truth=truth, others=others))
    return found
