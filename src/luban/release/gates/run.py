"""Asks all gates, and says which stand in the way.

Decided here: every gate is asked, whatever the others said, so that a user sees all reasons at once; a
gate that raises is a failed gate with the error as its finding, never a passed one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luban.catalog import GATES, Choice
from luban.errors import LubanError, ReleaseError
from luban.evaluate import wording
from luban.release.gates.base import Case, Gate, Verdict


def run_gates(
    case: Case, gates: Sequence[Choice | str], step: Callable[[str, float], None] = lambda what, share: None
) -> list[Verdict]:
    """The verdict of every gate, in order. `step` is told which is asked, and the share done.

    Raises UnknownName for a name that no catalog has.
    """
    made = [GATES.make(gate) if isinstance(gate, str) else GATES.resolve(gate.kind)(gate.config) for gate in gates]
    verdicts = []
    for number, gate in enumerate(made):
        step(f"{gate.code} {gate.title}", number / len(made))
        verdicts.append(_ask(gate, case))
    return verdicts


def _ask(gate: Gate, case: Case) -> Verdict:
    try:
        return gate.check(case)
    except LubanError as error:
        return gate.failed(f"The gate could not be asked: {type(error).__name__}: {error.message}", error.hint or _TODO)
    except Exception as error:  # a plug-in's gate may raise anything; whatever it is, it is not a pass
        return gate.failed(f"The gate itself broke: {type(error).__name__}: {error}", _TODO)


_TODO = "Mend what the error says, or leave this gate out of `release.gates`; report it if it is one of Luban's own."


def failed(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts that stand in the way of a release."""
    return [verdict for verdict in verdicts if verdict.status == "failed"]


def refuse(verdicts: Sequence[Verdict], language: wording.Language = "en") -> None:
    """Raise ReleaseError naming each failed gate with what was found and what to do; return if there is none."""
    stopped = failed(verdicts)
    if not stopped:
        return
    words = wording.words(language)
    said = words["gates_stop"].format(failed=len(stopped), all=len(verdicts))
    lines = [_line(verdict, language) for verdict in stopped]
    raise ReleaseError("\n".join([said, *lines]), words["gates_stop_todo"])


def _line(verdict: Verdict, language: wording.Language) -> str:
    title = wording.GATE_TITLES[language].get(verdict.code, verdict.title)
    return f"{verdict.code} {title} {verdict.told('found', language)}\n  → {verdict.told('todo', language)}"
