"""What Luban would use here: threads, precision, families, and where state would lie."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from luban.catalog import FAMILIES
from luban.doctor.finding import Finding
from luban.doctor.installed import has_extra
from luban.doctor.machine import nearest_folder
from luban.engine.cores import num_cores
from luban.errors import LubanError
from luban.store.home import STATE
from luban.store.ledger import Ledger

AREA = "would use"
TIMEOUT_S = 5.0
"""How long a ledger or a store elsewhere may take to answer."""


def state_folder(folder: Path) -> Path | None:
    """Where state of a project in `folder` is kept; None where that is no folder of this machine."""
    place = os.environ.get("LUBAN_STORE") or str(folder / STATE)
    return None if "://" in place else Path(place)


def plans(folder: Path, num_threads: int | None = None, needed: bool = False) -> Iterator[Finding]:
    """What would be used for a project in `folder`; a project cannot do without its store and ledger."""
    threads = num_threads or num_cores()
    yield Finding(AREA, "threads", "ok", f"{threads} for each solver (train.num_threads)")
    yield _precision()
    yield _families()
    yield replace(_store(folder), needed=needed)
    yield replace(_ledger(folder), needed=needed)


def _precision() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding(AREA, "precision", "ok", "fp32; there is no PyTorch")
    import torch

    from luban.train.loop.pace import computes_bf16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if computes_bf16(device):
        return Finding(AREA, "precision", "ok", "bf16 for neural models where a batch is faster with it, else fp32")
    return Finding(AREA, "precision", "ok", "fp32")


def _families() -> Finding:
    found, lacking = [], {}
    for name in FAMILIES.usable():
        extra = FAMILIES.resolve(name).extra
        if extra and not has_extra(extra):
            lacking[name] = extra
        else:
            found.append(name)
    text = f"{', '.join(found)} (train.models: auto takes those that suit the data)"
    if lacking:
        text += f"; not {', '.join(lacking)}, without {', '.join(f'luban[{e}]' for e in sorted(set(lacking.values())))}"
    mend = f'pip install "luban[{",".join(sorted(set(lacking.values())))}]"' if lacking else ""
    trains = any(name not in ("baseline", "vote") for name in found)
    return Finding(AREA, "families", "ok" if trains else "missing", text, mend)


def _store(folder: Path) -> Finding:
    place = os.environ.get("LUBAN_STORE") or str(folder / STATE)
    if "://" not in place:
        near = nearest_folder(Path(place))
        if Path(place).exists() and not Path(place).is_dir():
            return Finding(AREA, "store", "missing", f"{place} is a file", "Set LUBAN_STORE to a folder.")
        if not os.access(near, os.W_OK | os.X_OK):
            mend = f"Give yourself the right to write to {near}, or set LUBAN_STORE to another folder."
            return Finding(AREA, "store", "missing", f"{place}: `{near}` cannot be written to", mend)
        return Finding(AREA, "store", "ok", place if Path(place).is_dir() else f"{place}, made when it is first needed")
    said = answers(lambda: _ask_store(place))
    if said is None:
        return Finding(AREA, "store", "ok", f"{place} answers")
    return Finding(AREA, "store", "missing", f"{place} does not answer: {said}", "Look at LUBAN_STORE.")


def _ask_store(url: str) -> None:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(url)
    filesystem.exists(path)


def _ledger(folder: Path) -> Finding:
    url = os.environ.get("LUBAN_LEDGER") or str(folder / STATE / "ledger.db")
    file = Path(url.removeprefix("sqlite:///"))
    if ("://" not in url or url.startswith("sqlite:///")) and not file.exists():
        return Finding(AREA, "ledger", "ok", f"{_without_password(url)}, made when it is first needed")
    said = answers(lambda: Ledger(url).runs(limit=1) and None)
    if said is None:
        return Finding(AREA, "ledger", "ok", f"{_without_password(url)} answers")
    return Finding(
        AREA, "ledger", "missing", f"{_without_password(url)} does not answer: {said}", "Look at LUBAN_LEDGER."
    )


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True) if "://" in url else url
    except ArgumentError:
        return "LUBAN_LEDGER"


def answers(ask: Callable[[], object]) -> str | None:
    """None if `ask` returns within five seconds, else why not."""
    said = [f"no answer within {TIMEOUT_S:g} s"]

    def asking() -> None:
        try:
            ask()
            said.clear()
        except LubanError as error:
            said[:] = [error.message]
        except Exception as error:  # whatever a store's library raises is the answer here
            said[:] = [f"{type(error).__name__}: {error}"]

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return said[0] if said else None
