"""The words of reports: each catalog entry that a report names has them, and the Chinese ones are Chinese."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from luban.catalog import FEATURES, GATES, STEPS, TASKS
from luban.cli.demo import WORDS as DEMO
from luban.compress.trial import _REASONS as COMPRESSED
from luban.data.schema import Role
from luban.deploy.watch.words import WORDS as WATCH
from luban.evaluate.metrics import METRICS
from luban.evaluate.perturb import PERTURBATIONS
from luban.evaluate.wording import GATE_TITLES, METRIC_NAMES, TEXT
from luban.explain.wording import WORDS as EXPLAIN
from luban.look.words import PHRASES
from luban.prepare.config import SplitConfig

HAN = re.compile("[\u4e00-\u9fff]")
BLANK = re.compile(r"\{\w+\}")
SAME = re.compile(r"[\W\d_]*|F1|R²|q")
TABLES = {"reports": TEXT, "explanations": EXPLAIN, "init": PHRASES, "alerts": WATCH, "demo": DEMO}


@pytest.mark.parametrize("table", TABLES)
def test_every_text_is_there_in_chinese_with_the_same_blanks(table: str) -> None:
    english, chinese = TABLES[table]["en"], TABLES[table]["zh"]  # type: ignore[index]
    assert english.keys() == chinese.keys()
    for key, said in chinese.items():
        assert set(BLANK.findall(said)) == set(BLANK.findall(english[key])), key
        bare = BLANK.sub("", said)
        assert HAN.search(bare) or SAME.fullmatch(bare), f"{key}: {said}"


def test_what_catalogs_name_has_words() -> None:
    splits = [name for name in get_args(SplitConfig.model_fields["by"].annotation) if name != "auto"]
    named = {
        "task": TASKS.own(),
        "type": FEATURES.own(),
        "role": get_args(Role),
        "by": splits,
        "perturbed": [one.name for one in PERTURBATIONS],
        "compressed": COMPRESSED,
    }
    for language, words in TEXT.items():
        missing = [f"{group}_{name}" for group, names in named.items() for name in names]
        assert not [key for key in missing if key not in words], language
        for step in STEPS.own():
            assert f"step_{step}" in words or f"rule_{step}" in words, step


def test_metrics_and_gates_are_named_in_both() -> None:
    for language in ("en", "zh"):
        assert set(METRICS) <= set(METRIC_NAMES[language])
    for name in GATES.own():
        assert GATES.resolve(name).code in GATE_TITLES["zh"]
