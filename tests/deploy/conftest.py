"""What tests of deployments share."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from luban.deploy.pins import pins

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Luban's own wheel, and those of all that servers need; also where their ledger is in PostgreSQL."""
    place = tmp_path_factory.mktemp("wheels")
    folder, source = place / "wheels", place / "source"
    ignore = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY / "src", source / "src", ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True)
    (own,) = folder.glob("luban-*.whl")
    constraints = place / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins(("postgres",)).items()), "utf-8")
    wanted = f"luban[postgres] @ {own.as_uri()}"
    subprocess.run([*pip, "download", "--dest", folder, "-c", constraints, wanted], check=True)
    return folder
