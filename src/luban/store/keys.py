"""Result keys: when a verb's earlier result may be used again; and what a run ran on.

A key covers the verb, the source of its components, the versions of their libraries, the settings
that decide the result, and the fingerprints of its inputs. Sources are read as files: nothing is
imported to make a key.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luban.catalog import fingerprint

_COMPILED = (".pyc", ".pyo")
_SHOWN = (
    "luban",
    "numpy",
    "pyarrow",
    "onnx",
    "onnxruntime",
    "sqlalchemy",
    "scikit-learn",
    "lightgbm",
    "rensa",
)


def result_key(
    verb: str, code: Sequence[str], libraries: Sequence[str], config: object, inputs: Mapping[str, str]
) -> str:
    """The key of a result: 64 hexadecimal digits.

    `code` names packages or modules (`luban.prepare`: all files below it), `libraries` distributions
    whose installed versions count, `inputs` maps what goes in to its fingerprint. Order does not
    matter. Python's minor version counts too: its Unicode tables change what preparing yields.
    """
    return fingerprint(
        {
            "verb": verb,
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "code": {name: source_hash(name) for name in code},
            "libraries": {name: version(name) for name in libraries},
            "config": config,
            "inputs": dict(inputs),
        }
    )


def version(library: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def source_hash(name: str) -> str:
    """SHA-256 over the files of a module, or of a package with all below it (byte code apart).

    Read once per process: what runs is what was there when it started.
    """
    place = _find(name)
    if place.is_file():
        return hashlib.sha256(place.read_bytes()).hexdigest()
    files = {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file() and path.suffix not in _COMPILED
    }
    return fingerprint(files)


def _find(name: str) -> Path:
    """The folder of a package or the file of a module. ModuleNotFoundError if there is none."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)  # of a top-level name: imports nothing
    if spec is None:
        raise ModuleNotFoundError(f"no module named {top!r}", name=top)
    if not spec.submodule_search_locations:
        if rest or spec.origin is None:
            raise ModuleNotFoundError(f"no module named {name!r}", name=name)
        return Path(spec.origin)
    for folder in spec.submodule_search_locations:
        found = _below(Path(folder), rest)
        if found is not None:
            return found
    raise ModuleNotFoundError(f"no module named {name!r}", name=name)


def _below(folder: Path, rest: Sequence[str]) -> Path | None:
    place = folder.joinpath(*rest)
    if place.is_dir():
        return place
    files = sorted(place.parent.glob(f"{place.name}.*")) if rest else []
    return next((file for file in files if file.suffix in (".py", ".so", ".pyd")), None)


def environment() -> dict[str, Any]:
    """What a run ran on: Python, system, processors, and the versions of the main libraries."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "libraries": {name: version(name) for name in _SHOWN},
    }
