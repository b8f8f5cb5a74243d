"""The line of verbs on a small mixed table: text, a number, a category and a time in one row."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.errors import LeaseHeld, ReleaseError
from luban.project import load_project
from luban.workshop import Watch, Workshop

PROJECT = """\
name: orders
owner: shop-team
purpose: Tell orders that come back from those that stay.
data:
  source: rows.csv
  columns: {{comment: text, price: number, city: category, day: time, {other}: {{role: meta}}}}
  target: {target}
prepare: {{split: {{valid: 0.2, test: 0.25}}}}
train: {{models: {models}, num_threads: 1}}
"""


def write_rows(folder: Path, rows: int = 300) -> None:
    rng = random.Random(1)
    lines = ["comment,price,city,day,back,weight"]
    for _ in range(rows):
        bad = rng.random() < 0.5
        words = " ".join(rng.choices(["broken", "late", "cold"] if bad else ["fresh", "quick", "good"], k=4))
        filler = rng.choice("甲乙丙丁戊己庚辛") + str(rng.randrange(10**6))
        price = f'"{rng.randrange(1, 9)},{rng.randrange(100, 999)} 元"'
        city = rng.choice(["北京", "上海", "广州"])
        weight = round((3 if bad else 1) + rng.random() / 4, 3)
        lines.append(
            f"{words} {filler},{price},{city},2024-0{rng.randrange(1, 9)}-11,{'yes' if bad else 'no'},{weight}"
        )
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")


def shop(folder: Path, sets: list[str] | None = None, watch: Watch | None = None) -> Workshop:
    project, where = load_project(folder, sets or ())
    return Workshop.open(project, where, watch)


def run(folder: Path, *sets: str, watch: Watch | None = None) -> lifecycle.Outcome:
    with shop(folder, list(sets), watch).working() as working:
        return lifecycle.run(working)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orders")
    write_rows(folder)
    (folder / "luban.yaml").write_text(PROJECT.format(target="back", other="weight", models="[linear, vote]"), "utf-8")
    run(folder)
    return folder


class Heard(Watch):
    def __init__(self) -> None:
        self.verbs: list[tuple[str, bool]] = []
        self.rows: list[dict[str, Any]] = []

    def verb(self, name: str, kept: bool) -> None:
        self.verbs.append((name, kept))

    def candidate(self, row: dict[str, Any]) -> None:
        self.rows.append(row)


def test_released_and_right(orders: Path) -> None:
    opened = shop(orders)
    version = opened.registry.resolve("orders", "champion")
    bundle = Bundle.load(opened.home.store.fetch(version.tree))
    answers = bundle.predict(
        [
            {"comment": "broken late cold", "price": "1,200 元", "city": "北京", "day": "2024-05-11"},
            {"comment": "fresh quick good", "price": 1200, "city": "上海", "day": "2024/5/11"},
            {"comment": "fresh", "price": "expensive"},
            {},
        ]
    ).rows()
    assert [answer.get("label") for answer in answers] == ["yes", "no", None, None]
    assert answers[2]["error"].startswith("price: ")
    assert bundle.manifest.identity == version.identity
    assert {column for column, _ in bundle.encoders} == {"comment", "price", "city", "day"}


def test_second_run_keeps_everything(orders: Path) -> None:
    heard = Heard()
    outcome = run(orders, watch=heard)
    assert heard.verbs[:4] == [(verb, True) for verb in ("prepare", "train", "compress", "evaluate")]
    assert heard.rows == []
    assert outcome.version.number == 1


def test_another_seed_is_a_challenger(orders: Path) -> None:
    before = shop(orders).registry.resolve("orders", "champion")
    second = run(orders, "seed=3").version
    assert second.number > before.number
    registry = shop(orders).registry
    actor = shop(orders).actor
    assert registry.resolve("orders", "champion").number == before.number
    assert "challenger" in second.aliases
    registry.promote("orders", second.number, actor)
    assert registry.resolve("orders", "champion").number == second.number
    registry.rollback("orders", actor)
    assert registry.resolve("orders", "champion").number == before.number
    assert registry.diff("orders", before.number, second.number)
    shop(orders).home.ledger.verify_audit()
    verbs = [entry["verb"] for entry in registry.history("orders")]
    assert {"release", "promote", "rollback"} <= set(verbs)


def test_same_identity_in_another_folder(orders: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes((orders / "rows.csv").read_bytes())
    (tmp_path / "luban.yaml").write_bytes((orders / "luban.yaml").read_bytes())
    first = shop(orders).registry.resolve("orders", "1")
    assert run(tmp_path).version.identity == first.identity


def test_regression_with_intervals(orders: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes((orders / "rows.csv").read_bytes())
    text = PROJECT.format(target="weight", other="back", models="[linear, trees, vote]")
    (tmp_path / "luban.yaml").write_text(text, "utf-8")
    outcome = run(tmp_path)
    bundle = Bundle.load(outcome.trained.bundle)
    answer = bundle.predict(
        [{"comment": "broken late cold", "price": 2000, "city": "北京", "day": "2024-05-11"}]
    ).rows()
    assert 2.5 < answer[0]["value"] < 3.7
    assert answer[0]["low"] < answer[0]["value"] < answer[0]["high"]
    assert outcome.evaluation["metrics"]["r2"]["value"] > 0.8


def test_failed_gate_stops_and_force_is_audited(orders: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes((orders / "rows.csv").read_bytes())
    text = PROJECT.format(target="back", other="weight", models="[linear]").replace("owner: shop-team\n", "")
    (tmp_path / "luban.yaml").write_text(text, "utf-8")
    with pytest.raises(ReleaseError, match="G006"):
        run(tmp_path)
    assert shop(tmp_path).registry.versions("orders") == []
    with shop(tmp_path).working() as working:
        version = lifecycle.run(working, force="trial on a test bench").version
    assert version.forced_reason == "trial on a test bench"
    entries = shop(tmp_path).registry.history("orders")
    assert any("trial on a test bench" in str(entry) for entry in entries)


def test_decisions_are_replayed(orders: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes((orders / "rows.csv").read_bytes())
    (tmp_path / "luban.yaml").write_text(
        PROJECT.format(target="back", other="weight", models="[linear, trees, vote]"), "utf-8"
    )
    decisions = {"train": {"start:trees": "another run had no time for it"}}
    heard = Heard()
    with shop(tmp_path, watch=heard).working(decisions=decisions) as working:
        lifecycle.run(working)
    skipped = [row for row in heard.rows if row["status"] == "skipped"]
    assert [(row["name"], row["reason"]) for row in skipped] == [("trees", "another run had no time for it")]


def test_one_run_at_a_time(orders: Path) -> None:
    with shop(orders).working(), pytest.raises(LeaseHeld), shop(orders).working():
        pass


def test_file_batch_and_rows_agree(orders: Path) -> None:
    import pyarrow as pa

    opened = shop(orders)
    bundle = Bundle.load(opened.home.store.fetch(opened.registry.resolve("orders", "1").tree))
    rows = [
        {
            "comment": f"late {i} ｆｕｌｌ",
            "price": f"{i},100 元",
            "city": "上海" if i % 2 else None,
            "day": "2024-03-01",
        }
        for i in range(1, 9)
    ] * 40
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in rows[0]})
    alone = [bundle.predict([row]).rows()[0] for row in rows[:8]]
    for together in (bundle.predict(rows).rows(), bundle.predict(table).rows()):
        for one, other in zip(alone * 40, together, strict=True):
            assert one["label"] == other["label"]
            assert np.isclose(one["confidence"], other["confidence"], atol=1e-6)


def test_datasets_are_noted(orders: Path) -> None:
    from sqlalchemy import select

    from luban.store.tables import datasets

    home = shop(orders).home
    with home.ledger.reading() as tx:
        rows = tx.execute(select(datasets)).all()
    assert rows
    assert all(home.store.has_tree(row.tree) and row.rows > 200 for row in rows)
