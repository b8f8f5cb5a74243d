"""A first look: chats from a spreadsheet, tables with leaks, few rows, nothing to predict."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from luban.cli.main import app
from luban.data.sources import open_path
from luban.data.sources.base import RawBatch, Source
from luban.errors import ConfigError, MissingExtra
from luban.look import copies
from luban.look.columns import languages, script
from luban.look.look import Seen, look
from luban.look.words import PHRASES, SENTENCES
from luban.project import load_project
from luban.templates import from_template

SAID = ("房间很干净，前台热情", "空调坏了，麻烦派人来看看", "想问一下早餐几点开始", "请给我开发票", "可以延迟退房吗")
PLACES = ("三楼", "大堂", "餐厅", "停车场", "泳池", "健身房", "电梯", "前台", "走廊", "会议室")


def chats(path: Path, rows: int = 300) -> Path:
    """Chinese chats in a spreadsheet: a customer's telephone is a number there, as people have it."""
    draw = random.Random(5)
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["编号", "时间", "客户电话", "渠道", "内容"])
    for number in range(rows):
        words = "，".join(draw.sample(PLACES, 4))
        said = f"{draw.choice(SAID)}，在{words}，第{draw.randint(1, 9999)}次"
        if number % 10 == 0:
            said += f"，我的电话是138{draw.randint(10_000_000, 99_999_999)}"
        if number % 60 == 0:
            said += "，身份证11010519491231002X，卡号4111 1111 1111 1111"
        day = f"2024-03-{draw.randint(1, 28):02d} 10:{draw.randint(0, 59):02d}"
        sheet.append([number + 1, day, 13_900_000_000 + draw.randint(10_000_000, 99_999_999), draw.choice("ABC"), said])
    book.save(path)
    return path


