"""Truth and figures, told later, join the answers that they are about."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.policy.rules import Actor
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.learning.feedback import MAX_ITEMS, read_item
from luban.serve.learning.outcomes import Outcomes
from luban.serve.learning.truths import Truth, keep
from luban.serve.question import Caller
from luban.store.home import Home
from luban.store.ledger import Ledger
from luban.tasks.base import Judgement
from waiting import until

from ..kept import NUMBERS, TAGS, ask, released, server, tell
from .test_records import kept


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return released(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[httpx.Client]:
    with server(home) as client:
        yield client


def test_truth_joins_the_answer_by_request_id(home: Home, client: httpx.Client) -> None:
    label = ask(client, [{"text": "很好"}], "joined")["answers"][0]["label"]
    other = "bad" if label == "good" else "good"
    (kept,) = tell(client, {"request_id": "joined", "position": 0, "truth": other, "figures": {"revenue": 12.5}})
    assert kept["state"] in ("joined", "pending")
    outcomes = Outcomes(home.ledger)
    (found,) = until(lambda: [one for one in outcomes.after("reviews") if one.request_id == "joined"])
    assert (found.truth, found.correct, found.error) == (other, False, 1.0)
    assert (found.version, found.arm, found.deployment, found.revision) == (1, "champion", "default", 0)
    assert found.figures == {"revenue": 12.5}
    assert found.answer["label"] == label
    assert found.confidence == found.answer["confidence"]
    assert found.told_at >= found.answered_at


def test_the_latest_truth_wins_and_the_same_again_changes_nothing(home: Home, client: httpx.Client) -> None:
    ask(client, [{"text": "很好"}], "mended")
    outcomes = Outcomes(home.ledger)

    def found() -> Any:
        return next((one for one in outcomes.after("reviews") if one.request_id == "mended"), None)

    tell(client, {"request_id": "mended", "truth": "bad"})
    first = until(found)
    tell(client, {"request_id": "mended", "truth": "bad"})
    assert found() == first
    tell(client, {"request_id": "mended", "truth": "good", "figures": {"a": 1}})
    second = found()
    assert (second.truth, second.revision, second.correct) == ("good", 1, not first.correct)
    assert second.number > first.number
    assert [one for one in outcomes.after("reviews", first.number) if one.request_id == "mended"] == [second]
    tell(client, {"request_id": "mended", "figures": {"b": 2}})
    assert (found().truth, found().figures) == ("good", {"a": 1, "b": 2})
    assert outcomes.after("reviews", outcomes.last("reviews")) == []


def test_a_truth_that_comes_before_its_answer_waits_for_it(home: Home, client: httpx.Client) -> None:
    assert tell(client, {"request_id": "early", "truth": "good"})[0]["state"] == "pending"
    assert not [one for one in Outcomes(home.ledger).after("reviews") if one.request_id == "early"]
    ask(client, [{"text": "很好"}], "early")
    (found,) = until(lambda: [one for one in Outcomes(home.ledger).after("reviews") if one.request_id == "early"])
    assert found.correct is not None


def test_numbers_and_tags_are_judged_by_their_own_measure(tmp_path: Path) -> None:
    home = released(tmp_path / "numbers", task=NUMBERS, target="number")
    with server(home, review={"within": 1.5, "below": 0.6}) as client:
        (answer,) = ask(client, [{"text": "很好"}], "number")["answers"]
        assert answer["confidence"] == pytest.approx(0.65)
        near = answer["value"] + 1.25
        (kept_one,) = tell(client, {"request_id": "number", "truth": f"{near:.6f}"})
        assert kept_one["state"] != "refused"
        (found,) = until(lambda: Outcomes(home.ledger).after("reviews"))
        assert (found.truth, found.correct) == (pytest.approx(near, abs=1e-5), True)
        assert found.error == pytest.approx(1.25, abs=1e-5)
        assert tell(client, {"request_id": "number", "truth": "much"})[0]["reason"] == "truth: is not a number"
    home = released(tmp_path / "tags", task=TAGS, target="tags")
    with server(home) as client:
        (answer,) = ask(client, [{"text": "很好"}], "tags")["answers"]
        tell(client, {"request_id": "tags", "truth": [*answer["tags"], "new"]})
        (found,) = until(lambda: Outcomes(home.ledger).after("reviews"))
        assert (found.correct, found.error) == (False, 1 / len(found.truth))


def test_one_bad_item_stops_no_other(client: httpx.Client) -> None:
    bad: list[Any] = [
        7,
        {"truth": "good"},
        {"request_id": "a b", "truth": "good"},
        {"request_id": "x"},
        {"request_id": "x", "truth": None},
        {"request_id": "x", "truth": "good", "position": -1},
        {"request_id": "x", "truth": "good", "position": True},
        {"request_id": "x", "truths": "good"},
        {"request_id": "x", "figures": {"revenue": "much"}},
        {"request_id": "x", "figures": {"a b": 1}},
        {"request_id": "x", "figures": [1]},
        {"request_id": "x", "truth": ["good"]},
        {"request_id": "x", "truth": "  "},
        {"request_id": "x", "truth": "x" * 20_000},
        {"request_id": "x", "figures": {"revenue": 1e301}},
    ]
    results = tell(client, *bad, {"request_id": "fine", "truth": "good"})
    assert [one["state"] for one in results] == ["refused"] * len(bad) + ["pending"]
    assert all(one["reason"] for one in results[:-1])
    assert results[-1]["request_id"] == "fine"
    (new,) = tell(client, {"request_id": "fine", "truth": "wonderful"})
    assert new["note"] == "the model does not know `wonderful`"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 400, "not-json"),
        (b"[]", 422, "wrong-shape"),
        (b'{"feedback": {}}', 422, "wrong-shape"),
        (b'{"feedback": [], "more": 1}', 422, "wrong-shape"),
        (b'{"feedback": [' + b",".join([b"{}"] * (MAX_ITEMS + 1)) + b"]}", 413, "too-many-rows"),
    ],
)
def test_a_body_of_another_form(client: httpx.Client, body: bytes, status: int, kind: str) -> None:
    response = client.post("/v1/feedback", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["type"]) == (status, f"urn:luban:problem:{kind}")


def test_an_unknown_model_and_a_model_by_name(client: httpx.Client) -> None:
    body = {"feedback": [{"request_id": "named", "truth": "good"}]}
    assert client.post("/v1/models/reviews/feedback", json=body).json()["pending"] == 1
    assert client.post("/v1/models/nobody/feedback", json=body).status_code == 404


def test_live_accuracy_is_in_the_metrics(home: Home, client: httpx.Client) -> None:
    label = ask(client, [{"text": "干净"}], "counted")["answers"][0]["label"]
    tell(client, {"request_id": "counted", "truth": label})
    until(lambda: Outcomes(home.ledger).accuracy("reviews").get(1, (0, 0))[1] > 0)
    judged, correct = Outcomes(home.ledger).accuracy("reviews")[1]
    (known,) = Outcomes(home.ledger).known("reviews")
    assert (known.judged, known.correct) == (judged, correct / judged)
    assert known.answers >= known.truths >= known.judged
    sure = [one.confidence for one in Outcomes(home.ledger).after("reviews") if one.correct is not None]
    assert known.confidence == pytest.approx(sum(one or 0 for one in sure) / len(sure))

    def told() -> bool:
        text = client.get("/metrics").text
        return 'luban_truths{model="reviews",version="1"}' in text and "luban_live_accuracy_ratio{" in text

    until(told)


def test_a_truth_told_to_one_server_joins_an_answer_of_another(home: Home, client: httpx.Client) -> None:
    """Two servers, one ledger; a request id that both were given keeps the first answer."""
    with server(home) as second:
        ask(client, [{"text": "很好"}], "of-first")
        ask(second, [{"text": "太差"}], "of-second")
        tell(second, {"request_id": "of-first", "truth": "good"})
        tell(client, {"request_id": "of-second", "truth": "good"})

        def joined() -> set[str]:
            return {one.request_id for one in Outcomes(home.ledger).after("reviews")} & {"of-first", "of-second"}

        until(lambda: joined() == {"of-first", "of-second"})
        ask(second, [{"text": "很好"}], "of-both")
        (first,) = until(lambda: [row for row in kept(home.ledger) if row.request_id == "of-both"])
        ask(client, [{"text": "干净"}, {"text": "太差"}], "of-both")
        both = until(
            lambda: [row for row in kept(home.ledger) if row.request_id == "of-both"][1:] and kept(home.ledger)
        )
        assert first in both


def test_a_model_that_was_given_back_still_reads_truths(tmp_path: Path) -> None:
    home = released(tmp_path)
    with server(home, memory={"idle_s": 0.2}) as client:
        until(lambda: "luban_loaded_models 0.0" in client.get("/metrics").text)
        assert tell(client, {"request_id": "idle", "truth": "good"})[0]["state"] == "pending"
        until(lambda: "luban_loaded_models 0.0" in client.get("/metrics").text)
        assert tell(client, {"request_id": "idle", "truth": "  "})[0]["reason"] == "truth: is missing"


def test_without_a_ledger_it_says_so(tmp_path: Path) -> None:
    from luban.serve.config import ServeConfig
    from luban.serve.fleet.origins import FolderOrigin
    from luban.serve.server import serving

    from ..tiny import write_tiny

    write_tiny(tmp_path / "bundle")
    with serving(FolderOrigin(tmp_path / "bundle"), ServeConfig(port=0), {}) as address:
        found = httpx.post(f"{address}/v1/feedback", json={"feedback": []})
        assert (found.status_code, found.json()["type"]) == (503, "urn:luban:problem:no-ledger")
        assert httpx.get(f"{address}/v1/reviews").status_code == 503


def test_a_ledger_that_is_locked_is_said_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luban.store.database.BUSY_S", 0.3)
    home = released(tmp_path)
    with server(home) as client:
        holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        item = {"request_id": "locked", "truth": "good"}
        refused = client.post("/v1/feedback", json={"feedback": [item]})
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:luban:problem:no-ledger")
        assert refused.headers["retry-after"]
        assert ask(client, [{"text": "很好"}])["answers"][0]["label"]
        holder.execute("ROLLBACK")
        holder.close()
        assert tell(client, item)[0]["state"] == "pending"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={"request_id": JSON | st.just("a"), "position": JSON, "truth": JSON, "figures": JSON},
    )
)
def test_any_item_is_read_or_refused_with_a_reason(item: Any) -> None:
    told, reason = read_item(item)
    assert (told is None) == bool(reason)
    if told is not None:
        assert told.truth is not None or told.figures


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", None]), st.integers(0, 2)), max_size=8))
@settings(max_examples=25, deadline=None)
def test_readers_that_go_on_by_number_see_every_last_word(told: list[tuple[str, str | None, int]]) -> None:
    """However truths come, a reader's last view of each answer is what was told last."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.db")
        number, seen, expected = 0, {}, {}
        with ledger.transaction() as tx:
            from luban.serve.learning.recorded import insert_new
            from luban.store.tables import answers

            row = {"model": "m", "position": 0, "version": 1, "time": 1.0, "answer": "{}", "confidence": None}
            more = {"deployment": "default", "arm": "champion", "unit": None, "share": 1.0, "row": None}
            assert insert_new(tx, answers, [{"request_id": name, **row, **more} for name in "ab"]) == 2
        for name, truth, figure in told:
            with ledger.transaction() as tx:
                keep(tx, Truth(name, 0, truth, {"f": figure}), "m", Caller("ada"), lambda *_: Judgement(True, 0.0))
            before = expected.get(name, (None, {}))
            expected[name] = (before[0] if truth is None else truth, {"f": figure})
            if figure == 1:  # a reader that looks now and then
                for one in Outcomes(ledger).after("m", number):
                    number, seen[one.request_id] = one.number, (one.truth, one.figures)
        for one in Outcomes(ledger).after("m", number):
            seen[one.request_id] = (one.truth, one.figures)
        assert seen == expected
        ledger.close()


def test_truths_may_be_for_operators_alone(tmp_path: Path) -> None:
    home = released(tmp_path)
    ring, ada = Keyring(home.ledger), Actor("ada")
    keys = {role: ring.create(NewKey(role, role), ada)[0] for role in ("caller", "operator")}
    item = {"feedback": [{"request_id": "asked", "truth": "good"}]}
    with server(home, records={"feedback_role": "operator"}) as client:
        for role, status in {"caller": 403, "operator": 200}.items():
            for path in ("/v1/feedback", "/v1/models/reviews/feedback"):
                assert client.post(path, json=item, headers={"x-api-key": keys[role]}).status_code == status
        asked = client.post("/v1/predict", json={"rows": [{"text": "a"}]}, headers={"x-api-key": keys["caller"]})
        assert asked.status_code == 200
    home.ledger.close()
