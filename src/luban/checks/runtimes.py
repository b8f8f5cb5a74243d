"""Checks of runtimes: audit before building."""

from __future__ import annotations

from typing import Any

from luban.bundle.manifest import StageSpec


def refuses_rubbish(component: Any) -> None:
    """Bytes that are no model are refused in words, without an exception."""
    for data in (b"", b"rubbish", bytes(1000)):
        stage = StageSpec(name="model", runtime=component.kind, files=("f",), takes=("x",), gives=("head",))
        reason = component().audit(stage, {"f": data})
        assert isinstance(reason, str)
        assert reason


CHECKS = (refuses_rubbish,)
