"""Peers: environments of their own, where what Luban is compared with is installed.

Decided here: a peer never enters Luban's environment, so that neither disturbs the other's versions; an environment
is named after what is in it, made once and used again. They, and projects that benchmarks share, lie in
`LUBAN_BENCH_VENVS`, or below `LUBAN_CACHE`.
"""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

from luban.data.sources.index import cache_folder

ONE_THREAD = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
ROOT = Path(__file__).parent.parent


def place() -> Path:
    """The folder of what benchmarks keep."""
    return Path(os.environ.get("LUBAN_BENCH_VENVS") or cache_folder() / "benchmarks")


def peer_python(*requirements: str) -> Path:
    """The interpreter of an environment that has the pinned `requirements`; made if it is not there yet."""
    folder = place() / "+".join(requirements)
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        (folder / "ready").touch()
    return python


def asked(command: list[str | Path], threads: bool = True) -> str:
    """What a process says on standard output; one thread only where `threads` is False. Raises where it fails."""
    environment = os.environ if threads else {**os.environ, **ONE_THREAD}
    done = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, check=True, env=environment)
    return done.stdout.decode()
