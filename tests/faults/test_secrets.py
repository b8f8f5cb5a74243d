"""What is stored: no secret, and nothing that runs code when it is read."""

from __future__ import annotations

import pickle
import pickletools
import sqlite3
from pathlib import Path

import httpx
import pytest

from .project import Tiny

KEY = "k-7f3a9d51e2b84c60-not-to-be-kept"
SUFFIXES = {".json", ".parquet", ".onnx", ".safetensors", ".html", ".md", ".db", ".db-wal", ".db-shm"}


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, str]:
    """A project that ran, served and answered with a key set, and all that it printed."""
    tiny = Tiny.made(tmp_path_factory.mktemp("used"))
    tiny.env["LUBAN_API_KEY"] = KEY
    said = [tiny.done("run"), tiny.done("models", "show"), tiny.done("models", "history"), tiny.done("schema")]
    with tiny.serving() as address:
        body = {"rows": [{"text": "fine"}]}
        assert httpx.post(f"{address}/v1/predict", json=body, timeout=30).status_code == 401
        wrong = {"Authorization": "Bearer wrong"}
        assert httpx.post(f"{address}/v1/predict", json=body, headers=wrong, timeout=30).status_code == 401
        right = {"Authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{address}/v1/predict", json=body, headers=right, timeout=30)
        assert answer.status_code == 200
        pages = [httpx.get(f"{address}/{p}", timeout=30).text for p in ("metrics", "openapi.json", "ready", "")]
    tiny.done("bundle", "export", "exported")
    return tiny, "".join([*(one.out + one.err for one in said), answer.text, *pages])


def stored(tiny: Tiny) -> list[Path]:
    return [path for path in tiny.folder.rglob("*") if path.is_file() and path.name not in ("rows.csv", "luban.yaml")]


def test_no_key_is_kept_or_said(used: tuple[Tiny, str]) -> None:
    tiny, said = used
    assert KEY not in said
    found = stored(tiny)
    assert len(found) > 30
    for path in found:
        assert KEY.encode() not in path.read_bytes(), path
    ledger = sqlite3.connect(tiny.folder / ".luban" / "ledger.db")
    assert KEY not in "\n".join(ledger.iterdump())


def test_nothing_is_pickled(used: tuple[Tiny, str]) -> None:
    assert all(is_pickle(pickle.dumps({"a": [1.5, "b"]}, protocol)) for protocol in range(6))
    for path in stored(used[0]):
        assert path.suffix in SUFFIXES, f"{path} is of no known format"
        assert not is_pickle(path.read_bytes()), path


def is_pickle(data: bytes) -> bool:
    """Whether the bytes can be read as a pickle from their beginning to its STOP."""
    if not data.startswith((b"\x80", b"(", b"]", b"}", b"c")):
        return False
    try:
        return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(data))
    except (ValueError, IndexError, UnicodeDecodeError):
        return False
