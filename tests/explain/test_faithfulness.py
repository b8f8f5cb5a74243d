"""Explanations are measured: honest ones pass, blind ones and those of noise do not."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pytest

from luban.bundle.bundle import Bundle
from luban.catalog import EXPLAINERS
from luban.checks.explainers import made_rows
from luban.errors import BundleError
from luban.explain.attribution import Attribution
from luban.explain.base import Case, Explainer, Finding
from luban.explain.faithfulness import faithfulness
from luban.explain.players import runs
from luban.explain.question import Question
from luban.explain.random_model import graph_files, shuffled


class Blind(Explainer):
    """Says a number of each part that only its name decides."""

    kind = "blind"

    def explain(self, case: Case) -> Sequence[Finding]:
        found: list[Finding] = []
        for question in case.questions(self.kind):
            assert isinstance(question, Question)
            groups = runs(question, 99)
            drawn = [zlib.crc32(question.parts[i].name.encode()) % 97 for group in groups for i in group]
            found.append(Attribution.of(question, self.kind, groups, np.array(drawn, float), additive=False))
        return found


@pytest.fixture
def case(linear: Bundle) -> Case:
    return Case.of(linear, made_rows(24, ("text", "number", "category")))


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_honest_methods_pass(case: Case, method: str) -> None:
    found = faithfulness(EXPLAINERS.make(method), case)
    assert found.beats_chance
    assert found.deletion.num_rows == 24
    assert found.to_json()["random_model"]["num_rows"] > 0


def test_a_method_that_does_not_look_fails(case: Case) -> None:
    found = faithfulness(Blind(), case)
    assert found.random_model.value == pytest.approx(1.0)
    assert found.sees_the_model is False
    assert found.beats_chance is False


def test_rows_that_say_nothing_are_left_out(linear: Bundle) -> None:
    found = faithfulness(EXPLAINERS.make("occlusion"), Case.of(linear, [{"text": "late"}, {}]))
    assert found.deletion.num_rows == 0
    assert found.beats_chance is None
    assert found.sees_the_model is None


def test_shuffled_weights_are_other_weights(linear: Bundle, trees: Bundle) -> None:
    for bundle, columns in ((linear, ("text", "number", "category")), (trees, ("number", "other"))):
        rows = made_rows(30, columns)
        random = shuffled(bundle, 0)
        assert random is not None
        name = "probability_good"
        before, after = (np.array(one.predict(rows).columns[name]) for one in (bundle, random))
        assert np.abs(before - after).max() > 0.05
        again = shuffled(bundle, 0)
        assert again is not None
        assert again.predict(rows).columns[name] == after.tolist()
        assert bundle.predict(rows).columns[name] == before.tolist()


def test_a_file_that_was_changed_since_is_refused(trees: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: b"other")
    with pytest.raises(BundleError, match="changed after the bundle was loaded"):
        graph_files(trees)
