"""A stand-in for a loaded bundle, an origin that can be moved by hand, and a running server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import httpx
import pyarrow as pa
import pytest
from pydantic import Field

from luban.data.schema import Schema
from luban.data.table import Table
from luban.errors import BundleError
from luban.serve.config import ServeConfig
from luban.serve.fleet.origins import Lineup, Wanted
from luban.serve.server import serving
from luban.tasks.base import TaskOptions
from waiting import BOUND_S

SCHEMA = Schema.model_validate(
    {
        "columns": [
            {"name": "text", "type": "text"},
            {"name": "stars", "type": "number"},
            {"name": "label", "type": "category", "role": "target"},
        ]
    }
)


class Options(TaskOptions):
    """Options like a classification's."""

    threshold: float = Field(0.5, ge=0, le=1)
    style: Literal["plain", "loud"] = "plain"


class FakeBundle:
    """Answers long texts with "long"; a text "bad" is a bad row; a text "wait" waits to be let go."""

    schema = SCHEMA
    task = SimpleNamespace(Options=Options)
    columns = {"label": "string", "confidence": "number"}
    preprocess = SimpleNamespace(
        features={"text": SimpleNamespace(storage=pa.string()), "stars": SimpleNamespace(storage=pa.float64())}
    )

    def __init__(self, identity: str = "a" * 64) -> None:
        self.identity = identity
        self.manifest = SimpleNamespace(
            name="reviews",
            owner="team",
            purpose="Route <unhappy> guests.",
            protocol=1,
            luban="0.1.0",
            state=(),
            stages=(),
            task=SimpleNamespace(kind="binary"),
        )
        self.go_on = threading.Event()
        self.waits = threading.Event()
        """Set when a text "wait" has come."""

    def example_rows(self) -> list[dict[str, Any]]:
        return [{"text": "a rather long one, it's fine", "stars": 5.0}, {"text": "short", "stars": None}]

    def predict(self, rows: Any, options: TaskOptions | None = None) -> Table:
        found = rows if isinstance(rows, list) else rows.to_pylist()
        errors = [self._error(row) for row in found]
        labels = [
            None if e else ("long" if len(str(r.get("text"))) > 9 else "short")
            for r, e in zip(found, errors, strict=True)
        ]
        return Table({"label": labels, "confidence": [None if e else 0.75 for e in errors]}, errors)

    def _error(self, row: dict[str, Any]) -> str | None:
        if row.get("text") == "wait":
            self.waits.set()
            self.go_on.wait(BOUND_S)
        if row.get("text") == "explode":
            raise RuntimeError("a secret of the inside")
        if row.get("text") is None and row.get("stars") is None:
            return "every input column is missing in this row"
        return "text: is bad" if row.get("text") == "bad" else None


class HandOrigin:
    """An origin whose wanted version is set by a test; paths are `<version>`."""

    moves = True
    name = "reviews"

    def __init__(self, version: int | None = 1) -> None:
        self.version = version
        self.error: Exception | None = None

    def look(self) -> Lineup:
        if self.error is not None:
            raise self.error
        if self.version is None:
            raise BundleError("`reviews` has no champion.")
        return Lineup.of(self.numbered(self.version))

    def numbered(self, number: int) -> Wanted:
        return Wanted(str(number), "reviews", number, None)

    def fetch(self, wanted: Wanted) -> Path:
        return Path(wanted.key)


@pytest.fixture
def origin() -> HandOrigin:
    return HandOrigin()


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> FakeBundle:
    """The bundle that every server of this test loads first; odd versions are refused from 3 on."""
    first = FakeBundle()

    def load(folder: Path, num_threads: int = 1) -> FakeBundle:
        version = int(folder.name)
        if version == 13:
            raise BundleError("`model.onnx` was changed.")
        return first if version == 1 else FakeBundle(f"{version:064x}")

    monkeypatch.setattr("luban.serve.fleet.live._load", load)
    return first


@pytest.fixture
def config() -> ServeConfig:
    return ServeConfig(port=0, poll_s=0.02)


@pytest.fixture
def environment() -> dict[str, str]:
    return {}


@pytest.fixture
def client(
    origin: HandOrigin, bundle: FakeBundle, config: ServeConfig, environment: dict[str, str]
) -> Iterator[httpx.Client]:
    """A client of a server that runs on a free loopback port."""
    with serving(origin, config, environment) as address, httpx.Client(base_url=address, timeout=10) as client:
        yield client
