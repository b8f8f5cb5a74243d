import numpy as np
import pytest

from luban.models.base import Member
from luban.models.graph_model import GraphModel
from luban.models.linear import Linear
from luban.models.trees import Trees
from luban.models.vote import Vote, temperature

from .made import BLOCKS, HEADS, VECTOR, alone, arrays, built, context, loss, run, target


def members(kind: str) -> tuple[Member, ...]:
    made = arrays(400)
    y = target(made, kind)
    linear = Linear().fit(made, y, context(kind, BLOCKS))
    trees = Trees(Trees.Config(max_rounds=50)).fit(made, y, context(kind, (VECTOR,)))
    stored = GraphModel(built(trees, HEADS[kind].width).SerializeToString())
    valid = context(kind).valid
    return tuple(Member(n, n, m.predict(valid), m) for n, m in (("linear", linear), ("trees", stored)))


@pytest.mark.parametrize("kind", list(HEADS))
def test_is_no_worse_than_its_best_member_and_the_same_exported(kind):
    all_members = members(kind)
    here = context(kind, members=all_members)
    vote = Vote().fit({}, here.y_valid, here)
    of = loss(HEADS[kind])
    scaled = [m.valid_outputs / temperature(m.valid_outputs, here.y_valid, HEADS[kind]) for m in all_members]
    assert of(vote.predict(here.valid), here.y_valid) <= min(of(z, here.y_valid) for z in scaled) + 1e-6
    assert vote.checkpoint()["weights"].sum() == pytest.approx(1)
    unseen = arrays(50, seed=4)
    graph = built(vote, HEADS[kind].width)
    assert np.abs(run(graph, unseen) - vote.predict(unseen)).max() <= 1e-4
    assert np.abs(run(graph, unseen)[:10] - alone(graph, unseen, 10)).max() <= 1e-6


def made_up(valid_outputs: np.ndarray, name: str) -> Member:
    return Member(name, "made-up", valid_outputs, members("binary")[0].model)


def test_two_that_err_apart_beat_each_alone_and_noise_is_left_out():
    here = context("binary")
    sign = 2 * here.y_valid[:, None] - 1
    rng = np.random.default_rng(0)
    one, two, noise = (rng.normal(size=sign.shape) * 2 for _ in range(3))
    pool = (made_up(sign + one, "one"), made_up(sign + two, "two"), made_up(noise, "noise"))
    vote = Vote().fit({}, here.y_valid, context("binary", members=pool))
    assert {member.name for member in vote.members} == {"one", "two"}


def test_a_model_that_nobody_helps_stays_alone():
    here = context("binary")
    sign = 2 * here.y_valid[:, None] - 1
    pool = (made_up(-sign, "wrong"), made_up(9 * sign, "right"))
    vote = Vote().fit({}, here.y_valid, context("binary", members=pool))
    assert vote.notes == "right alone"
    assert vote.weights.tolist() == [1.0]


def test_no_more_members_than_allowed():
    here = context("binary")
    sign = 2 * here.y_valid[:, None] - 1
    rng = np.random.default_rng(0)
    pool = tuple(made_up(sign + 2 * rng.normal(size=sign.shape), str(i)) for i in range(9))
    vote = Vote(Vote.Config(max_members=3)).fit({}, here.y_valid, context("binary", members=pool))
    assert len(vote.members) == 3


@pytest.mark.parametrize("kind", ["binary", "softmax"])
def test_temperature_finds_the_scale_that_was_lost(kind):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, HEADS[kind].width))
    if kind == "binary":
        y = (rng.random(4000) < 1 / (1 + np.exp(-z[:, 0]))).astype(np.float32)
    else:
        y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    found = temperature(5 * z, y, HEADS[kind])
    assert found == pytest.approx(5, rel=0.15)


def test_nearly_as_good_models_are_in_from_the_start_and_bad_ones_are_not():
    here = context("binary")
    sign = 2 * here.y_valid[:, None] - 1
    noise = np.random.default_rng(0).normal(size=sign.shape)
    good, twin, bad = 3 * sign + noise, 3.01 * sign + noise, noise
    pool = tuple(made_up(z, name) for z, name in ((good, "good"), (twin, "twin"), (bad, "bad")))
    vote = Vote(Vote.Config(rounds=1)).fit({}, here.y_valid, context("binary", members=pool))
    assert {member.name for member in vote.members} == {"good", "twin"}
