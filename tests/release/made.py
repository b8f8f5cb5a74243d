"""A small project taken through the real line, for gates and reports to look at."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.data.dataset import Dataset
from luban.project import load_project
from luban.release.gates.base import Case
from luban.workshop import Workshop

PROJECT = """\
name: tickets
owner: service-team
purpose: Send angry messages to a person.
data:
  source: rows.csv
  columns: {message: text, sender: {role: subject}, sent: {role: time}}
  target: angry
prepare: {split: {by: subject, valid: 0.2, test: 0.3}}
train: {models: [linear]}
evaluate: {num_resamples: 200}
"""


def write_project(folder: Path, num_rows: int = 400) -> None:
    rng = random.Random(3)
    lines = ["message,sender,sent,angry"]
    for number in range(num_rows):
        angry = rng.random() < 0.5
        words = rng.choices(["broken", "refund", "never"] if angry else ["thanks", "fine", "quick"], k=3)
        words += rng.choices(["order", "parcel", "today", "please"], k=rng.randrange(1, 9))
        message = f"{' '.join(words)} {rng.randrange(10**6)}"
        lines.append(f"{message},s{number % 60},2024-{1 + number % 12:02d}-11,{'yes' if angry else 'no'}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")


def make_case(folder: Path) -> Case:
    """What gates look at, after prepare, train and evaluate in `folder`."""
    write_project(folder)
    project, where = load_project(folder)
    with Workshop.open(project, where).working() as shop:
        dataset = lifecycle.prepare(shop)
        trained = lifecycle.compress(shop, dataset, lifecycle.train(shop, dataset))
        evaluation = lifecycle.evaluate(shop, dataset, trained).report
    return Case(
        bundle=Bundle.load(trained.bundle),
        dataset=dataset,
        evaluation=evaluation,
        training=trained.report,
        project=project.model_dump(mode="json"),
        outputs=load_file(trained.folder / "outputs.safetensors")["model"],
        measured={"p50_ms": 0.5, "p95_ms": 2.0, "size_mb": 3.0, "calls": 400},
    )


def with_rows(case: Case, folder: Path, change) -> Case:
    """The case with a dataset whose table was changed by `change(table)`."""
    copied = folder / "dataset"
    shutil.copytree(case.dataset.folder, copied)
    copied.chmod(0o755)
    for path in copied.iterdir():
        path.chmod(0o644)
    table: pa.Table = change(pq.read_table(copied / "rows-00000.parquet"))
    pq.write_table(table, copied / "rows-00000.parquet")
    return replace(case, dataset=Dataset(copied))


def put(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    """The table with one value replaced."""
    values = table.column(column).to_pylist()
    values[row] = value
    position = table.schema.get_field_index(column)
    return table.set_column(position, column, pa.array(values, table.schema.field(column).type))
