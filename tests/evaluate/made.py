"""A small project with something wrong in it: a city where labels are drawn, a subject column, gaps, two languages."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from luban import lifecycle
from luban.project import load_project
from luban.workshop import Workshop

PROJECT = """\
name: chats
owner: service-team
purpose: Find angry customers.
data:
  source: rows.csv
  columns: {message: text, city: category, price: number, day: time, shop: {role: meta, type: category}, who: category}
  subject: who
  target: angry
prepare: {steps: [], split: {valid: 0.25, test: 0.35}}
train: {models: [linear], num_threads: 1, refit: false}
"""
CITIES = ("北京", "上海", "广州")


def rows(count: int, seed: int = 1, noise: float = 0.05) -> list[dict[str, str]]:
    """Rows; of 广州 half of all labels are drawn at random."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        angry = rng.random() < 0.4
        city = rng.choice(CITIES)
        words = rng.choices(["broken", "退款", "never", "Late"] if angry else ["thanks", "很好", "quick", "Fine"], k=3)
        words += rng.choices(["order", "today", "包裹", "please"], k=rng.randrange(1, 6))
        label = rng.random() < 0.5 if city == "广州" and rng.random() < 0.7 else angry
        label = label if rng.random() > noise else not label
        found.append(
            {
                "message": f"{' '.join(words)}, call 138001380{number % 100:02d}!",
                "city": city,
                "price": "" if rng.random() < 0.1 else str(round(rng.uniform(1, 99), 2)),
                "day": f"2024-0{1 + number % 6}-{1 + number % 28:02d}",
                "shop": f"shop {number % 3}",
                "who": f"w{number % (count // 3)}",
                "angry": "yes" if label else "no",
            }
        )
    return found


def write(path: Path, found: list[dict[str, str]]) -> Path:
    """The rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return path


def make(folder: Path, *sets: str, count: int = 900) -> tuple[lifecycle.Trained, lifecycle.Evaluated]:
    """The project in `folder`, prepared, trained and evaluated."""
    if not (folder / "rows.csv").exists():
        write(folder / "rows.csv", rows(count))
        (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    project, where = load_project(folder, sets)
    with Workshop.open(project, where).working() as shop:
        dataset = lifecycle.prepare(shop)
        trained = lifecycle.compress(shop, dataset, lifecycle.train(shop, dataset))
        return trained, lifecycle.evaluate(shop, dataset, trained)
