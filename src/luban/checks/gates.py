"""Checks of gates: a stable code, a question, verdicts in words."""

from __future__ import annotations

import re
from typing import Any

from luban.catalog import GATES


def has_a_code_of_its_own(component: Any) -> None:
    """`G001` (the core's) or `ACME-1` (a vendor's), and no other gate has it."""
    assert re.fullmatch(r"[A-Z][A-Z0-9]*-?[0-9]+", component.code), component.code
    same = [name for name in GATES.usable() if GATES.resolve(name).code == component.code]
    assert same == [component.kind], f"the code {component.code} is taken"


def asks_a_question(component: Any) -> None:
    """It has a title, and its verdicts carry code and title."""
    verdict = component().failed("0 of 3 rows", "Do it again.")
    assert component.title
    assert (verdict.code, verdict.title, verdict.todo) == (component.code, component.title, "Do it again.")


CHECKS = (has_a_code_of_its_own, asks_a_question)
