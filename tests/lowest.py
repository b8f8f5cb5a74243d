"""Prints the lowest version that pyproject.toml allows of every direct dependency, as pip constraints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def lowest(project: Path) -> list[str]:
    """`name==version` for every dependency of the core and of `train` that states a lower bound."""
    found = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*found["dependencies"], *found["optional-dependencies"]["train"]]
    bounds = [re.match(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)", line) for line in lines]
    assert all(bounds), "every direct dependency states a lower bound"
    return [f"{match[1]}=={match[2]}" for match in bounds if match]


if __name__ == "__main__":
    print("\n".join(lowest(Path(__file__).parent.parent)))
