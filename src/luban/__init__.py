"""Luban (鲁班): a model factory for small AI teams.

One project file takes raw data to a model that is evaluated, released through gates and served.
Importing this package imports nothing heavy; names are loaded when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle

__version__ = "0.1.0"
__all__ = ["Bundle", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Bundle":
        from luban.bundle.bundle import Bundle

        return Bundle
    raise AttributeError(f"module 'luban' has no attribute {name!r}")
