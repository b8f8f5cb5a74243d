"""What a server does not bring into memory: libraries that only preparing and training need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

YAML = """
name: shop
owner: shop-team
purpose: Tell good days from bad ones.
data: {source: {kind: csv, path: days.csv}, target: good}
prepare: {steps: [unicode, missing, duplicates, near-duplicates, label-conflicts]}
"""
CODE = """
import sys
import luban.cli.serve, luban.serve.fleet.roster, luban.serve.jobs.job_process, luban.serve.server, luban.workshop
from luban.project import load_project
load_project(sys.argv[1])
print(*sorted(name for name in sys.modules if name in {"sklearn", "torch", "pandas", "scipy"} or name.startswith(
    ("pyarrow.compute", "pyarrow.csv", "pyarrow.dataset", "pyarrow.parquet", "pyarrow.fs", "sqlalchemy.orm"))))
"""


def test_a_project_is_served_without_what_reads_its_files(tmp_path: Path) -> None:
    """They take 25 MB, an eighth of what a server of a small model holds."""
    (tmp_path / "luban.yaml").write_text(YAML, "utf-8")
    done = subprocess.run([sys.executable, "-c", CODE, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
