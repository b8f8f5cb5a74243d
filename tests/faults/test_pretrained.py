"""Pretrained encoders through the whole line: what is not there, what was changed, what holds nothing to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luban.bundle.bundle import Bundle
from luban.checks.tiny import tiny_bert

from .project import Tiny

NOWHERE = "http://127.0.0.1:9"
RECIPE = {"epochs": 1, "precision": "fp32"}


def models(model: str) -> list[Any]:
    """Both ways in which an encoder is used."""
    asked = {"model": model, "max_tokens": 12}
    return [
        {"kind": "linear", "converters": [{"kind": "encoder", **asked}]},
        {"kind": "neural", "tower": {"kind": "pretrained", **asked}, "recipe": {**RECIPE, "frozen_layers": 1}},
        "vote",
    ]


def made(folder: Path, model: str = "./encoder") -> Tiny:
    """A project that uses the encoder `model`."""
    train = {"models": models(model), "num_threads": 1, "time_budget_s": 600}
    return Tiny.made(folder, train=train)


def test_used_everywhere_and_trained_again_where_it_changed(tmp_path: Path) -> None:
    tiny = made(tmp_path / "project")
    tiny_bert(tiny.folder / "encoder")
    first = tiny.done("run", "--json")
    assert [row["status"] for row in first.candidates().values()] == ["trained"] * 4
    assert str(tmp_path) not in first.out.split('"event": "candidate"')[1]
    version = first.events[-1]["version"]
    bundle = Bundle.load(tiny.store.fetch(version["tree"]))
    asked = [{"text": "great clean room"}, {"text": "!?"}, {"price": "3"}, {"text": "\u200b", "city": "Oslo"}]
    answers = bundle.predict(asked)
    assert answers.errors == [None] * 4
    assert answers.columns["probability_good"] == pytest.approx(
        [bundle.predict([row]).columns["probability_good"][0] for row in asked], abs=1e-6
    )
    assert tiny.done("train", "--json").kept()["train"], "nothing changed"
    tiny_bert(tiny.folder / "encoder", seed=1)
    assert not tiny.done("train", "--json").kept()["train"], "the encoder holds other weights"


def test_a_hub_that_is_not_there_ends_training_before_it_begins(tmp_path: Path) -> None:
    tiny = made(tmp_path / "project", "acme/encoder")
    tiny.env |= {"HF_ENDPOINT": NOWHERE, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
    tiny.fails("train", says=["`acme/encoder` is no folder here", NOWHERE, "download it and name the folder"])


def test_weights_that_are_no_safetensors_end_training_with_the_reason(tmp_path: Path) -> None:
    tiny = made(tmp_path / "project")
    folder = tiny_bert(tiny.folder / "encoder")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    tiny.fails("train", says=["must be safetensors", "pytorch_model.bin"])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    made(tmp_path / "project").fails("train", says=["no such folder", "as seen from the project file"])
