"""Answers that are not sure are marked; their rows go to a queue in which no two people get the same row."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import ValidationError
from sqlalchemy import update

from luban.serve.config import ServeConfig
from luban.serve.fleet.routing import Arm, Picked
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.learning.learning_config import ReviewConfig
from luban.serve.learning.lessons import lessons
from luban.serve.learning.outcomes import Outcomes
from luban.serve.learning.recorded import Item, answers_of, insert_new, reviews_of
from luban.serve.learning.review import Marks
from luban.serve.learning.review_queue import Held, NotThere, ReviewQueue
from luban.serve.learning.review_rows import DONE, DROPPED, OPEN, TAKEN, TOLD
from luban.serve.learning.truths import Truth, keep
from luban.serve.question import ANYBODY, Caller, Entry, Question, Reply
from luban.store.ledger import Ledger
from luban.store.tables import answers, reviews
from luban.tasks.base import Judgement
from luban.tasks.regression import Regression
from waiting import until

from ..kept import ADA, ask, released, server, tell

ROWS = [{"text": "房间很干净"}, {"text": "太差了"}, {"text": "很好，下次还来", "stars": 5}, {"stars": "many"}]


def judge(model: str, answer: Any, truth: Any) -> Judgement:
    return Judgement(True, 0.0)


def reply_of(task: Any, decoding: Any, found: list[dict[str, Any]]) -> tuple[Question, Reply]:
    manifest = SimpleNamespace(task=SimpleNamespace(decoding=decoding))
    bundle = SimpleNamespace(task=task, manifest=manifest, identity="a")
    served = SimpleNamespace(bundle=bundle, name="reviews", version=1)
    question = Question(Entry(ANYBODY, "reviews", "one"), [{}] * len(found))
    return question, Reply(Picked(Arm("champion", served)), found, 0)  # type: ignore[arg-type]


NUMBER = {"mean": 0.0, "scale": 1.0, "half_widths": {"0.5": 1.0, "0.8": 2.0, "0.9": 4.0, "0.95": None, "0.99": None}}


def test_numbers_are_sure_of_themselves_where_a_tolerance_is_said(caplog: pytest.LogCaptureFixture) -> None:
    found = [{"value": 10.0, "low": 6.0, "high": 14.0}, {"value": 100.0, "low": 96.0, "high": 104.0}]
    question, reply = reply_of(Regression(), NUMBER, [dict(one) for one in found])
    Marks(ReviewConfig(below=0.6, within_share=0.1)).finish(question, reply)
    assert [one["confidence"] for one in reply.answers] == [0.5, 0.9]
    assert [one.get("review") for one in reply.answers] == [True, None]
    assert reply.answers[0]["review_because"] == ["confidence"]
    assert reply.marked == {0: ["confidence"]}
    question, reply = reply_of(Regression(), NUMBER, [dict(one) for one in found])
    marks = Marks(ReviewConfig(below=0.6))
    with caplog.at_level("WARNING", logger="luban.serve"):
        marks.finish(question, reply)
        marks.finish(question, reply)
    assert reply.answers == found
    assert reply.marked is None
    assert len([one for one in caplog.records if "review.below" in one.message]) == 1


def test_rows_outside_are_marked_and_the_sample_is_not() -> None:
    found = [{"value": 1.0, "outside": ["stars"]}, {"value": 1.0}, {"error": "no"}]
    question, reply = reply_of(Regression(), NUMBER, found)
    draws = iter([0.9, 0.001])
    marks = Marks(ReviewConfig(outside=True, sample=0.01), lambda what, request_id, position: next(draws))
    marks.finish(question, reply)
    assert found[0]["review_because"] == ["outside"]
    assert "review" not in found[1]
    assert found[2] == {"error": "no"}
    assert reply.marked == {0: ["outside"], 1: ["sample"]}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, httpx.Client]]:
    home = released(tmp_path_factory.mktemp("state"))
    with server(home, review={"below": 1.0}) as client:
        yield home, client


def waiting(client: httpx.Client, request_id: str) -> list[dict[str, Any]]:
    found = client.get("/v1/reviews", params={"limit": 1000}).json()["reviews"]
    return [one for one in found if one["id"].startswith(request_id)]


def test_a_marked_row_is_taken_decided_and_becomes_feedback(state: tuple[Any, httpx.Client]) -> None:
    home, client = state
    answered = ask(client, ROWS, "life")["answers"]
    assert [one.get("review") for one in answered] == [True, True, True, None]
    until(lambda: len(waiting(client, "life")) == 3)
    first = waiting(client, "life")[0]
    assert (first["row"], first["reasons"], first["status"]) == (ROWS[0], ["confidence"], "open")
    assert first["confidence"] == answered[0]["confidence"]
    taken = client.post("/v1/reviews/life:0/take").json()
    assert (taken["status"], taken["taken_by"]) == ("taken", "anybody")
    refused = client.post("/v1/reviews/life:0/decide", json={"truth": ["x"]})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/truth")
    done = client.post("/v1/reviews/life:0/decide", json={"truth": " bad "}).json()
    assert (done["status"], done["truth"], done["decided_by"]) == ("done", "bad", "anybody")
    (found,) = [one for one in Outcomes(home.ledger).after("reviews") if one.request_id == "life"]
    assert (found.truth, found.correct) == ("bad", answered[0]["label"] == "bad")
    assert client.post("/v1/reviews/life:1/drop").json()["status"] == "dropped"
    assert client.post("/v1/reviews/life:1/take").status_code == 409
    assert client.get("/v1/reviews/life:2").json()["status"] == "open"
    counts = client.get("/v1/reviews").json()["counts"]
    assert (counts["done"], counts["dropped"]) == (1, 1)
    until(lambda: 'luban_reviews{model="reviews",status="done"} 1.0' in client.get("/metrics").text)


def test_a_row_whose_truth_comes_by_feedback_is_closed(state: tuple[Any, httpx.Client]) -> None:
    home, client = state
    ask(client, ROWS[:3], "told")
    until(lambda: len(waiting(client, "told")) == 3)
    client.post("/v1/reviews/told:1/take")
    tell(client, *({"request_id": "told", "position": n, "truth": "bad"} for n in range(2)))
    assert [one["id"] for one in waiting(client, "told")] == ["told:2"]
    closed = client.get("/v1/reviews/told:1").json()
    assert (closed["status"], closed["truth"], closed["taken_by"]) == ("told", "bad", None)
    assert (closed["decided_by"], closed["decided"] is not None) == ("anybody", True)
    listed = client.get("/v1/reviews?status=told").json()
    assert {"told:0", "told:1"} <= {one["id"] for one in listed["reviews"]}
    assert listed["counts"]["told"] >= 2
    assert client.post("/v1/reviews/told:0/take").json()["detail"].endswith("told already, by anybody.")
    assert client.post("/v1/reviews/told:0/drop").status_code == 409
    tell(client, {"request_id": "told", "position": 2, "figures": {"refund": 4}})
    assert len(waiting(client, "told")) == 1, "a figure is no truth"
    decided = client.post("/v1/reviews/told:0/decide", json={"truth": "good"}).json()
    assert (decided["status"], decided["truth"]) == ("done", "good"), "a person may know better"
    tell(client, {"request_id": "told", "position": 0, "truth": "bad"})
    mended = client.get("/v1/reviews/told:0").json()
    assert (mended["status"], mended["truth"]) == ("done", "bad"), "and the latest counts"
    learnt = [(one.position, one.truth) for one in lessons(home.ledger, "reviews", False) if one.request_id == "told"]
    assert sorted(learnt) == [(0, "bad"), (1, "bad")], "each row once"
    reviewed = [one.position for one in lessons(home.ledger, "reviews", True) if one.request_id == "told"]
    assert reviewed == [0], "what a person decided"
    found = [one for one in Outcomes(home.ledger).after("reviews") if one.request_id == "told" and one.truth]
    assert sorted(one.position for one in found) == [0, 1]


def test_rows_outside_of_training_come_to_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match=r"needs `rows\.outside` to be mark"):
        ServeConfig.model_validate({"review": {"outside": True}})
    monkeypatch.setattr("luban.serve.guards.outside.Outside.finish", _mark_large)
    with server(released(tmp_path), review={"outside": True}, rows={"outside": "mark"}) as client:
        first, second = ask(client, [{"text": "很好", "stars": 900}, {"text": "很好", "stars": 3}], "far")["answers"]
        assert (first["review"], first["review_because"]) == (True, ["outside"])
        assert "review" not in second
        (found,) = until(lambda: waiting(client, "far"))
        assert (found["id"], found["reasons"]) == ("far:0", ["outside"])


def _mark_large(self: Any, question: Any, reply: Any) -> None:
    """As the guard does where a bundle knows the range of its training rows; the tiny one does not."""
    for row, answer in zip(question.rows, reply.answers, strict=True):
        if row["stars"] > 5:
            answer["outside"] = [f"stars: {row['stars']} is above 5, the largest in training"]


def test_taking_the_next_gives_each_row_once(state: tuple[Any, httpx.Client]) -> None:
    _, client = state
    ask(client, ROWS[:3], "next")
    until(lambda: len(waiting(client, "next")) == 3)
    first = client.post("/v1/reviews/take", json={"count": 100}).json()["reviews"]
    assert {one["id"] for one in first} >= {"next:0", "next:1", "next:2"}
    assert client.post("/v1/reviews/take").json()["reviews"] == []
    assert client.post("/v1/reviews/take", json={"count": 0}).status_code == 422
    assert client.post("/v1/reviews/take", json={"counts": 1}).status_code == 422


def test_what_is_not_there(state: tuple[Any, httpx.Client]) -> None:
    _, client = state
    for id in ("nobody:0", "nobody", "nobody:x", "nobody:99999999999999999999", "a%00b:0"):
        found = client.get(f"/v1/reviews/{id}")
        assert (found.status_code, found.json()["type"]) == (404, "urn:luban:problem:no-such-review")
    assert client.get("/v1/reviews", params={"status": "lost"}).status_code == 400
    assert client.get("/v1/reviews", params={"limit": "0"}).status_code == 400
    assert client.get("/v1/reviews", params={"limit": "9" * 5000}).status_code == 400
    assert client.get("/v1/reviews", params={"model": "nobody"}).status_code == 404


def test_only_operators_see_rows(tmp_path: Path) -> None:
    home = released(tmp_path)
    secret, _ = Keyring(home.ledger).create(NewKey("labels", "caller"), ADA)
    with server(home, review={"below": 1.0}) as client:
        client.headers["authorization"] = f"Bearer {secret}"
        ask(client, ROWS[:1], "one")
        assert client.get("/v1/reviews").status_code == 403
        assert client.post("/v1/reviews/one:0/decide", json={"truth": "good"}).status_code == 403
        assert tell(client, {"request_id": "one", "truth": "good"})[0]["state"] in ("joined", "pending")


def put(ledger: Ledger, count: int) -> None:
    """Rows into the queue."""
    found = [{"label": "good", "confidence": 0.5}] * count
    rows, marked = {n: {} for n in range(count)}, {n: ["sample"] for n in range(count)}
    item = Item(1.0, "r", "m", "", ("champion", 1), 1.0, found, rows, marked, True, 0)
    with ledger.transaction() as tx:
        insert_new(tx, answers, list(answers_of(item, False)))
        insert_new(tx, reviews, list(reviews_of(item)))


def test_many_people_at_once_never_get_the_same_row(ledger: Ledger) -> None:
    put(ledger, 40)
    queue = ReviewQueue(ledger, 60)
    got: list[str] = []

    def work(who: str) -> None:
        while found := queue.take_next("m", who, 3):
            got.extend(one.id for one in found)

    threads = [threading.Thread(target=work, args=(f"person {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(f"r:{n}" for n in range(40))


def test_a_lease_is_over_in_time_and_after_clocks_jump(ledger: Ledger) -> None:
    put(ledger, 1)
    queue = ReviewQueue(ledger, 60)
    taken = queue.take("r:0", "ada")
    with pytest.raises(Held, match="ada's for"):
        queue.take("r:0", "bo")
    with pytest.raises(Held):
        queue.decide("r:0", "good", "bo", judge)
    assert queue.take("r:0", "ada").taken_by == "ada"
    assert taken.taken_until is not None
    for moved in (-61, 86_400 * 365):  # the time is over; the clock was set back by a year since
        with ledger.transaction() as tx:
            tx.execute(update(reviews).values(taken_until=taken.taken_until + moved))
        assert [one.status for one in queue.listed("m")] == [OPEN]
        assert queue.take("r:0", "bo").taken_by == "bo"
        queue.take("r:0", "bo")


def test_a_decision_may_be_mended_and_the_latest_counts(ledger: Ledger) -> None:
    put(ledger, 2)
    queue = ReviewQueue(ledger, 60)
    queue.decide("r:0", "good", "ada", judge)
    assert queue.decide("r:0", "bad", "bo", judge).decided_by == "bo"
    (found,) = Outcomes(ledger).after("m")
    assert (found.truth, found.revision) == ("bad", 1)
    with pytest.raises(Held, match="done already"):
        queue.take("r:0", "ada")
    with pytest.raises(Held, match="done already"):
        queue.drop("r:0", "ada")
    queue.drop("r:1", "ada")
    assert queue.decide("r:1", "good", "bo", judge).status == DONE
    with pytest.raises(NotThere):
        queue.drop("r:2", "ada")


PEOPLE = st.sampled_from(["ada", "bo"])
NUMBERS = st.integers(0, 2)


class Queue(RuleBasedStateMachine):
    """Whatever people do, a row is held by one of them, and what was decided stays decided."""

    @initialize()
    def start(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")
        put(self.ledger, 3)
        self.queue = ReviewQueue(self.ledger, 600)
        self.holder: dict[int, str] = {}
        self.truth: dict[int, str] = {}
        self.closed: dict[int, str] = {}

    @rule(number=NUMBERS, who=PEOPLE)
    def take(self, number: int, who: str) -> None:
        if number in self.closed or self.holder.get(number, who) != who:
            with pytest.raises(Held):
                self.queue.take(f"r:{number}", who)
        else:
            self.queue.take(f"r:{number}", who)
            self.holder[number] = who

    @rule(number=NUMBERS, who=PEOPLE, truth=st.sampled_from(["good", "bad"]))
    def decide(self, number: int, who: str, truth: str) -> None:
        if self.holder.get(number, who) != who:
            with pytest.raises(Held):
                self.queue.decide(f"r:{number}", truth, who, judge)
        else:
            self.queue.decide(f"r:{number}", truth, who, judge)
            self.truth[number] = truth
            self.closed[number] = DONE
            self.holder.pop(number, None)

    @rule(number=NUMBERS, truth=st.sampled_from(["good", "bad"]))
    def tell(self, number: int, truth: str) -> None:
        with self.ledger.transaction() as tx:
            keep(tx, Truth("r", number, truth), "m", Caller("guest"), judge)
        self.truth[number] = truth
        self.closed.setdefault(number, TOLD)
        self.holder.pop(number, None)

    @rule(number=NUMBERS, who=PEOPLE)
    def drop(self, number: int, who: str) -> None:
        if self.holder.get(number, who) != who or self.closed.get(number, DROPPED) != DROPPED:
            with pytest.raises(Held):
                self.queue.drop(f"r:{number}", who)
        else:
            self.queue.drop(f"r:{number}", who)
            self.closed[number] = DROPPED
            self.holder.pop(number, None)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "queue"):
            return
        expected = {OPEN: 0, TAKEN: len(self.holder)}
        expected |= {status: list(self.closed.values()).count(status) for status in (DONE, TOLD, DROPPED)}
        expected[OPEN] = 3 - sum(expected.values())
        assert self.queue.counts("m") == expected
        assert {one.position: one.truth for one in Outcomes(self.ledger).after("m")} == self.truth
        for number, status in self.closed.items():
            if status in (DONE, TOLD):
                assert self.queue.get(f"r:{number}").truth == self.truth[number], "the latest counts"

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
