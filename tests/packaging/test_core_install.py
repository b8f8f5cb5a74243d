"""The install without extras: small, without what only training needs, and enough to predict and to serve."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from faults.project import Tiny, rows, write_csv

REPOSITORY = Path(__file__).parents[2]
SOURCES = ("src", "pyproject.toml", "README.md", "LICENSE")
MAX_BYTES = 500_000_000
NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
ABSENT = ("sklearn", "pandas", "torch", "scipy", "lightgbm", "rensa", "transformers", "PIL")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but `pip install .`, as a newcomer's."""
    folder = tmp_path_factory.mktemp("core")
    source = folder / "source"  # pip builds in the folder, which must stay as it is
    source.mkdir()
    for name in SOURCES:
        place = REPOSITORY / name
        skip = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(place, source / name, ignore=skip) if place.is_dir() else shutil.copy(place, source)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-c", REPOSITORY / "constraints.txt", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "venv"


def sizes(venv: Path) -> dict[str, int]:
    """Bytes of everything in site-packages, by its top folder or file, largest first."""
    (site,) = venv.glob("lib/python*/site-packages")
    found = {
        top.name: sum(path.stat().st_size for path in [top, *top.rglob("*")] if path.is_file())
        for top in site.iterdir()
        if top.name.split("-")[0] not in NOT_OURS and top.name not in NOT_OURS
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


@pytest.fixture(scope="module")
def tiny(venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A project that was trained where training is installed; from here on the small install works on it."""
    tiny = Tiny.made(tmp_path_factory.mktemp("project") / "tiny")
    tiny.done("run")
    tiny.python = str(venv / "bin" / "python")
    tiny.env["PYTHONPATH"] = ""
    return tiny


def test_its_size(venv: Path) -> None:
    found = sizes(venv)
    largest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in list(found.items())[:12])
    assert sum(found.values()) <= MAX_BYTES, f"{sum(found.values()) / 1e6:.1f} MB: {largest}"


def test_what_it_does_not_hold(venv: Path) -> None:
    code = f"import importlib.util; print([m for m in {ABSENT!r} if importlib.util.find_spec(m)])"
    done = subprocess.run([venv / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_predicts_and_serves(venv: Path, tiny: Tiny) -> None:
    (version,) = tiny.versions()
    assert version["aliases"] == "champion"
    body = [row[:3] for row in rows(20, seed=5)]
    write_csv(tiny.folder / "in.csv", body, ("text", "price", "city"))
    answers = list(csv.DictReader(io.StringIO(tiny.done("predict", "in.csv", "-").out)))
    assert [row["error"] for row in answers] == [""] * 20
    with tiny.serving() as address:
        request = {"rows": [dict(zip(("text", "price", "city"), row, strict=True)) for row in body]}
        answer = httpx.post(f"{address}/v1/predict", json=request, timeout=30)
    assert answer.status_code == 200, answer.text
    found = answer.json()["answers"]
    assert [row["label"] for row in found] == [row["label"] for row in answers]
    assert {row["label"] for row in found} == {"good", "bad"}


def test_training_says_what_it_needs(tiny: Tiny) -> None:
    tiny.fails("run", says=["error: This needs the library", 'Run: pip install "luban[train]"'])


def test_pictures_say_what_they_need(venv: Path) -> None:
    code = "from luban.features.image import Image; Image().parse_value(Image.samples[0])"
    done = subprocess.run([venv / "bin" / "python", "-c", code], capture_output=True, text=True)
    assert 'Run: pip install "luban[image]"' in done.stderr


def test_every_command_explains_itself(venv: Path, tiny: Tiny) -> None:
    for command in ([], ["run"], ["predict"], ["serve"], ["models"], ["bundle", "verify"], ["schema"]):
        assert "Usage" in tiny.done(*command, "--help").out
    tiny.done("schema")
    tiny.done("bundle", "export", "out")
    tiny.done("bundle", "verify", "out")
