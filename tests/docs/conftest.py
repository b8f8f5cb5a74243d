"""The guide's example: a small file of reviews, and a project of it that is finished."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = (
    "clean room, friendly staff", "lovely breakfast and kind people", "quiet and spotless, we will come again",
    "great view for a fair price", "the bed was soft and the shower hot",
)  # fmt: skip
BAD = (
    "dirty carpet and loud neighbours", "cold food and a rude waiter", "broken shower, nobody came",
    "overpriced and noisy", "the bed was hard and the room smelled",
)  # fmt: skip
STAYS = ("room {}", "floor {}, lift side", "stayed in room {} in May", "we had number {}", "booked room {} online")
PROJECT = """\
name: reviews
owner: ada
purpose: Tell unhappy guests from happy ones.
data:
  source: reviews.csv
  target: verdict
train:
  models: [linear]
  num_threads: 1
"""


def write_reviews(path: Path, num_rows: int = 240) -> None:
    """Rows of text, number, category and label; one label in twenty is wrong."""
    draw = random.Random(7)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["review", "nights", "city", "verdict"])
        for number in range(num_rows):
            good = number % 2 == 0
            about = draw.choice(GOOD if good else BAD)
            stay = draw.choice(STAYS).format(draw.randint(100, 9999))
            verdict = ("good", "bad")[good == (draw.random() < 0.05)]
            city = draw.choice(["Oslo", "Lyon", "Bonn"])
            rows.writerow([f"{about}. {stay}; ref {number}", draw.randint(1, 9), city, verdict])


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reviews.csv and nothing else."""
    folder = tmp_path_factory.mktemp("reviews")
    write_reviews(folder / "reviews.csv")
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of these reviews after `luban run`, and new.csv with rows that have no label yet."""
    folder = tmp_path_factory.mktemp("project")
    write_reviews(folder / "reviews.csv")
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    (folder / "new.csv").write_text(
        "id,review,nights,city\n"
        "1,quiet and spotless,2,Oslo\n"
        "2,broken shower and loud neighbours,1,Bonn\n"
        "3,great view,many,Lyon\n",
        "utf-8",
    )
    subprocess.run([Path(sys.executable).with_name("luban"), "run"], cwd=folder, check=True, timeout=300)
    return folder
