import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.bundle.graph import GraphBuilder
from luban.catalog import TOWERS
from luban.errors import ConfigError
from luban.features.kinds import take
from luban.models.baseline import constant
from luban.models.graph_model import GraphModel
from luban.models.neural.family import Neural
from luban.models.neural.recipe import Recipe

from .. import made as tables
from .made import BLOCKS, HEADS, TOKENS, arrays, context, family, fit, untrained

SMALL = {
    "conv": {"kind": "conv", "dims": 16, "filters": 8},
    "transformer": {"kind": "transformer", "dims": 16, "heads": 2, "feed": 16},
    "sinusoidal": {"kind": "transformer", "dims": 16, "heads": 2, "positions": "sinusoidal", "pool": "first"},
}


def graph_of(model) -> bytes:
    graph = GraphBuilder()
    head = model.export(graph)
    return graph.build(head, model.module.head.out_features).SerializeToString(deterministic=True)


@pytest.mark.parametrize("kind", list(HEADS))
@pytest.mark.parametrize("tower", list(SMALL))
def test_learns_and_is_the_same_exported(tower, kind):
    made = context(kind)
    model = fit(
        family(SMALL[tower], epochs=15, recipe={"learning_rate": 0.01, "batch_rows": 32}), kind, made, arrays(300)
    )
    constant_loss = made.loss(np.tile(constant(made.y_valid, made.head), (60, 1)), made.y_valid)
    found = model.predict(made.valid)
    assert made.loss(found, made.y_valid) < 0.9 * constant_loss
    exported = GraphModel(graph_of(model)).predict(made.valid)
    assert np.abs(exported - found).max() <= 1e-4


def test_bags_are_read_where_a_column_gives_nothing_else():
    blocks = (tables.BAG, tables.VECTOR)
    model = fit(family(epochs=1), "binary", context("binary", blocks))
    assert np.abs(GraphModel(graph_of(model)).predict(arrays(30)) - model.predict(arrays(30))).max() <= 1e-4


@given(rows=st.lists(st.integers(0, 59), min_size=1, max_size=8), padding=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_a_row_is_answered_alike_in_any_batch(rows, padding):
    model, whole = FITTED["transformer"], FITTED["valid"]
    some = take(whole, np.array(rows))
    padded = tables.run(onnx_of(model), some, extra_padding=padding)
    alone = np.concatenate([tables.run(onnx_of(model), take(whole, np.array([row]))) for row in rows])
    assert (np.abs(padded - alone) / np.maximum(1, np.abs(alone))).max() <= 1e-6


class _Once(dict):
    def __missing__(self, name):
        made = context("binary")
        self["valid"] = made.valid
        self["transformer"] = fit(family(SMALL["transformer"], epochs=1), "binary", made)
        return self[name]


FITTED = _Once()


def onnx_of(model):
    if "onnx" not in FITTED:
        graph = GraphBuilder()
        FITTED["onnx"] = graph.build(model.export(graph), 1)
    return FITTED["onnx"]


def test_a_graph_that_went_through_a_file_is_merged_to_the_same_bytes():
    data = graph_of(FITTED["transformer"])
    again = GraphBuilder()
    assert again.build(GraphModel(data).export(again), 1).SerializeToString(deterministic=True) == data


def test_columns_that_are_all_missing_are_answered():
    made = arrays(40)
    for name in list(made):
        block, _, part = name.rpartition(".")
        if f"{block}.offsets" in made:
            made[name] = np.zeros_like(made[name]) if part in ("offsets", "present") else made[name][:0]
    y = (np.arange(40) % 2).astype(np.float32)
    for tower in SMALL.values():
        model = family(tower, epochs=1).fit(made, y, context("binary", (TOKENS,), valid=made, y_valid=y))
        assert np.isfinite(model.predict(made)).all()


def test_without_validation_rows_it_follows_what_was_decided():
    made = context("softmax")
    first = fit(family(SMALL["conv"], epochs=4), "softmax", made)
    nobody = take(made.valid, np.zeros(0, np.int64))
    again = context("softmax", valid=nobody, y_valid=made.y_valid[:0], decide=made.decide)
    second = fit(family(SMALL["conv"], epochs=4), "softmax", again)
    assert second.predict(made.valid).shape == first.predict(made.valid).shape


def test_threads_and_generator_are_as_before():
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    fit(family(SMALL["conv"], epochs=1), "binary", context("binary"))
    assert torch.get_num_threads() == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_seed_is_another_model():
    models = [fit(family(SMALL["conv"], epochs=1), "binary", context("binary", seed=seed)) for seed in (0, 0, 1)]
    graphs = [graph_of(model) for model in models]
    assert graphs[0] == graphs[1] != graphs[2]


def test_losses_are_weighted():
    found = []

    def look(learner):
        learner.module.eval()
        found.append(learner.losses(np.arange(6), Recipe()).detach().numpy())

    weights = np.linspace(0, 2, 120)
    for given_weights in (None, weights):
        fit(
            family(SMALL["conv"]), "softmax", context("softmax", weights=given_weights, loop=untrained("softmax", look))
        )
    assert np.allclose(found[0] * weights[:6], found[1], atol=1e-6)


def test_smoothing_is_that_of_pytorch():
    from luban.models.neural.rows import row_losses

    logits, y = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = torch.nn.functional.cross_entropy(logits, y, label_smoothing=0.2)
    assert torch.allclose(row_losses(logits, y, HEADS["softmax"], 0.2).mean(), expected)
    two = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], torch.full((6,), 0.9))
    assert torch.allclose(row_losses(logits[:, :1], torch.ones(6), HEADS["binary"], 0.2).mean(), two)


