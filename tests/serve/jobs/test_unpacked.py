"""Workbooks that are small, and large once they are unpacked."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import httpx
import pytest

from luban.serve.config import ServeConfig
from luban.serve.guards.limits_config import LimitConfig, LimitsConfig
from luban.serve.jobs.jobs_config import JobsConfig
from luban.serve.jobs.unpacked import is_larger_than
from luban.serve.server import serving
from luban.store.home import Home

from ..conftest import FakeBundle, HandOrigin

MB = 1024 * 1024
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def packed(size: int, method: int = zipfile.ZIP_DEFLATED, told: int | None = None) -> bytes:
    """An archive with one part of so many zeros; `told`: the size that it says."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(size))
    data = made.getvalue()
    return data if told is None else data.replace(struct.pack("<L", size), struct.pack("<L", told))


@pytest.mark.parametrize(
    ("data", "larger"),
    {
        "at the bound": (packed(MB), False),
        "beyond it": (packed(MB + 1), True),
        "far beyond it": (packed(50 * MB), True),
        "beyond it, which it denies": (packed(50 * MB, told=100), True),
        "not packed": (packed(MB + 1, zipfile.ZIP_STORED), True),
        "no archive": (b"a,b\n1,2\n", False),
        "cut short": (packed(50 * MB)[:-30], False),
    }.values(),
)
def test_what_comes_out_is_counted(data: bytes, larger: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(data)
    assert is_larger_than(path, MB) is larger


def test_too_many_parts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        for number in range(10_001):
            archive.writestr(str(number), b"")
    assert is_larger_than(tmp_path / "a.xlsx", MB)


def test_they_are_refused_before_anybody_reads_them(origin: HandOrigin, bundle: FakeBundle, tmp_path: Path) -> None:
    """Where rows are counted that was the server itself; rows as JSON it holds whole."""
    home = Home.open(tmp_path)
    config = ServeConfig(
        port=0,
        max_body_bytes=1000,
        jobs=JobsConfig(workers=0, max_unpacked_mb=1),
        limits=LimitsConfig(rows=LimitConfig(rate_per_s=10)),
    )
    with serving(origin, config, {}, home) as address, httpx.Client(base_url=address) as client:
        refused = client.post("/v1/jobs", content=packed(50 * MB), headers={"content-type": SHEET})
        assert (refused.status_code, refused.json()["max_bytes"]) == (413, MB)
        rows = b'{"rows": [' + b"[]," * 1000 + b"[]]}"
        refused = client.post("/v1/jobs", content=rows, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["max_bytes"]) == (413, 1000)
        assert client.get("/v1/jobs").json()["jobs"] == []
    home.ledger.close()
