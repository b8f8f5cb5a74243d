"""A caller tells truths of its own answers alone, and learns nothing of others'; operators tell those of all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from luban.policy.rules import Role
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.learning import truths
from luban.serve.learning.lessons import lessons
from luban.serve.learning.outcomes import Outcomes
from luban.serve.learning.recorded import insert_new
from luban.serve.learning.truths import Truth, join, keep
from luban.serve.question import Caller
from luban.store.home import Home
from luban.store.ledger import Ledger
from luban.store.tables import answers, feedback, reviews
from luban.tasks.base import Judgement
from waiting import until

from ..kept import ADA, released, server
from .test_records import kept

ROW = {"text": "很好"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return released(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def keys(home: Home) -> dict[str, dict[str, str]]:
    """Headers of two shops and an operator."""
    ring = Keyring(home.ledger)
    roles: dict[str, Role] = {"mine": "caller", "theirs": "caller", "operator": "operator"}
    return {name: {"x-api-key": ring.create(NewKey(name, role), ADA)[0]} for name, role in roles.items()}


@pytest.fixture(scope="module")
def client(home: Home, keys: dict[str, dict[str, str]]) -> Iterator[httpx.Client]:
    with server(home, records={"rows": True}, review={"below": 1.0}, jobs={"poll_s": 0.05}) as client:
        yield client


def sent(client: httpx.Client, method: str, path: str, headers: dict[str, str], body: Any = None) -> httpx.Response:
    """A response; asked again where a busy machine's ledger did not answer in time."""

    def found() -> httpx.Response | None:
        response = client.request(method, path, headers=headers, json=body)
        return None if response.status_code == 503 else response

    return until(found)


def asked(client: httpx.Client, home: Home, headers: dict[str, str], request_id: str) -> None:
    """Ask, and wait until that is recorded."""
    response = sent(client, "POST", "/v1/predict", {**headers, "x-request-id": request_id}, {"rows": [ROW]})
    assert response.status_code == 200, response.text
    until(lambda: [row for row in kept(home.ledger) if row.request_id == request_id])