def table(path: Path, columns: dict[str, Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def seen(path: Path, target: str | None = None) -> Seen:
    return look(open_path(str(path)), target)


def codes(found: Seen) -> set[tuple[str, str]]:
    return {(one.code, one.column) for one in found.findings}


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("language", ["en", "zh"])
def test_chats_without_a_target(tmp_path: Path, language: str) -> None:
    """The whole way: what is seen is said, no value is printed, and the project can be prepared."""
    data = chats(tmp_path / "chats.xlsx")
    said = run("init", str(tmp_path / "chat"), "--data", str(data), "--language", language)
    text = (tmp_path / "chat" / "luban.yaml").read_text("utf-8")
    parts = {
        "en": ("phone numbers (300)", "identity numbers", "bank cards", "could be: `渠道`"),
        "zh": ("电话号码（300 个）", "身份证号", "银行卡号", "可能是：`渠道`"),
    }
    for part in (*parts[language], "luban prepare"):
        assert part in said
    shown = said.replace(str(tmp_path), "") + text
    assert not re.search(r"13\d{9}|11010519491231002X|4111", shown), "a value is shown"
    project, _ = load_project(tmp_path / "chat")
    assert project.data.target is None
    assert project.language == language
    assert (project.data.columns["客户电话"].role, project.data.columns["编号"].role) == ("meta", "id")
    assert "# target: 渠道" in text
    assert "300 rows found" in run("prepare", "--project", str(tmp_path / "chat"))


def test_a_name_that_would_lose_letters_is_taken_from_the_folder(tmp_path: Path) -> None:
    path = table(tmp_path / "评价.csv", {"note": [f"the bed was soft {n}" for n in range(40)]})
    assert "The model is called `shop`" in run("init", str(tmp_path / "shop"), "--data", str(path))
    assert "\nname: shop\n" in (tmp_path / "shop" / "luban.yaml").read_text("utf-8")
    assert "The model is called `model`" in run("init", str(tmp_path / "店铺"), "--data", str(path))


def test_nothing_to_predict(tmp_path: Path) -> None:
    draw = random.Random(1)
    notes = [" ".join(draw.choices(["room", "bed", "late", "clean", "towel", "key"], k=8)) for _ in range(80)]
    path = table(tmp_path / "notes.csv", {"who": [f"guest {n} of {n * 7}" for n in range(80)], "note": notes})
    found = seen(path)
    assert (found.target, found.others) == (None, ())
    said = run("init", str(tmp_path / "p"), "--data", str(path))
    assert "No column looks like what is to be predicted." in said
    assert "add a column of labels" in said
    assert "\n  # target:\n" in (tmp_path / "p" / "luban.yaml").read_text("utf-8")


def test_targets_are_ranked_with_reasons(tmp_path: Path) -> None:
    rows = 100
    found = seen(
        table(
            tmp_path / "a.csv",
            {
                "是否流失": ["是", "否"] * 50,
                "price": [n * 1.37 for n in range(rows)],
                "city": [("Oslo", "Bonn", "Rome", "Lima")[n % 4] for n in range(rows)],
                "shop": [("a", "b", "c", "d", "e")[n % 5] for n in range(rows)],
            },
        )
    )
    assert found.target == "是否流失"
    assert {one.code for one in found.why} == {"target-named", "target-few"}
    assert [one.name for one in found.others] == ["shop", "price", "city"]


def test_a_column_that_is_only_last_is_not_taken(tmp_path: Path) -> None:
    draw = random.Random(2)
    values = [draw.gauss(0, 1) for _ in range(100)]
    assert seen(table(tmp_path / "a.csv", {"a": values, "b": [v * draw.random() for v in values]})).target is None


def test_what_tells_the_target_is_left_out(tmp_path: Path) -> None:
    draw = random.Random(3)
    labels = [draw.choice(["kept", "lost"]) for _ in range(400)]
    path = table(
        tmp_path / "a.csv",
        {
            "plan": [draw.choice("abc") for _ in labels],
            "refund": [f"{draw.uniform(10, 90):.2f}" if label == "lost" else "" for label in labels],
            "state": [{"kept": "open", "lost": draw.choice(["closed", "void"])}[label] for label in labels],
            "age": [draw.randint(18, 80) for _ in labels],
            "label": labels,
        },
    )
    found = seen(path)
    assert {name for code, name in codes(found) if code == "leak"} == {"refund", "state"}
    run("init", str(tmp_path / "p"), "--data", str(path))
    columns = load_project(tmp_path / "p")[0].data.columns
    assert {name: about.role for name, about in columns.items()} == {
        "plan": None, "refund": "meta", "state": "meta", "age": None, "label": None,
    }  # fmt: skip


def test_values_that_are_seen_once_tell_nothing(tmp_path: Path) -> None:
    labels = ["a", "b"] * 100
    found = seen(table(tmp_path / "a.csv", {"code": [f"c{n}x" for n in range(200)], "label": labels}))
    assert not [one for one in found.findings if one.code == "leak"]


def test_a_number_that_is_the_target_again(tmp_path: Path) -> None:
    draw = random.Random(4)
    price = [draw.uniform(1, 100) for _ in range(200)]
    columns = {"net": [p / 1.19 for p in price], "size": [p + draw.gauss(0, 20) for p in price], "price": price}
    found = seen(table(tmp_path / "a.csv", columns), "price")
    assert {name for code, name in codes(found) if code == "leak"} == {"net"}


def test_classes_and_rows(tmp_path: Path) -> None:
    labels = ["no"] * 95 + ["yes"] * 4 + [""]
    found = seen(table(tmp_path / "a.csv", {"n": range(100, 0, -1), "same": ["x"] * 100, "label": labels}))
    assert codes(found) >= {
        ("few-rows", "label"), ("few-of-a-class", "label"), ("imbalance", "label"), ("unlabelled", "label"),
        ("constant", "same"),
    }  # fmt: skip


def test_copies_and_conflicts(tmp_path: Path) -> None:
    draw = random.Random(6)
    words = [f"w{n}" for n in range(300)]
    texts = [" ".join(draw.choices(words, k=12)) for _ in range(200)]
    texts[100:140] = texts[:40]
    texts[140:180] = [f"{text} indeed" for text in texts[40:80]]
    labels = ["a" if n % 2 else "b" for n in range(200)]
    labels[120:140] = ["b" if label == "a" else "a" for label in labels[20:40]]
    found = {one.code: one for one in seen(table(tmp_path / "a.csv", {"text": texts, "label": labels})).findings}
    assert found["copies"].figures["count"] == 20
    assert found["conflicts"].figures["count"] == 40
    assert found["near-copies"].figures == {"share": 80 / 160, "rows": 160}


def test_near_copies_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object) -> None:
        raise MissingExtra("no rensa", "")

    monkeypatch.setattr("luban.prepare.near_duplicates.NearDuplicates.keys", missing)
    sample = pa.table({"text": ["a b c", "d e f"]})
    assert [one.code for one in copies.near(sample, ["text"])] == ["near-not-looked"]


def test_missing_and_empty_columns(tmp_path: Path) -> None:
    columns = {"a": ["", "1"] * 50, "b": [""] * 100, "c": [""] + ["2", "3", "4"] * 33, "y": ["u", "v"] * 50}
    assert codes(seen(table(tmp_path / "a.csv", columns))) >= {("missing", "a"), ("empty", "b")}


def test_columns_of_any_type(tmp_path: Path) -> None:
    """Typed files hold lists, records, bytes and nothing at all; none of them stops the look."""
    draw = random.Random(9)
    table = pa.table(
        {
            "tags": [["a", "b"] if n % 2 else [] for n in range(100)],
            "nothing": pa.nulls(100),
            "when": [datetime(2024, 1, 1 + n % 28) for n in range(100)],
            "record": [{"a": n} for n in range(100)],
            "bytes": pa.array([b"ab"] * 100),
            "kind": pa.array([draw.choice("xy") for _ in range(100)]).dictionary_encode(),
            "text": [" ".join(draw.choices("abcdefgh", k=30)) for _ in range(100)],
            "label": [n % 3 == 0 for n in range(100)],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = seen(tmp_path / "a.parquet")
    assert found.target == "label"
    assert codes(found) >= {("empty", "nothing"), ("constant", "bytes")}


def test_writings() -> None:
    assert [script(text) for text in ("好的，谢谢", "ありがとう、了解", "спасибо", "thanks 谢", "42")] == [
        "Chinese", "Japanese", "Cyrillic", "Latin", None,
    ]  # fmt: skip
    (found,) = languages("text", ["房间很干净"] * 8 + ["clean room"] * 2)
    assert found.figures["shares"] == "Chinese 80%, Latin 20%"
    assert not list(languages("text", ["房间很干净"] * 99 + ["ok"]))


class Endless(Source):
    """Rows without end."""

    batches = 0

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        while True:
            self.batches += 1
            yield RawBatch(pa.record_batch({"text": ["the same"] * 1000, "label": ["a", "b"] * 500}))

    def fingerprint(self) -> str:
        return ""


def test_only_the_beginning_is_read() -> None:
    source = Endless()
    found = look(source)
    assert source.batches <= 200
    assert not found.complete
    assert found.rows == source.batches * 1000


def test_both_languages_say_the_same() -> None:
    for words in (SENTENCES, PHRASES):
        assert words["en"].keys() == words["zh"].keys()
        for key, text in words["en"].items():
            assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", words["zh"][key])), key


def test_labels_are_counted_and_not_lists_of_them(tmp_path: Path) -> None:
    lists = ["late; cold", "late", "cold; rude", "", "rude; late; cold"]
    rows = "\n".join(f"text number {i} of many,{lists[i % 5]}" for i in range(300))
    (tmp_path / "rows.csv").write_text(f"text,topics\n{rows}\nodd one,late; odd\n", "utf-8")
    seen = look(open_path(str(tmp_path / "rows.csv")), "topics")
    assert {c.column.name: c.column.type for c in seen.conclusions}["topics"] == "tags"
    (found,) = [one for one in seen.findings if one.code == "few-of-a-class"]
    assert (found.figures["count"], found.figures["classes"]) == (1, 4)


def test_columns_of_lists_are_looked_at(tmp_path: Path) -> None:
    values = [["a"], ["a", "b"], ["b"], []] * 30
    table = pa.table({"tags": values, "n": list(range(120)), "y": ["u" if "a" in v else "w" for v in values]})
    pq.write_table(table, tmp_path / "rows.parquet")
    codes = {one.code for one in look(open_path(str(tmp_path / "rows.parquet")), "y").findings}
    assert "copies" not in codes
    assert "conflicts" not in codes
    assert look(open_path(str(tmp_path / "rows.parquet")), "tags").target == "tags"


def test_a_file_in_place_of_a_folder_is_said(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", {"x": ["1", "2"]})
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        from_template(path, "blank")
