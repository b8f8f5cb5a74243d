"""The side of `shapley` that runs where shap is installed: Luban (by its path) and KernelExplainer, in turn.

    PYTHONPATH=src python shapley_peer.py bundle rows.json repeats SAMPLES… / COALITIONS…

Both ask one function: coalitions [M, n] to what the bundle answers, each distinct row once, in bulk. So what differs
is how coalitions are chosen, how many are needed, and what the method itself costs. KernelExplainer gets one
background row (all parts missing) and no l1 regularisation, with which its default would drop all parts but ten.
Luban's designs are forgotten before each call, as for the first row of so many parts. Prints a JSON line for each
row: the error (root mean square over parts) and seconds of each setting, [repeats], and the exact values' deviation.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import shap

from luban.bundle.bundle import Bundle
from luban.explain import coalitions
from luban.explain.base import Case
from luban.explain.question import Question


def ours(question: Question, count: int, seed: int) -> np.ndarray:
    """Shapley values from `count` coalitions, the design made anew."""
    coalitions.design.cache_clear()
    found = coalitions.design(len(question.parts), count, seed)
    return found.shares(question.ask(found.coalitions)).values


def theirs(question: Question, count: int, seed: int) -> np.ndarray:
    """KernelExplainer's, from `count` samples."""
    np.random.seed(seed)
    width = len(question.parts)
    explainer = shap.KernelExplainer(lambda masks: question.ask(masks > 0.5), np.zeros((1, width)))
    found = explainer.shap_values(np.ones((1, width)), nsamples=count, l1_reg=False, silent=True)
    return np.asarray(found).reshape(-1)


def measured(question: Question, methods: dict[str, Callable[[int], np.ndarray]], repeats: int) -> dict[str, object]:
    """Errors and seconds by method, [repeats] each, in turn."""
    whole = coalitions.All(len(question.parts))
    start = time.perf_counter()
    exact = whole.shares(question.ask(whole.coalitions)).values
    taken = time.perf_counter() - start
    found: dict[str, dict[str, list[float]]] = {name: {"error": [], "seconds": []} for name in methods}
    names = list(methods)
    for repeat in range(repeats):
        shift = repeat % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            values = methods[name](repeat)
            found[name]["seconds"].append(time.perf_counter() - start)
            found[name]["error"].append(float(np.sqrt(np.mean((values - exact) ** 2))))
    return {"parts": len(exact), "deviation": float(exact.std()), "exact_s": taken, "methods": found}


def main(folder: str, rows_file: str, repeats: str, *counts: str) -> None:
    bundle = Bundle.load(folder)
    rows = json.loads(Path(rows_file).read_text("utf-8"))
    split = counts.index("/")
    methods = [("shap", theirs, int(count)) for count in counts[:split]]
    methods += [("luban", ours, int(count)) for count in counts[split + 1 :]]
    for question in Case.of(bundle, rows).questions("shapley"):
        assert isinstance(question, Question), question
        calls = {
            f"{name} {count}": lambda seed, call=call, count=count: call(question, count, seed)  # noqa: B023
            for name, call, count in methods
        }
        measured(question, calls, 1)  # what is loaded or compiled the first time
        print(json.dumps(measured(question, calls, int(repeats))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
