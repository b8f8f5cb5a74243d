import numpy as np
import pytest

from luban.models.base import Member
from luban.models.stack import Stack, _loss
from luban.models.vote import temperature

from .made import HEADS, alone, arrays, built, context, loss, run
from .test_vote import made_up, members


@pytest.mark.parametrize("kind", list(HEADS))
def test_is_no_worse_than_its_best_member_and_the_same_exported(kind):
    all_members = members(kind)
    here = context(kind, members=all_members)
    stack = Stack(Stack.Config(penalty_rows=0.1)).fit({}, here.y_valid, here)
    of = loss(HEADS[kind])
    scaled = [m.valid_outputs / temperature(m.valid_outputs, here.y_valid, HEADS[kind]) for m in all_members]
    assert of(stack.predict(here.valid), here.y_valid) <= min(of(z, here.y_valid) for z in scaled) * 1.01
    unseen = arrays(50, seed=4)
    graph = built(stack, HEADS[kind].width)
    assert np.abs(run(graph, unseen) - stack.predict(unseen)).max() <= 1e-4
    assert np.abs(run(graph, unseen)[:10] - alone(graph, unseen, 10)).max() <= 1e-6


def pool(count: int = 3) -> tuple[Member, ...]:
    here = context("binary")
    sign = 2 * here.y_valid[:, None] - 1
    rng = np.random.default_rng(0)
    outputs = [sign + rng.normal(size=sign.shape) * 2 for _ in range(count - 1)] + [-4 * sign]
    return tuple(made_up(z, str(number)) for number, z in enumerate(outputs))


def test_a_member_that_is_wrong_is_left_out():
    here = context("binary", members=pool())
    stack = Stack(Stack.Config(penalty_rows=0.1)).fit({}, here.y_valid, here)
    assert {member.name for member in stack.members} == {"0", "1"}
    assert (stack.weights >= 0).all()


def test_a_member_may_be_held_against_another_if_asked():
    here = context("binary", members=pool())
    stack = Stack(Stack.Config(penalty_rows=0.1, negative=True)).fit({}, here.y_valid, here)
    assert stack.weights.min() < -0.1


def test_a_strong_penalty_gives_the_plain_mean():
    here = context("binary", members=pool(4)[:-1])
    stack = Stack(Stack.Config(penalty_rows=1e9)).fit({}, here.y_valid, here)
    assert stack.weights == pytest.approx(np.full((3, 1), 1 / 3), abs=1e-3)
    assert stack.bias == pytest.approx(0, abs=1e-3)


def test_no_more_members_than_allowed():
    here = context("binary", members=pool(9))
    assert len(Stack(Stack.Config(max_members=3)).fit({}, here.y_valid, here).members) <= 3


def test_what_was_decided_is_followed():
    here = context("binary", members=pool())
    told = {}
    first = Stack().fit(
        {}, here.y_valid, context("binary", members=pool(), decide=lambda k, make: told.setdefault(k, make()))
    )
    bare = context("binary", members=pool(), decide=lambda key, make: told[key], y_valid=here.y_valid[:0])
    again = Stack().fit({}, here.y_valid[:0], bare)
    assert np.array_equal(first.factors, again.factors)
    assert again.notes == first.notes


def test_each_class_has_weights_of_its_own():
    here = context("softmax")
    truth = np.eye(3)[here.y_valid]
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(2, *truth.shape))
    one, two = 3 * truth + noise[0], 3 * truth + noise[1]
    one[:, 0], two[:, 1] = 3 * noise[0][:, 0], 3 * noise[1][:, 1]
    model = members("softmax")[0].model
    both = tuple(Member(name, "made-up", z, model) for name, z in (("one", one), ("two", two)))
    stack = Stack(Stack.Config(penalty_rows=1)).fit({}, here.y_valid, context("softmax", members=both))
    weight = {m.name: w for m, w in zip(stack.members, stack.weights, strict=True)}
    assert weight["one"][0] < weight["two"][0]
    assert weight["one"][1] > weight["two"][1]


@pytest.mark.parametrize("kind", list(HEADS))
def test_slopes_are_those_of_the_loss(kind):
    rng = np.random.default_rng(0)
    head = HEADS[kind]
    z = rng.normal(size=(7, head.width))
    y = rng.integers(0, max(head.width, 2), 7).astype(np.int64 if kind == "softmax" else np.float32)
    slope = _loss(z, y, head)[1]
    for row, column in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[row, column] = 1e-5
        found = (_loss(z + step, y, head)[0] - _loss(z - step, y, head)[0]) / 2e-5
        assert slope[row, column] == pytest.approx(found, abs=1e-6)
