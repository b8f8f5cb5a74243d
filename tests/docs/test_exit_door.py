"""The reader on the bundle's page, which knows nothing of Luban, gives Luban's answers on every kind of encoder."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from luban.bundle.bundle import Bundle

from .blocks import blocks

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "bundle.md"
PROJECT = """\
name: door
owner: ada
purpose: Test the exit door.
data: {source: rows.csv, target: kind}
prepare: {steps: [unicode, missing]}
train:
  models:
    - {kind: linear, scale: quantile, bags: [{analyzer: word, ngram_max: 2}, {ngram_min: 2, idf: false, norm: none}]}
    - {kind: linear, bags: [{binary: true, sublinear: false, lowercase: false}]}
    - {kind: trees, max_rounds: 10}
    - vote
  num_threads: 1
release: {gates: [parity]}
"""
WORDS = {"red": "warm day 天气很热 sun", "blue": "cold rain 下雨了 wind", "green": "grass  tree 草地 spring１"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vote over words, characters, ranks, categories and trees, of three classes."""
    folder = tmp_path_factory.mktemp("door")
    draw = random.Random(3)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "size", "place", "kind"])
        for number in range(150):
            kind = draw.choice(list(WORDS))
            text = " ".join(draw.choices([*WORDS[kind].split(), "And", "的", "é—!"], k=6)) + f" {number}"
            rows.writerow([text, draw.choice([number, "", number**2]), draw.choice(["Here", "There", ""]), kind])
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    luban = Path(sys.executable).with_name("luban")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    for command in (["run"], ["bundle", "export", "my-bundle"]):
        subprocess.run([luban, *command], cwd=folder, env=environment, check=True, timeout=300, capture_output=True)
    return folder / "my-bundle"


@pytest.fixture(scope="module")
def door() -> dict[str, Any]:
    """What the page's functions are: the blocks that define any, without those that open a bundle."""
    names: dict[str, Any] = {}
    for block in blocks(PAGE):
        if block.language == "python" and "def " in block.code:
            code = block.code.partition("\n\n\nprint(")[0]
            exec("import json\nimport numpy as np\nfrom safetensors.numpy import load_file\n" + code, names)
    return names


def test_it_answers_as_luban_does(bundle: Path, door: dict[str, Any]) -> None:
    import numpy as np
    import onnxruntime

    loaded = Bundle.load(bundle)
    task = loaded.manifest.task.model_dump(mode="json")
    assert {spec.array_kind for spec in loaded.manifest.encoders} == {"bag", "vector", "index"}
    session = onnxruntime.InferenceSession((bundle / "stages" / "model.onnx").read_bytes())
    rows: list[dict[str, Any]] = [
        *loaded.example_rows(),
        {"text": "天气很热 sun sun  Sun\tcold", "size": 70.0, "place": "Here"},
        {"text": "草地 é—! x\n\ny of 5½ 2²", "size": -3.5, "place": "Nowhere"},
        {"text": "?", "size": 1e9, "place": "There"},
        {"size": 12.0},
    ]
    for row in rows:
        outputs = session.run(["head"], door["arrays_of"](row, str(bundle)))[0]
        ours = door["decode"](outputs, task)[0]
        theirs = loaded.predict([row])
        columns = [f"probability_{name}" for name in task["decoding"]["classes"]]
        np.testing.assert_allclose(ours, [theirs.columns[name][0] for name in columns], atol=1e-5, err_msg=str(row))


def test_the_door_itself_is_short_and_needs_no_luban() -> None:
    first = next(block for block in blocks(PAGE) if block.language == "python" and "InferenceSession" in block.code)
    assert len(first.code.strip().splitlines()) <= 15
    for block in blocks(PAGE):
        if block.language == "python" and "def " in block.code:
            assert "luban" not in block.code.lower()
