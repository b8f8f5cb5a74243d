import numpy as np
import pytest

from luban.errors import DataError
from luban.features.kinds import take
from luban.models.base import Refusal
from luban.models.linear import Linear
from luban.tasks.base import Head

from .made import BAG, BLOCKS, HEADS, INDEX, VECTOR, alone, arrays, built, context, loss_ratio, run, target

CASES = [("binary", "tfidf"), ("binary", "nb"), ("softmax", "tfidf"), ("softmax", "nb"), ("real", "tfidf")]


def family(**settings) -> Linear:
    return Linear(Linear.Config(**settings))


@pytest.mark.parametrize(("kind", "weighting"), CASES)
def test_learns_and_is_the_same_exported(kind, weighting):
    made = arrays(400)
    y = target(made, kind)
    model = family(weighting=weighting).fit(made, y, context(kind))
    unseen = arrays(100, seed=3)
    # one class against the rest cannot see the middle one of three in a row
    assert loss_ratio(model, kind, unseen, target(unseen, kind)) < (
        0.9 if (kind, weighting) == ("softmax", "nb") else 0.6
    )
    graph = built(model, HEADS[kind].width)
    answers = run(graph, unseen)
    assert answers.dtype == np.float32
    assert np.abs(answers - model.predict(unseen)).max() <= 1e-4
    assert np.abs(answers - run(graph, unseen, extra_padding=517)).max() <= 1e-6
    assert np.abs(answers[:20] - alone(graph, unseen, 20)).max() <= 1e-6


@pytest.mark.parametrize("blocks", [(BAG,), (INDEX,), (VECTOR,), (INDEX, VECTOR)])
@pytest.mark.parametrize("kind", list(HEADS))
def test_any_blocks_will_do(kind, blocks):
    made = arrays(150)
    model = family().fit(made, target(made, kind), context(kind, blocks))
    assert np.abs(run(built(model, HEADS[kind].width), made) - model.predict(made)).max() <= 1e-4


def test_the_same_twice():
    made = arrays(150)
    y = target(made, "binary")
    first, second = (built(family(weighting="nb").fit(made, y, context("binary")), 1) for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


@pytest.mark.parametrize("classes", [[0, 2], [0, 1, 3]])
@pytest.mark.parametrize("weighting", ["tfidf", "nb"])
def test_a_class_that_no_training_row_shows_stays_unlikely(classes, weighting):
    made = arrays(150)
    y = np.array(classes)[np.random.default_rng(0).integers(0, len(classes), 150)]
    model = family(weighting=weighting).fit(made, y, context("softmax", head=Head("softmax", 4)))
    outputs = model.predict(made)
    assert outputs.shape == (150, 4)
    assert set(outputs.argmax(axis=1)) <= set(classes)


def test_one_class_is_refused():
    made = arrays(50)
    with pytest.raises(DataError, match="at least two classes"):
        family().fit(made, np.zeros(50, np.float32), context("binary"))


def test_numbers_refuse_naive_bayes_weights():
    assert isinstance(family(weighting="nb").wants(HEADS["real"]), Refusal)


def test_several_outputs_are_learnt_apart():
    made = arrays(300)
    y = np.stack([target(made, "binary"), 1 - target(made, "binary")], axis=1)
    outputs = family().fit(made, y, context("binary", BLOCKS, head=Head("binary", 2))).predict(made)
    assert np.corrcoef(outputs.T)[0, 1] < -0.9


def test_arrays_are_left_as_they_were():
    made = arrays(100)
    before = {name: array.copy() for name, array in made.items()}
    family(weighting="nb").fit(made, target(made, "binary"), context("binary"))
    assert all((made[name] == before[name]).all() for name in before)
    assert take(made, np.arange(3))[VECTOR.part("value")].shape == (3, 3)


def test_variants_try_nothing_that_only_differs_on_a_kind_that_is_not_there():
    bags, table = frozenset({"bag", "vector"}), frozenset({"index", "vector"})
    assert any(v.get("weighting") == "nb" for v in Linear().variants(100, HEADS["binary"], bags))
    assert not any("weighting" in v for v in Linear().variants(100, HEADS["real"], bags))
    for kinds in (bags, table, frozenset({"index"})):
        for head in HEADS.values():
            variants = [Linear.Config.model_validate(v) for v in Linear().variants(100, head, kinds)]
            assert len(set(map(repr, variants))) == len(variants)
            if kinds != bags:
                assert {(v.weighting, v.bags) for v in variants} == {("tfidf", Linear.Config().bags)}
