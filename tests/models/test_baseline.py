import numpy as np
import pytest

from luban.models.baseline import Baseline, constant

from .made import BAG, BLOCKS, HEADS, INDEX, VECTOR, arrays, built, context, loss, run, target


@pytest.mark.parametrize("kind", list(HEADS))
@pytest.mark.parametrize("block", [BAG, INDEX, VECTOR])
def test_answers_the_constant_for_every_row(kind, block):
    made = arrays(60)
    y = target(made, kind)
    model = Baseline().fit(made, y, context(kind, (block,)))
    answers = run(built(model, HEADS[kind].width), made)
    assert (answers == constant(y, HEADS[kind])).all()
    assert (answers == model.predict(made)).all()


@pytest.mark.parametrize("kind", list(HEADS))
def test_no_other_constant_is_better(kind):
    y = target(arrays(500), kind)
    best = constant(y, HEADS[kind])
    of = loss(HEADS[kind])
    for step in (-0.1, 0.1):
        other = best + step * np.eye(len(best), dtype=np.float32)[0]
        assert of(np.tile(best, (500, 1)), y) < of(np.tile(other, (500, 1)), y)


def test_a_class_without_rows_stays_finite():
    assert np.isfinite(constant(np.zeros(10, np.float32), HEADS["binary"])).all()
    assert np.isfinite(constant(np.zeros(10, np.int64), HEADS["softmax"])).all()


def test_takes_any_kind():
    assert {want.kind for want in Baseline().wants(HEADS["binary"])} == {block.kind for block in BLOCKS}
