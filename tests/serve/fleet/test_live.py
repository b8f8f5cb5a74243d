"""The bundle is exchanged while requests run; a bad one never takes a good one's place."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from luban.errors import BundleError, StoreError
from luban.serve.fleet.live import LiveBundle
from luban.serve.fleet.origins import FolderOrigin, Lineup, Wanted
from waiting import until

from ..conftest import FakeBundle, HandOrigin


def test_an_alias_moves_under_load(client: httpx.Client, origin: HandOrigin) -> None:
    seen: set[tuple[int, str]] = set()
    failed: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=client.base_url, timeout=10) as own:
            while not stop.is_set():
                response = own.post("/v1/predict", json={"rows": [{"text": "some text"}]})
                if response.status_code != 200 or "label" not in response.json()["answers"][0]:
                    failed.append(response.text)
                seen.add((response.json()["version"], response.json()["identity"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(1, 7):
        origin.version = version
        until(lambda version=version: version in {number for number, _ in seen})
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    # A version never answers under another's identity.
    assert seen == {(1, "a" * 64), *((version, f"{version:064x}") for version in range(2, 7))}


def test_a_bad_version_is_refused_and_the_old_one_stays(
    client: httpx.Client, origin: HandOrigin, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="luban.serve"):
        origin.version = 13
        until(lambda: client.get("/ready").json()["newest_refused"] is not None)
        time.sleep(0.2)
    reason = "Version 13 of `reviews` is refused: `model.onnx` was changed. Version 1 stays."
    assert client.get("/ready").json()["newest_refused"] == reason
    assert client.post("/v1/predict", json={"rows": [{"text": "a"}]}).json()["version"] == 1
    metrics = client.get("/metrics").text
    # Refused once, although it was looked for many times.
    assert 'luban_model_refusals_total{model="reviews"} 1.0' in metrics
    assert 'luban_model_stale{model="reviews"} 1.0' in metrics
    assert [record.fields["reason"] for record in caplog.records if hasattr(record, "fields")] == [reason]
    origin.version = 14
    until(lambda: client.get("/ready").json()["version"] == 14)
    assert client.get("/ready").json()["newest_refused"] is None


def test_a_ledger_that_is_away_for_a_while(
    client: httpx.Client, origin: HandOrigin, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers learn that it is away, the log where it is."""
    for error, told in (
        (StoreError("postgresql://somebody@inside is away."), "The ledger or the store cannot be read now"),
        (RuntimeError("what a driver says of somebody@inside"), "Looking for a new version failed: RuntimeError."),
    ):
        origin.error = error
        until(lambda told=told: told in (client.get("/ready").json()["newest_refused"] or ""))
        assert "inside" not in client.get("/v1/models").text
        assert str(error) in caplog.records[-1].fields["reason"]  # type: ignore[attr-defined]
    origin.version, origin.error = 2, None
    until(lambda: client.get("/ready").json()["version"] == 2)


class TestNoModelYet:
    @pytest.fixture
    def origin(self) -> HandOrigin:
        return HandOrigin(None)

    def test_not_ready_until_released(self, client: httpx.Client, origin: HandOrigin) -> None:
        assert client.get("/health").status_code == 200
        for path in ("/ready", "/v1/model", "/openapi.json"):
            response = client.get(path)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert response.json()["detail"] == "`reviews` has no champion."
        assert client.post("/v1/predict", json={"rows": []}).json()["type"] == "urn:luban:problem:no-model"
        assert "has no champion" in client.get("/").text
        assert "luban_ready 0.0" in client.get("/metrics").text
        origin.version = 1
        until(lambda: client.get("/ready").status_code == 200)


def live(origin: HandOrigin | FolderOrigin, load: Callable[[Path], FakeBundle]) -> LiveBundle:
    return LiveBundle(origin, 60, load)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_served_raises() -> None:
    def load(folder: Path) -> FakeBundle:
        raise BundleError("it is damaged")

    with pytest.raises(BundleError, match="it is damaged"):
        live(FolderOrigin(Path("/nowhere")), load).start()


def test_a_folder_has_no_version_and_no_thread() -> None:
    held = live(FolderOrigin(Path("/nowhere")), lambda folder: FakeBundle())
    held.start()
    assert held.now is not None
    assert (held.now.name, held.now.version) == ("reviews", None)
    held.stop()


def test_a_false_identity_is_refused(origin: HandOrigin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "look", lambda: Lineup.of(Wanted("1", "reviews", 1, "b" * 64)))
    held = live(origin, lambda folder: FakeBundle())
    held.check()
    assert held.now is None
    assert "names identity bbbbbbbbbbbb, but the bundle is aaaaaaaaaaaa" in held.reason


def test_a_bundle_that_fails_its_examples_is_refused(origin: HandOrigin) -> None:
    class Silent(FakeBundle):
        def example_rows(self) -> list[dict[str, object]]:
            return [{"text": "bad"}]

    held = live(origin, lambda folder: Silent())
    held.check()
    assert held.now is None
    assert "answers none of its example rows" in held.reason
    assert json.dumps(held.num_refused) == "1"
