"""Reasons with an answer (`"explain": true`): which parts of a row speak for what was answered, within a stated time.

Decided here:
- methods are those of `luban explain` that attribute to parts and need the bundle alone;
- they run in one thread beside the event loop; when the time is over, the answer comes without reasons, and says so:
  `"reasons": null, "reasons_missing": "…"`. A late reason is no reason to be late with the answer;
- what is explained is the answer that was given, also where options chose it.

    "reasons": {"method", "explains", "unit", "base", "output",
                "parts": [{"column", "part", "weight"}], "rest", "sentence"}

Weights are in `unit`; base, parts and rest sum to the output where the method is additive. Knows no task.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from luban.catalog import EXPLAINERS, Choice
from luban.choices import OneOf

if TYPE_CHECKING:
    from luban.explain.attribution import Attribution
    from luban.explain.base import Explainer
    from luban.serve.fleet.served import Served
    from luban.serve.learning.learning_config import ReasonsConfig
    from luban.serve.question import Answer

AUTO = {"kind": "shapley", "exact_parts": 6, "coalitions": 128, "max_players": 16}
"""Few coalitions: a hundred rows or so of the model for each that is explained."""
GRACE_S = 0.05
NAMED = 3
"""Parts that the sentence names on either side."""
Json = dict[str, Any]
LOG = logging.getLogger("luban.serve")


class Reasons:
    """Finds reasons in a thread of its own. Belongs to one event loop."""

    def __init__(self, config: ReasonsConfig) -> None:
        self._config = config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="luban-reasons")
        self._num_waiting = 0

    def close(self) -> None:
        """End the thread; what waits for it is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def of(
        self, served: Served, rows: Sequence[Mapping[str, Any]], answers: Sequence[Answer], deadline: float
    ) -> list[Json]:
        """What to add to each answer: `reasons`, and `reasons_missing` where there are none. Never raises."""
        config = self._config
        if self._num_waiting >= config.max_waiting:
            return [_missing("too many explanations wait")] * len(answers)
        now = time.monotonic()
        until = min(now + config.max_ms / 1000, deadline)
        work = asyncio.get_running_loop().run_in_executor(self._thread, _explain, served, rows, answers, config, until)
        self._num_waiting += 1
        work.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(work), max(until - now, 0) + GRACE_S)
        except TimeoutError:
            return [_missing(_too_long(config))] * len(answers)
        except Exception:  # Reasons are an addition: an answer must not be lost because of them.
            LOG.exception("reasons failed", extra={"fields": {"model": served.name, "version": served.version}})
            return [_missing("they could not be found; the server's log says why")] * len(answers)

    def _done(self, work: asyncio.Future[list[Json]]) -> None:
        self._num_waiting -= 1
        if not work.cancelled() and work.exception() is not None:
            LOG.debug("reasons ended with an error", exc_info=work.exception())


def _explain(
    served: Served, rows: Sequence[Mapping[str, Any]], answers: Sequence[Answer], config: ReasonsConfig, until: float
) -> list[Json]:
    """For each answer what to add to it."""
    explainer = _explainer(config)
    reason = explainer.supports(served.bundle, None) if explainer.attributes else "it does not attribute to parts"
    if reason is not None:
        return [_missing(f"the method `{explainer.kind}` does not suit this model: {reason}")] * len(answers)
    found: list[Json] = []
    for position, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        if "error" in answer:
            found.append({})
        elif position >= config.max_rows:
            found.append(_missing(f"only the first {config.max_rows} rows of a request are explained"))
        else:
            found.append(_of_row(served, explainer, row, answer, config, until))
    return found


def _explainer(config: ReasonsConfig) -> Explainer:
    choice = OneOf(EXPLAINERS).read(AUTO) if config.method == "auto" else config.method
    assert isinstance(choice, Choice)
    found: Explainer = EXPLAINERS.resolve(choice.kind)(choice.config)
    return found


def _of_row(
    served: Served, explainer: Explainer, row: Mapping[str, Any], answer: Answer, config: ReasonsConfig, until: float
) -> Json:
    from dataclasses import replace

    from luban.explain.attribution import Attribution
    from luban.explain.base import Case
    from luban.explain.question import OutOfTime

    try:
        case = replace(Case.of(served.bundle, [row], _asked(served, answer)), until=until)
        (finding,) = explainer.explain(case)
    except OutOfTime:
        return _missing(_too_long(config))
    if not isinstance(finding, Attribution):
        return _missing("this row cannot be taken apart")
    return {"reasons": _told(finding, config)}


def _asked(served: Served, answer: Answer) -> str | None:
    """The class that was answered, the first of several; None where none was, or answers are no classes."""
    value = answer.get(served.counted) if served.counted is not None else None
    first = next(iter(value), None) if isinstance(value, list) else value
    classes = served.bundle.manifest.task.decoding.get("classes") or ()
    return first if first in classes else None


def _told(finding: Attribution, config: ReasonsConfig) -> Json:
    shares = sorted(finding.shares, key=lambda share: -abs(share.value))
    named, rest = shares[: config.max_parts], shares[config.max_parts :]
    parts = [{"column": share.column, "part": share.name, "weight": share.value} for share in named]
    return {
        "method": finding.method,
        "explains": finding.explains,
        "unit": finding.unit,
        "base": finding.base,
        "output": finding.output,
        "parts": parts,
        "rest": sum((share.value for share in rest), 0.0),
        "sentence": sentence(finding, config.language),
    }


def sentence(finding: Attribution, language: Literal["en", "zh"]) -> str:
    """What speaks for an answer and against it, in words."""
    from luban.explain.wording import say

    shares = sorted(finding.shares, key=lambda share: -abs(share.value))
    least = abs(shares[0].value) / 100 if shares else 0.0
    both = finding.explains_class is not None
    said = []
    for sign, key in (
        (1, "reasons_for" if both else "reasons_up"),
        (-1, "reasons_against" if both else "reasons_down"),
    ):
        # what stands in a text twice is named once
        parts = list(dict.fromkeys(f"“{s.name}” ({s.column})" for s in shares if s.value * sign > least))[:NAMED]
        if parts:
            joined = ("、" if language == "zh" else ", ").join(parts)
            said.append(say(language, key, {"explains": finding.explains, "parts": joined}))
    return ("" if language == "zh" else " ").join(said) or say(language, "reasons_none")


def _missing(why: str) -> Json:
    return {"reasons": None, "reasons_missing": why}


def _too_long(config: ReasonsConfig) -> str:
    return f"finding them took longer than {config.max_ms:g} ms"
