"""Bad input through the real command: what cannot be used is refused in words, what can be used runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .project import HEADER, Answer, Tiny, rows, write_csv

ROWS = rows()
GOOD = ("\n".join(",".join(row) for row in [list(HEADER), *ROWS]) + "\n").encode()
DATA: dict[str, Any] = {
    "source": "rows.csv",
    "columns": {"text": "text", "price": "number", "city": "category", "label": "category"},
    "target": "label",
}

REFUSED: dict[str, tuple[bytes, dict[str, Any], list[str]]] = {
    "empty file": (b"", {}, ["rows.csv` is empty", "a header and rows"]),
    "header only": (b"text,price,city,label\n", {}, ["rows.csv` holds no rows", "at least one row"]),
    "garbage": (
        GOOD + b"caf\xff\xfe\xe9,1,Rome,good\n",
        {},
        [f"wrong at byte {len(GOOD) + 3}", "UTF-8", "GB18030", "set `encoding`"],
    ),
    "one class": (
        GOOD.replace(b",bad\n", b",good\n"),
        {},
        ["`label` must have at least two different values", "`good`", "Add rows of another class"],
    ),
    "target absent": (GOOD, {"data": {**DATA, "target": "lable"}}, ["no column `lable`", "Did you mean `label`?"]),
    "target all null": (
        GOOD.replace(b",bad\n", b",\n").replace(b",good\n", b",\n"),
        {},
        ["`label` has no value that can be read in any of 240 rows", "data.target"],
    ),
    "column unknown": (
        GOOD,
        {"data": {**DATA, "columns": {"txet": "text"}}},
        ["no column `txet`", "Did you mean `text`?", "Columns: text, price, city, label"],
    ),
    "names twice": (
        GOOD.replace(b"text,price,city", b"text,price,price"),
        {},
        ["Column names must be unique", "price", "column_names"],
    ),
    "wrong type": (
        GOOD,
        {"data": {**DATA, "columns": {"text": "number"}}},
        ["`text` must be a number", "240 of its 240 values", "{text: text}"],
    ),
    "too few rows": (b"text,price,city,label\nfine,1,Rome,good\npoor,2,Oslo,bad\n", {}, ["2 rows", "test", "rows"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    content, changes, says = REFUSED[case]
    tiny = Tiny.made(tmp_path / "project", **changes)
    (tiny.folder / "rows.csv").write_bytes(content)
    tiny.fails("run", says=["error: ", "   do: ", *says])
    assert tiny.versions() == []


def test_a_missing_file(tiny: Tiny) -> None:
    (tiny.folder / "rows.csv").rename(tiny.folder / "row.csv")
    tiny.fails("run", says=["There is no file `", "rows.csv", "Did you mean `row.csv`?"])


def test_an_unknown_key(tiny: Tiny) -> None:
    tiny.configure(prepare={"spilt": {"by": "random"}})
    tiny.fails("run", says=["luban.yaml, line", "`prepare.spilt`", "Did you mean `split`?"])


def released(tiny: Tiny) -> Answer:
    """The project runs to a released version; `--force`, because odd data need not beat the baseline."""
    answer = tiny.done("run", "--json", "--force", "odd data")
    assert answer.events[-1]["version"]["number"] == 1
    return answer


def asked(tiny: Tiny, *body: list[str]) -> list[dict[str, Any]]:
    """Answers for rows of a CSV file."""
    write_csv(tiny.folder / "in.csv", body)
    tiny.done("predict", "in.csv", "out.jsonl")
    return [json.loads(line) for line in (tiny.folder / "out.jsonl").read_text("utf-8").splitlines()]


def test_ragged_rows_are_set_aside(tiny: Tiny) -> None:
    ragged = b"only one field\na,1,Rome,good,more,and more\n"
    (tiny.folder / "rows.csv").write_bytes(GOOD + ragged)
    released(tiny)
    report = tiny.report()
    assert report["rows"] == {"found": 242, "kept": 240, "quarantined": {"source": 2}}
    tree = next(t for t in tiny.trees() if (tiny.store.fetch(t) / "quarantine.parquet").is_file())
    kept = pq.read_table(tiny.store.fetch(tree) / "quarantine.parquet").to_pylist()
    assert ["242" in kept[0]["where"], "243" in kept[1]["where"]] == [True, True]
    assert [row["rule"] for row in kept] == ["source", "source"]
    assert "only one field" in json.dumps(kept)


def test_a_class_with_one_row(tmp_path: Path) -> None:
    tiny = Tiny.made(tmp_path / "project", [*ROWS, ["a thing that nobody else said", "10", "Rome", "odd"]])
    released(tiny)
    counts = tiny.report()["class_counts_by_split"]
    assert counts["train"]["odd"] == 1
    (answer,) = asked(tiny, ROWS[0])
    assert 0 < answer["probability_odd"] < 0.5


@pytest.mark.parametrize("value", ["7", ""], ids=["constant", "all null"])
def test_a_column_that_says_nothing(value: str, tmp_path: Path) -> None:
    tiny = Tiny.made(tmp_path / "project", [[row[0], value, *row[2:]] for row in ROWS])
    released(tiny)
    (column,) = [c for c in tiny.report()["columns"] if c["name"] == "price"]
    assert column["role"] == "meta"
    assert column["why"] == ("has the same value in every row" if value else "has no value in any row")
    (answer,) = asked(tiny, ROWS[0])
    assert answer["label_predicted"] in ("good", "bad")


def test_texts_of_a_million_characters(tmp_path: Path) -> None:
    long = [["great " * 170_000, "7", "Rome", "good"], ["差" * 1_000_000, "7", "Rome", "bad"]]
    tiny = Tiny.made(tmp_path / "project", [*ROWS, *long])
    released(tiny)
    first, second, third = asked(tiny, ["awful " * 170_000, "7", "Rome", ""], ROWS[0], ["\n" * 1_000_000, "7", "", ""])
    assert [row["error"] for row in (first, second, third)] == [None] * 3
    assert 0 < first["confidence"] <= 1


def test_emoji(tmp_path: Path) -> None:
    body = [[f"{number} 🛏️ {'😀👩‍👩‍👧🇨🇳' if row[3] == 'good' else '😡💩'}", *row[1:]] for number, row in enumerate(ROWS)]
    tiny = Tiny.made(tmp_path / "project", body, data={**DATA, "columns": {"text": "text"}})
    released(tiny)
    good, bad, alone = asked(tiny, ["🛏️ 😀👩‍👩‍👧🇨🇳", "", "", ""], ["🛏️ 😡💩", "", "", ""], ["😀", "", "", ""])
    assert (good["label_predicted"], bad["label_predicted"]) == ("good", "bad")
    assert alone["label_predicted"] == "good"


def test_nan_and_infinity_in_text(tmp_path: Path) -> None:
    odd = ["NaN", "inf", "-Infinity", "1e999"]
    body = [[row[0], odd[n % 4] if n % 10 < 2 else row[1], *row[2:]] for n, row in enumerate(ROWS)]
    tiny = Tiny.made(tmp_path / "project", body)
    released(tiny)
    report = tiny.report()
    assert report["rows"]["kept"] + sum(report["rows"]["quarantined"].values()) == len(body)
    plain, nan, infinite, huge = asked(tiny, *([ROWS[0][0], value, "Rome", ""] for value in ("12", *odd[:2], odd[3])))
    assert (plain["error"], nan["error"]) == (None, None)
    assert infinite["error"] == "price: is not a finite number"
    assert huge["error"] == "price: is larger than a 64-bit number can be"
    assert infinite["label_predicted"] is None


def test_nan_and_infinity_in_parquet(tmp_path: Path) -> None:
    body = [[row[0], "12.5" if n % 4 else "nan", *row[2:]] for n, row in enumerate(ROWS)]
    tiny = Tiny.made(tmp_path / "project", [], data={**DATA, "source": "rows.parquet"})
    prices = [math.inf if n == 3 else float(row[1]) for n, row in enumerate(body)]
    columns = {
        "text": [r[0] for r in body],
        "price": prices,
        "city": [r[2] for r in body],
        "label": [r[3] for r in body],
    }
    pq.write_table(pa.table(columns), tiny.folder / "rows.parquet")
    released(tiny)
    report = tiny.report()
    assert sum(report["rows"]["quarantined"].values()) <= 1
    pq.write_table(pa.table(columns).slice(0, 4), tiny.folder / "in.parquet")
    tiny.done("predict", "in.parquet", "out.jsonl")
    errors = [json.loads(line)["error"] for line in (tiny.folder / "out.jsonl").read_text("utf-8").splitlines()]
    assert errors == [None, None, None, "price: is infinite"]
