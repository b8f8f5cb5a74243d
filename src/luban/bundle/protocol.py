"""The bundle protocol: one number, and one reader for each number that was ever written.

To change what a bundle is: add 1 to `PROTOCOL`, keep the old reader as it is, add a reader in
`readers/` that gives today's `Manifest`, name it in `READERS`, and keep a small bundle written by the
old code as a test fixture. A bundle that is newer than this Luban is refused, never guessed at.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from luban.bundle.manifest import Manifest
from luban.errors import BundleError

PROTOCOL = 1
READERS = {1: "luban.bundle.readers.v1"}


def read_manifest(data: bytes, where: str) -> Manifest:
    """The manifest in `data`, by the reader of its protocol. Raises BundleError."""
    try:
        found: Any = json.loads(data)
        protocol = found["protocol"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"manifest.json of `{where}` is not a manifest: {error}.", "Copy the bundle again.") from None
    if protocol not in READERS:
        raise BundleError(
            f"The bundle `{where}` has protocol {protocol!r}; this Luban reads up to {PROTOCOL}.",
            'Run: pip install --upgrade "luban"',
        )
    manifest: Manifest = importlib.import_module(READERS[protocol]).read(found, where)
    return manifest
