"""Reads manifests of protocol 1, the first."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from luban.bundle.manifest import Manifest
from luban.errors import BundleError


def read(found: Any, where: str) -> Manifest:
    """The manifest of a protocol-1 bundle. Raises BundleError naming the field."""
    try:
        return Manifest.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"manifest.json of `{where}`: `{field}` is refused: {first['msg']}.",
            "The bundle is damaged, or uses a field that is reserved in this protocol.",
        ) from None
