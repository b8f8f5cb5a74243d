"""Reasons come with the answer within the time that was stated, or the answer comes without."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from luban.bundle.bundle import Bundle
from luban.serve.fleet.origins import Wanted
from luban.serve.fleet.served import Served
from luban.serve.learning.learning_config import ReasonsConfig
from luban.serve.learning.reasons import Reasons, sentence

from ..kept import NUMBERS, TAGS, ask, released, server
from ..tiny import write_tiny

ROWS: list[dict[str, Any]] = [{"text": "很好，下次还来", "stars": 4}, {"text": "太差了"}, {"stars": "many"}]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny(folder)
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    # Time enough for the slowest machine: what is not in time is another test's.
    with server(released(tmp_path_factory.mktemp("state")), explain={"max_ms": 20_000, "max_rows": 3}) as client:
        yield client


def of(
    bundle: Any, rows: list[dict[str, Any]], options: Any = None, deadline: float = float("inf"), **config: Any
) -> Any:
    """What is added to the answers of rows."""
    served = Served(Wanted("x", "reviews", 1), bundle, datetime.now(UTC))
    answers = bundle.predict(rows, options).rows()
    reasons = Reasons(ReasonsConfig.model_validate({"max_ms": 20_000, **config}))

    async def run() -> Any:
        return await reasons.of(served, rows, answers, deadline)

    try:
        return asyncio.run(run())
    finally:
        reasons.close()


def test_reasons_come_with_the_answers(client: httpx.Client) -> None:
    plain = ask(client, ROWS)["answers"]
    told = ask(client, [*ROWS, {"txt": 1}, *ROWS], explain=True)["answers"]
    first = told[0]["reasons"]
    assert {name: value for name, value in told[0].items() if name != "reasons"} == plain[0]
    assert (first["explains"], first["unit"], first["method"]) == (plain[0]["label"], "log-odds", "shapley")
    assert first["base"] + sum(one["weight"] for one in first["parts"]) + first["rest"] == pytest.approx(
        first["output"]
    )
    assert {one["column"] for one in first["parts"]} <= {"text", "stars"}
    assert all(one["part"] in "很好，下次还来 4.0" for one in first["parts"])
    assert first["sentence"]
    assert told[1]["reasons"]["parts"]
    assert set(told[2]) == set(told[3]) == {"error"}
    assert told[4]["reasons"] is None
    assert told[4]["reasons_missing"] == "only the first 3 rows of a request are explained"
    assert "reasons" not in plain[0]


def test_the_other_protocol_explains_too(client: httpx.Client) -> None:
    response = client.post("/v1/models/reviews/predict", json={"rows": ROWS[:1], "explain": True})
    assert response.json()["answers"][0]["reasons"]["parts"]
    assert client.post("/v1/predict", json={"rows": [], "explain": True}).json()["answers"] == []
    assert client.post("/v1/predict", json={"rows": [], "explain": 1}).status_code == 422


def test_what_was_answered_is_what_is_explained(bundle: Bundle) -> None:
    options = [bundle.task.Options.model_validate({"threshold": one}) for one in (0, 1)]
    good, bad = (of(bundle, ROWS[:1], one)[0]["reasons"] for one in options)
    assert (good["explains"], bad["explains"]) == ("good", "bad")
    assert good["output"] == pytest.approx(-bad["output"])


def test_numbers_and_tags_are_explained_too(tmp_path: Path) -> None:
    write_tiny(tmp_path / "numbers", task=NUMBERS, target="number")
    numbers = Bundle.load(tmp_path / "numbers")
    (found,) = of(numbers, ROWS[:1])
    reasons = found["reasons"]
    assert (reasons["unit"], reasons["explains"]) == ("value", "label")
    assert reasons["output"] == pytest.approx(numbers.predict(ROWS[:1]).columns["value"][0])
    assert reasons["base"] + sum(one["weight"] for one in reasons["parts"]) + reasons["rest"] == pytest.approx(
        reasons["output"]
    )
    assert "because of" in reasons["sentence"]
    write_tiny(tmp_path / "tags", task=TAGS, target="tags")
    tags = Bundle.load(tmp_path / "tags")
    for threshold in (0.0, 1.0):  # with the tag, and without any
        (found,) = of(tags, ROWS[:1], tags.task.Options.model_validate({"threshold": threshold}))
        assert (found["reasons"]["unit"], found["reasons"]["explains"]) == ("log-odds", "dear")


def test_parts_that_weigh_little_are_summed(bundle: Bundle) -> None:
    (whole,), (few,) = (of(bundle, ROWS[:1], max_parts=number) for number in (100, 2))
    assert len(few["reasons"]["parts"]) == 2
    assert few["reasons"]["parts"] == whole["reasons"]["parts"][:2]
    assert whole["reasons"]["rest"] == 0
    weights = [abs(one["weight"]) for one in whole["reasons"]["parts"]]
    assert weights == sorted(weights, reverse=True)


def test_another_method_and_one_that_does_not_suit(bundle: Bundle) -> None:
    (found,) = of(bundle, ROWS[:1], method={"kind": "occlusion", "max_parts": 4})
    assert found["reasons"]["method"] == "occlusion"
    (found,) = of(bundle, ROWS[:1], method="integrated-gradients")
    assert found["reasons"] is None
    assert "does not suit this model" in found["reasons_missing"]
    (found,) = of(bundle, ROWS[:1], method="permutation")
    assert "does not attribute to parts" in found["reasons_missing"]
    with pytest.raises(ValidationError, match="shaply"):
        ReasonsConfig.model_validate({"method": "shaply"})


class Slow:
    """A bundle whose graph takes a while for each batch."""

    def __init__(self, bundle: Bundle, seconds: float) -> None:
        self._bundle = bundle
        self._seconds = seconds
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bundle, name)

    def run(self, arrays: Any) -> Any:
        self.asked += 1
        time.sleep(self._seconds)
        return self._bundle.run(arrays)


def test_when_the_time_is_over_the_answer_comes_without(bundle: Bundle) -> None:
    slow = Slow(bundle, 0.05)
    found = of(slow, ROWS[:1] * 5, max_ms=150)
    assert [one["reasons"] for one in found] == [None] * 5
    assert found[0]["reasons_missing"] == "finding them took longer than 150 ms"
    # It stopped asking, and does not go on for rows whose time is over: a few batches, not fifty.
    time.sleep(0.1)
    assert slow.asked < 12


def test_a_deadline_that_is_sooner_is_kept(bundle: Bundle) -> None:
    found = of(Slow(bundle, 0.05), ROWS[:1], deadline=time.monotonic() + 0.01)
    assert found[0]["reasons"] is None


def test_one_that_hangs_does_not_hold_up_the_answer(bundle: Bundle) -> None:
    class Hung(Slow):
        go_on = threading.Event()

        def run(self, arrays: Any) -> Any:
            self.asked += 1
            return self._bundle.run(arrays) if self.asked == 1 else self.go_on.wait(30)

    hung = Hung(bundle, 0)
    found = of(hung, ROWS[:1], max_ms=50)
    assert found[0]["reasons"] is None
    assert not hung.go_on.is_set()
    hung.go_on.set()


def test_too_many_at_once_are_answered_without(bundle: Bundle) -> None:
    served = Served(Wanted("x", "reviews", 1), Slow(bundle, 0.05), datetime.now(UTC))  # type: ignore[arg-type]
    answers = bundle.predict(ROWS[:1]).rows()
    reasons = Reasons(ReasonsConfig(max_waiting=2, max_ms=100))

    async def run() -> Any:
        return await asyncio.gather(*(reasons.of(served, ROWS[:1], answers, float("inf")) for _ in range(5)))

    found = asyncio.run(run())
    reasons.close()
    assert sum("too many" in one[0]["reasons_missing"] for one in found) == 3


def test_a_fault_costs_the_reasons_alone(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Slow):
        def run(self, arrays: Any) -> Any:
            raise RuntimeError("a secret of the inside")

    served = Served(Wanted("x", "reviews", 1), Broken(bundle, 0), datetime.now(UTC))  # type: ignore[arg-type]
    reasons = Reasons(ReasonsConfig(max_ms=20_000))

    async def run() -> Any:
        return await reasons.of(served, ROWS[:1], bundle.predict(ROWS[:1]).rows(), float("inf"))

    (found,) = asyncio.run(run())
    reasons.close()
    assert found["reasons"] is None
    assert "secret" not in found["reasons_missing"]
    assert "reasons failed" in caplog.text


def test_the_sentence_names_both_sides(bundle: Bundle) -> None:
    def share(name: str, value: float) -> Any:
        return SimpleNamespace(column="text", name=name, value=value)

    shares = (share("quiet", 2.0), share("quiet", 1.5), share("dirty", -1.0), share("the", 0.001))
    finding: Any = SimpleNamespace(shares=shares, explains="good", explains_class="good")
    assert sentence(finding, "en") == "For “good”: “quiet” (text). Against it: “dirty” (text)."
    assert sentence(finding, "zh") == "支持“good”：“quiet” (text)。反对：“dirty” (text)。"
    number: Any = SimpleNamespace(shares=shares[:1], explains="price", explains_class=None)
    assert sentence(number, "en") == "More because of “quiet” (text)."
    none: Any = SimpleNamespace(shares=(), explains="good", explains_class="good")
    assert sentence(none, "en") == "No part of this row speaks for or against it."


def test_records_hold_no_reasons(tmp_path: Path) -> None:
    from sqlalchemy import select

    from luban.store.tables import answers
    from waiting import until

    home = released(tmp_path)

    def texts() -> list[str]:
        with home.ledger.reading() as tx:
            return list(tx.execute(select(answers.c.answer)).scalars())

    with server(home, explain={"max_ms": 20_000}) as client:
        assert ask(client, ROWS[:1], explain=True)["answers"][0]["reasons"]
        (text,) = until(texts)
    assert "label" in text
    assert "reasons" not in text