def told(client: httpx.Client, headers: dict[str, str], request_id: str, truth: str) -> dict[str, Any]:
    body = {"feedback": [{"request_id": request_id, "truth": truth}]}
    response = sent(client, "POST", "/v1/feedback", headers, body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["results"][0]
    return {name: value for name, value in found.items() if name != "request_id"}


def truth_of(home: Home, request_id: str) -> Any:
    return next((one.truth for one in Outcomes(home.ledger).after("reviews") if one.request_id == request_id), None)


def test_another_callers_answer_is_like_one_that_is_not_known(
    home: Home, client: httpx.Client, keys: dict[str, dict[str, str]]
) -> None:
    asked(client, home, keys["mine"], "of-mine")
    for truth in ("bad", "bad", "good", "wonderful", "  "):
        strange, unknown = (told(client, keys["theirs"], id, truth) for id in ("of-mine", "of-nobody"))
        assert strange == unknown, "nothing tells the two apart"
    assert truth_of(home, "of-mine") is None
    (status,) = [one.status for one in _reviews(home) if one.request_id == "of-mine"]
    assert status == "open", "nor does it close what waits for a person"
    assert told(client, keys["mine"], "of-mine", "good") == {"position": 0, "state": "joined"}
    assert truth_of(home, "of-mine") == "good"
    told(client, keys["theirs"], "of-mine", "bad")
    assert truth_of(home, "of-mine") == "good"
    assert told(client, keys["operator"], "of-mine", "bad")["state"] == "joined"
    assert truth_of(home, "of-mine") == "bad"
    (known,) = Outcomes(home.ledger).known("reviews")
    assert (known.answers, known.truths) == (len(kept(home.ledger)), 1)
    learnt = [one.truth for one in lessons(home.ledger, "reviews", False) if one.request_id == "of-mine"]
    assert learnt == ["bad"], "one row to learn from, whoever else told something"


def _reviews(home: Home) -> list[Any]:
    with home.ledger.reading() as tx:
        return list(tx.execute(select(reviews)).all())


def test_truths_that_are_quick_wait_for_their_own_answer(
    home: Home, client: httpx.Client, keys: dict[str, dict[str, str]]
) -> None:
    """Who guesses an id and tells a truth beforehand decides nothing."""
    assert told(client, keys["theirs"], "quick", "bad")["state"] == "pending"
    assert told(client, keys["mine"], "quick", "good")["state"] == "pending"
    asked(client, home, keys["mine"], "quick")
    assert until(lambda: truth_of(home, "quick")) == "good"
    assert told(client, keys["theirs"], "quick", "bad")["state"] == "pending"
    assert truth_of(home, "quick") == "good"


def test_a_truth_that_waited_closes_the_row_for_review(
    home: Home, client: httpx.Client, keys: dict[str, dict[str, str]]
) -> None:
    told(client, keys["operator"], "closed", "good")
    asked(client, home, keys["mine"], "closed")
    (row,) = [one for one in _reviews(home) if one.request_id == "closed"]
    assert (row.status, row.truth, row.decided_by) == ("told", '"good"', "operator")


def test_a_job_of_its_own(home: Home, client: httpx.Client, keys: dict[str, dict[str, str]]) -> None:
    job = sent(client, "POST", "/v1/jobs", keys["mine"], {"rows": [ROW]}).json()["id"]
    for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", ""), ("POST", "/retry")):
        strange = sent(client, method, f"/v1/jobs/{job}{path}", keys["theirs"])
        unknown = sent(client, method, f"/v1/jobs/{'0' * 32}{path}", keys["theirs"])
        assert strange.status_code == unknown.status_code == 404
        assert strange.json()["type"] == unknown.json()["type"]
    assert sent(client, "GET", "/v1/jobs", keys["theirs"]).json()["jobs"] == []
    for who in ("mine", "operator"):
        assert [one["id"] for one in sent(client, "GET", "/v1/jobs", keys[who]).json()["jobs"]] == [job]
        until(lambda who=who: client.get(f"/v1/jobs/{job}", headers=keys[who]).json()["status"] == "done")
    until(lambda: f"{job}-0" in {row.request_id for row in kept(home.ledger)})
    assert told(client, keys["theirs"], f"{job}-0", "bad")["state"] == "pending"
    assert told(client, keys["mine"], f"{job}-0", "good")["state"] == "joined"


def test_without_keys_all_are_one(tmp_path: Path) -> None:
    home = released(tmp_path)
    for opened in ({}, {"no_key": True}):
        with server(home, **opened, jobs={"poll_s": 0.05}) as client:
            name = f"open-{len(opened)}"
            asked(client, home, {}, name)
            assert told(client, {}, name, "good")["state"] == "joined"
            job = sent(client, "POST", "/v1/jobs", {}, {"rows": [ROW]}).json()["id"]
            until(lambda job=job: client.get(f"/v1/jobs/{job}").json()["status"] == "done")
            assert told(client, {}, f"{job}-0", "good")["state"] == "joined"
    home.ledger.close()


def right(*_: Any) -> Judgement:
    return Judgement(True, 0.0)


def test_one_that_tells_of_everything_leaves_room_for_others(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truths, "MAX_PENDING", 2)
    with ledger.transaction() as tx:
        found = [keep(tx, Truth(f"r{n}", 0, "x"), "m", Caller("a", "caller", None, "a"), right).state for n in range(3)]
        assert found == ["pending", "pending", "refused"]
        assert keep(tx, Truth("r0", 0, "x"), "m", Caller("b", "caller", None, "b"), right).state == "pending"


WHO = {
    "a": Caller("a", "caller", None, "a"),
    "b": Caller("b", "caller", None, "b"),
    "op": Caller("op", "operator", None, "op"),
    "other op": Caller("other op", "operator", frozenset({"other"}), "other op"),
}


@given(st.lists(st.tuples(st.sampled_from(list(WHO)), st.sampled_from("xyz")) | st.none(), max_size=8))
@settings(max_examples=30, deadline=None)
def test_whoever_tells_what_and_when_the_last_who_may_counts(steps: list[tuple[str, str] | None]) -> None:
    """None among the steps is the answer, asked for by `a`, that is recorded at that moment."""
    import tempfile

    row = {
        "request_id": "r",
        "model": "m",
        "position": 0,
        "version": 1,
        "time": 1.0,
        "answer": "{}",
        "confidence": None,
    }
    more = {"deployment": "default", "arm": "champion", "unit": None, "share": 1.0, "row": None, "caller": "a"}
    with tempfile.TemporaryDirectory() as folder:
        ledger, last, is_there = Ledger(Path(folder) / "ledger.db"), None, False
        for step in steps:
            with ledger.transaction() as tx:
                if step is None:
                    insert_new(tx, answers, [{**row, **more}])
                    join(tx, [("r", 0)], right)
                    is_there = True
                    continue
                who, truth = step
                state = keep(tx, Truth("r", 0, truth), "m", WHO[who], right).state
                last = truth if who in ("a", "op") else last
                assert state == ("joined" if is_there and who in ("a", "op") else "pending")
        found = [one.truth for one in Outcomes(ledger).after("m")]
        assert found == ([last] if is_there and last else [])
        with ledger.reading() as tx:
            assert len(tx.execute(select(feedback).where(feedback.c.joined == 1)).all()) == len(found)
        ledger.close()
