"""Jobs over pictures: Parquet with bytes, JSON Lines and rows with base64, by the client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luban.client import Client

from ..kept import server
from ..pictured import DARK, LIGHT, b64, pictured, png


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    home = pictured(tmp_path)
    with server(home, jobs={"poll_s": 0.1}, rows={"max_pixels": 10_000, "max_cell_bytes": 100}) as client:
        yield client
    home.ledger.close()


def test_files_and_rows(api: httpx.Client, tmp_path: Path) -> None:
    images = [LIGHT, DARK, b"no picture", None, png(1, 200, 100)]
    parquet, lines = tmp_path / "in.parquet", tmp_path / "in.jsonl"
    pq.write_table(pa.table({"image": pa.array(images, pa.binary())}), parquet)
    written = [{"image": None if image is None else b64(image)} for image in images]
    lines.write_text("".join(json.dumps(row) + "\n" for row in written), "utf-8")
    with Client(str(api.base_url)) as client:
        jobs = [client.jobs.submit(parquet), client.jobs.submit(lines), client.jobs.submit([{"image": LIGHT}])]
        ended = [client.jobs.wait(job.id, timeout_s=60) for job in jobs]
        told = [(job.status, job.counts["rows"], job.counts["errors"]) for job in ended]
        assert told == [("done", 5, 3), ("done", 5, 3), ("done", 1, 0)]
        client.jobs.save(jobs[0].id, tmp_path / "out.parquet")
        client.jobs.save(jobs[1].id, tmp_path / "out.jsonl")
    out = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["image"] for row in out] == images, "the files come back as they were"
    assert [row["label"] for row in out] == ["good", "bad", None, None, None]
    assert out[2]["error"] == "image: is no PNG, JPEG, WebP, BMP or GIF"
    assert out[4]["error"] == "the pictures of a row must have at most 10,000 pixels, but have 20,000"
    assert [json.loads(line)["image"] for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()] == [
        row["image"] for row in written
    ]
