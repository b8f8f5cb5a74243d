"""Checks of sources: what can be asked of every one without knowing where its rows are."""

from __future__ import annotations

from typing import Any

from luban.data.sources.base import Source


def is_a_source(component: Any) -> None:
    """It derives from Source, so that reading, fingerprint and pins are there."""
    assert issubclass(component, Source)
    assert not getattr(component, "__abstractmethods__", None), "it must implement read and fingerprint"


CHECKS = (is_a_source,)
