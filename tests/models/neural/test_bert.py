import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from luban.catalog import need
from luban.checks.tiny import WORDS, tiny_bert
from luban.errors import ConfigError
from luban.features.kinds import Block, pad
from luban.features.pretrained import PretrainedFiles
from luban.features.tokens import Tokens
from luban.models.neural import bert
from luban.models.neural.towers.pretrained import Pretrained

TEXTS = ["good not bad", "a b c d e f g h", "bad", "好吃"]
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def load(folder: Path, max_tokens: int = 16, size: int = len(WORDS)):
    block = Block("text/tokens/00", "tokens", "text", size)
    return bert.load(PretrainedFiles(name=str(folder)), block, max_tokens, "mean", 0.0)


def changed(folder: Path, change) -> Path:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("kind", sorted(bert.LAYOUTS))
def test_gives_what_transformers_gives(tmp_path, kind):
    folder = tiny_bert(tmp_path / kind, kind)
    tower = Pretrained(Pretrained.Config.model_validate({"model": str(folder), "max_tokens": 16, "dropout": 0}))
    tokens = Tokens.fit(TEXTS, tower.want().config, 0, None)
    block = tokens.block("text")
    batch = {name: torch.from_numpy(array) for name, array in pad(tokens.encode(TEXTS).named(block)).items()}
    net = tower.build(block).eval()
    original = need("transformers", "neural").AutoModel.from_pretrained(folder).eval()
    ids, mask = batch[block.part("ids")], batch[block.part("mask")]
    with torch.no_grad():
        hidden = original(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        weights = mask.unsqueeze(2).float()
        expected = (hidden * weights).sum(1) / weights.sum(1)
        assert torch.allclose(net(batch), expected, atol=1e-5)


def test_pickled_weights_are_refused(folder):
    (folder / WEIGHTS).unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"must be safetensors.*pytorch_model\.bin.*can run code"):
        load(folder)


def test_no_weights_at_all(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(ConfigError, match="there are none"):
        load(folder)


def test_no_settings(folder):
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"no `config\.json`"):
        load(folder)


def test_weights_of_another_shape_are_named(folder):
    other = load_file(tiny_bert(folder.parent / "wide", intermediate_size=48) / WEIGHTS)
    changed(folder, lambda weights: weights.update(other))
    with pytest.raises(ConfigError, match=r"intermediate\.dense\.bias is 48, not 32; .*; and \d+ more"):
        load(folder)


def test_weights_that_are_missing_are_named(folder):
    changed(folder, lambda weights: weights.pop("encoder.layer.1.output.dense.weight"))
    with pytest.raises(ConfigError, match=r"encoder\.layer\.1\.output\.dense\.weight is missing"):
        load(folder)


def test_weights_of_more_layers_are_named(folder):
    changed(folder, lambda w: w.update({"encoder.layer.2.output.dense.bias": torch.zeros(16)}))
    with pytest.raises(ConfigError, match=r"encoder\.layer\.2\.output\.dense\.bias is one too many"):
        load(folder)


def test_heads_and_poolers_are_left_behind(folder):
    def change(weights):
        for name in [name for name in weights if name.startswith("pooler")]:
            del weights[name]
        weights["classifier.weight"] = torch.zeros(7, 16)

    plain = load(folder).state_dict()
    found = load(changed(folder, change)).state_dict()
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def test_half_a_file(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match="cannot be read"):
        load(folder)


def test_more_tokens_than_positions(folder):
    with pytest.raises(ConfigError, match="`max_tokens` must be at most 40"):
        load(folder, max_tokens=41)


def test_a_tokenizer_of_another_model(folder):
    with pytest.raises(ConfigError, match="its weights know 22 tokens"):
        load(folder, size=99)


def test_a_type_that_is_no_such_encoder(folder):
    need("transformers", "neural").GPT2Config().save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"must be a BERT-style encoder.*`gpt2`"):
        load(folder)


def test_embeddings_narrower_than_layers(tmp_path):
    with pytest.raises(ConfigError, match="as wide as its layers"):
        load(tiny_bert(tmp_path, "electra", embedding_size=8))


def test_an_unknown_activation(tmp_path):
    with pytest.raises(ConfigError, match=r"The activation of .* is `silu`"):
        load(tiny_bert(tmp_path, hidden_act="silu"))


def test_what_answers_otherwise_is_refused(folder, monkeypatch):
    monkeypatch.setattr(bert, "_activation", lambda files, config: "relu")
    with pytest.raises(ConfigError, match="built otherwise than a plain `bert`: its answers differ by"):
        load(folder)


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_other_activations_are_exported_too(tmp_path, activation):
    from luban.bundle.graph import GraphBuilder
    from luban.models.graph_model import GraphModel

    net = load(tiny_bert(tmp_path, hidden_act=activation)).eval()
    graph = GraphBuilder()
    model = graph.build(graph.node("Cast", [net.export(graph)], to=1), 16)
    made = {"ids": np.array([5, 6, 7]), "mask": np.ones(3, bool), "offsets": np.array([0, 1, 3])}
    arrays = {f"text/tokens/00.{name}": part for name, part in (made | {"present": np.ones(2, bool)}).items()}
    with torch.no_grad():
        expected = net({name: torch.from_numpy(part) for name, part in pad(arrays).items()})
    found = GraphModel(model.SerializeToString()).predict(arrays)
    assert np.abs(found - expected.numpy()).max() <= 1e-5