def test_embeddings_and_numbers_can_be_perturbed():
    asked = []

    def look(learner):
        learner.losses(np.arange(5), Recipe(), lambda name, x: asked.append((name, tuple(x.shape))) or x)

    fit(family(SMALL["transformer"]), "binary", context("binary", loop=untrained("binary", look)))
    assert {name for name, _ in asked} == {block.name for block in BLOCKS}


def test_layers_that_never_learn_are_computed_once_and_give_the_same():
    found = {}

    def look(learner):
        learner.module.eval()
        rows = np.array([3, 0, 9, 11])
        before = learner.losses(rows, Recipe()), learner.validate()
        learner.freeze(2)
        learner.module.nets["text/tokens"].embedding.weight.data.zero_()  # no longer looked at
        after = learner.losses(rows, Recipe()), learner.validate()
        found["losses"], found["valid"] = (before[0], after[0]), (before[1], after[1])
        found["learning"] = [name for name, p in learner.module.named_parameters() if p.requires_grad]
        with pytest.raises(ConfigError, match="`frozen_layers` must be below"):
            learner.freeze(99)

    fit(family(SMALL["transformer"]), "binary", context("binary", loop=untrained("binary", look)))
    assert torch.allclose(*found["losses"], atol=1e-6)
    assert abs(found["valid"][0] - found["valid"][1]) < 1e-6
    assert any(name.startswith("nets.text/tokens.stack.1") for name in found["learning"])
    assert not any(name.startswith(("nets.text/tokens.stack.0", "nets.text/tokens.emb")) for name in found["learning"])


def test_frozen_layers_train_and_export():
    model = fit(family(SMALL["transformer"], recipe={"frozen_layers": 2}), "binary", context("binary"))
    assert np.abs(GraphModel(graph_of(model)).predict(arrays(30)) - model.predict(arrays(30))).max() <= 1e-4


def test_a_recipe_is_as_suits_the_tower_but_for_what_is_said():
    made = Neural.Config.model_validate({"tower": "bag", "recipe": {"epochs": 2}})
    assert made.recipe.epochs == 2
    assert made.recipe.learning_rate == TOWERS.resolve("bag").recipe["learning_rate"]
    assert Neural.Config.model_validate(made.model_dump(mode="json")) == made
    assert Neural.Config().recipe != made.recipe


def test_dims_must_be_a_multiple_of_heads():
    with pytest.raises(ValueError, match="multiple of `heads`"):
        Neural.Config.model_validate({"tower": {"kind": "transformer", "dims": 10, "heads": 4}})


def test_where_settings_are_stored_files_are_by_hash_alone(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.json").write_text("{}")
    made = Neural.Config.model_validate({"tower": {"kind": "pretrained", "model": "m"}}).at(tmp_path)
    assert str(tmp_path) not in str(made.identity())
    assert set(made.identity()["tower"]["model"]) == {"sha256"}
