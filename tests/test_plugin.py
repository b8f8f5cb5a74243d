"""A package of a third party, installed by pip: its column type, family and gate work as the core's own do."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from faults.project import Tiny, write_csv

SOURCE = Path(__file__).parent / "plugin"
NAMES = {"acme:version", "acme:nearest", "acme:weekday"}
CHECKS = f"""
from luban.checks import all_checks
found = all_checks({NAMES!r})
for check in found:
    check.exempt or check.run()
print(*sorted(check.id for check in found), sep="\\n")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed into."""
    folder = tmp_path_factory.mktemp("plugin")
    source = folder / "source"  # pip builds in the source's folder, which must stay as it is
    subprocess.run(["cp", "-r", str(SOURCE), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--no-index", "--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def project(folder: Path, site: Path, **changes: object) -> Tiny:
    """Versions below 5 are old."""
    chance = random.Random(1)
    versions = [[chance.randrange(10), chance.randrange(10), chance.randrange(10)] for _ in range(300)]
    body = [[".".join(map(str, v)), "old" if v[0] < 5 else "new"] for v in versions]
    data = {"source": "rows.csv", "columns": {"release": {"type": "acme:version"}}, "target": "age"}
    gates = ["baseline", "leak", "parity", "neighbours", "budget", "governance", "acme:weekday"]
    settings = {
        "purpose": "Tell old releases from new ones.",
        "data": data,
        "train": {"models": ["acme:nearest"]},
        "release": {"gates": gates},
        **changes,
    }
    tiny = Tiny.made(folder, [], **settings)
    write_csv(folder / "rows.csv", body, ["release", "age"])
    tiny.env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return tiny


def test_the_contract_checks_pass(installed: Path, tmp_path: Path) -> None:
    answer = project(tmp_path / "project", installed).call(program=("-c", CHECKS))
    assert answer.status == 0, answer.err
    for name in NAMES:
        assert sum(line.startswith(f"{name}:") for line in answer.out.split()) >= 2, name


def test_a_project_of_it_is_released_and_answers(installed: Path, tmp_path: Path) -> None:
    tiny = project(tmp_path / "project", installed)
    answer = tiny.done("run", "--json")
    assert [event["name"] for event in answer.events if event["event"] == "candidate"] == ["baseline", "acme:nearest"]
    verdicts = {verdict["code"]: verdict["status"] for verdict in answer.events[-1]["version"]["verdicts"]}
    assert verdicts["ACME-1"] == "passed"
    assert set(verdicts.values()) <= {"passed", "not applicable"}
    write_csv(tiny.folder / "in.csv", [["1.2.3"], ["9.0.1"], ["no version"]], ["release"])
    tiny.done("predict", "in.csv", "out.jsonl")
    answers = [json.loads(line) for line in (tiny.folder / "out.jsonl").read_text().splitlines()]
    assert [row["label"] for row in answers] == ["old", "new", None]
    assert answers[2]["error"] == "release: must look like 1.2.3"


def test_its_gate_can_refuse(installed: Path, tmp_path: Path) -> None:
    tiny = project(tmp_path / "project", installed, purpose="Too short.")
    tiny.fails("run", says=["ACME-1", "2 words.", "Say more."])


def test_its_type_is_inferred_and_its_names_are_known(installed: Path, tmp_path: Path) -> None:
    tiny = project(tmp_path / "project", installed, data={"source": "rows.csv", "target": "age"})
    (found, _) = tiny.done("prepare", "--json").events[-1]["columns"]
    assert (found["name"], found["type"], found["why"]) == ("release", "acme:version", "versions")
    schema = tiny.done("schema").out
    for name in (*NAMES, "acme:broken"):
        assert f'"{name}"' in schema
    tiny.fails("run", "--set", "train.models=[acme:nearst]", says=["acme:nearst", "Did you mean `acme:nearest`?"])
    tiny.fails("run", "--set", "train.modles=auto", says=["`train.modles`", "Did you mean `models`?"])


def test_what_is_broken_fails_only_when_it_is_named(installed: Path, tmp_path: Path) -> None:
    tiny = project(tmp_path / "project", installed)
    says = ["`acme:broken` comes from an installed package that fails to load", "Mend or remove that package"]
    tiny.fails("run", "--set", "release.gates=[acme:broken]", says=says)
    code = "from luban.checks import all_checks; all_checks({'acme:broken'})"
    answer = tiny.call(program=("-c", code))
    assert "ConfigError: The gate `acme:broken` comes from an installed package that fails to load" in answer.err


def test_without_the_package_its_names_are_unknown(tmp_path: Path) -> None:
    tiny = project(tmp_path / "project", tmp_path)
    tiny.fails("run", says=["acme:version", "Known: text"])
