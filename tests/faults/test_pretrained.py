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


def test_used_kept_and_no_longer_trusted_once_its_files_changed(tmp_path: Path) -> None:
    tiny = made(tmp_path / "project")
    encoder = tiny_bert(tiny.folder / "encoder")
    first = tiny.done("train", "--json")
    assert [row["status"] for row in first.candidates().values()] == ["trained"] * 4
    assert not any(str(tmp_path) in str(row) for row in first.candidates().values())
    bundle = Bundle.load(next(path.parent for path in sorted((tiny.folder / ".luban").rglob("bundle/manifest.json"))))
    asked = [{"text": "great clean room"}, {"text": "!?"}, {"price": "3"}, {"text": "\u200b", "city": "Oslo"}]
    answers = bundle.predict(asked)
    assert answers.errors == [None] * 4
    assert answers.columns["probability_good"] == pytest.approx(
        [bundle.predict([row]).columns["probability_good"][0] for row in asked], abs=1e-6
    )
    assert tiny.done("train", "--json").kept()["train"], "nothing changed"
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    tiny.fails("train", says=["must be safetensors", "pytorch_model.bin"])


def test_a_hub_that_is_not_there_ends_training_before_it_begins(tmp_path: Path) -> None:
    tiny = made(tmp_path / "project", "acme/encoder")
    tiny.env |= {"HF_ENDPOINT": NOWHERE, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
    tiny.fails("train", says=["`acme/encoder` is no folder here", NOWHERE, "download it and name the folder"])
