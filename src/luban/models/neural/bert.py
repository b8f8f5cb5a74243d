"""Weights of BERT-style encoders, read through `transformers` into our own module.

Decided here: `transformers` reads settings and weights (safetensors alone, no code of the model's own), and
our module, which is the same for all of them and can be exported node by node, takes the weights over. It is
then asked beside the original on made-up rows: an encoder that is built otherwise than its name says is
refused with the difference, and cannot answer falsely. Weights of another shape, too few or too many are
refused by name; heads and poolers are left behind. Knows no column type and no hub.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from luban.catalog import need
from luban.errors import ConfigError
from luban.features.kinds import Block
from luban.features.pretrained import PretrainedFiles
from luban.models.neural.nets.transformer import Shape, TransformerNet

LAYOUTS: dict[str, str] = {
    "bert": "bert",
    "roberta": "bert",
    "xlm-roberta": "bert",
    "camembert": "bert",
    "electra": "bert",
    "distilbert": "distilbert",
}
"""How the weights of each type of model (`model_type` in config.json) are named."""
_NAMES: dict[str, dict[str, str]] = {
    "bert": {
        "layer": "encoder.layer.",
        "norm": "embeddings.LayerNorm",
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    },
    "distilbert": {
        "layer": "transformer.layer.",
        "norm": "embeddings.LayerNorm",
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "out": "attention.out_lin",
        "norm1": "sa_layer_norm",
        "up": "ffn.lin1",
        "down": "ffn.lin2",
        "norm2": "output_layer_norm",
    },
}
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
_BODY = ("embeddings.", "encoder.", "transformer.", "layer.")
_ALIKE = 1e-3
"""Largest difference from the original's answers, which are of size 1, that float32 explains."""
_SHOWN = 3


def load(
    files: PretrainedFiles, block: Block, max_tokens: int, pool: Literal["mean", "first"], dropout: float
) -> TransformerNet:
    """The encoder in `files` as a net over `block`. Raises ConfigError with the reason where it cannot be used."""
    original = _original(files)
    config = original.config
    layout = _NAMES[LAYOUTS[config.model_type]]
    state: dict[str, Tensor] = original.state_dict()
    offset = _offset(original)
    places = state["embeddings.position_embeddings.weight"][offset:]
    types = state.get("embeddings.token_type_embeddings.weight")
    if types is not None:  # a text is all of the first type
        places = places + types[0]
    entries, dims = state["embeddings.word_embeddings.weight"].shape
    if dims != config.hidden_size or dims % config.num_attention_heads:
        raise ConfigError(
            f"`{files.name}` must have embeddings as wide as its layers ({config.hidden_size}), but they have {dims}.",
            "Use another encoder; this variant is not supported.",
        )
    if max_tokens > len(places):
        raise ConfigError(
            f"`max_tokens` must be at most {len(places)}, the positions of `{files.name}`, but got {max_tokens}."
        )
    if block.size > entries:
        raise ConfigError(
            f"The tokenizer of `{files.name}` numbers up to {block.size - 1}, but its weights know {entries} tokens.",
            "The folder mixes two models: get it again.",
        )
    shape = Shape(
        dims=dims,
        heads=config.num_attention_heads,
        layers=config.num_hidden_layers,
        feed=state[f"{layout['layer']}0.{layout['up']}.weight"].shape[0],
        positions=len(places),
        norm_first=False,
        activation=_activation(files, config),
        epsilon=float(getattr(config, "layer_norm_eps", 1e-12)),
        pool=pool,
    )
    net = TransformerNet(block, shape, dropout, entries)
    net.load_state_dict(_renamed(state, layout, places, shape.layers))
    _check_alike(files, original, net)
    return net


def _original(files: PretrainedFiles) -> Any:
    """The model as `transformers` reads it."""
    folder = files.folder
    kinds = {path.suffix for path in folder.iterdir()}
    if not (folder / "config.json").is_file():
        raise ConfigError(f"`{files.name}` must hold a pretrained model, but there is no `config.json` in it.")
    if ".safetensors" not in kinds:
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        found = (
            f"only pickled ones ({', '.join(pickled)}), which can run code when they are read" if pickled else "none"
        )
        raise ConfigError(
            f"The weights of `{files.name}` must be safetensors, but there are {found}.",
            "Get the model as safetensors, or write it again with `save_pretrained` where you trust it.",
        )
    transformers = need("transformers", "neural")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"`config.json` of `{files.name}` cannot be read: {str(error).splitlines()[0]}") from error
    if config.model_type not in LAYOUTS:
        raise ConfigError(
            f"`{files.name}` must be a BERT-style encoder ({', '.join(LAYOUTS)}), but it is `{config.model_type}`."
        )
    return _weights(files, config, transformers)


def _weights(files: PretrainedFiles, config: Any, transformers: Any) -> Any:
    quiet(transformers)
    try:
        model, about = transformers.AutoModel.from_pretrained(
            files.folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are told, and refused below
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, need("safetensors", "neural").SafetensorError) as error:
        raise ConfigError(
            f"The weights of `{files.name}` cannot be read: {str(error).splitlines()[0]}", "Get the files again."
        ) from error
    prefix = f"{model.base_model_prefix}."
    unlike = [f"{name} is {_size(a)}, not {_size(b)}" for name, a, b in sorted(about["mismatched_keys"])]
    missing = [f"{name} is missing" for name in sorted(about["missing_keys"]) if "pooler" not in name]
    extra = [
        f"{name} is one too many"
        for name in sorted(about["unexpected_keys"])
        if name.removeprefix(prefix).startswith(_BODY) and not name.endswith("position_ids")
    ]
    wrong = [*unlike, *missing, *extra]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ConfigError(
            f"The weights of `{files.name}` are not those of its `config.json`: {'; '.join(wrong[:_SHOWN])}{more}.",
            "The folder mixes two models, or was not written whole: get it again.",
        )
    return model.eval()


def quiet(transformers: Any) -> None:
    """No bars and no warnings of its own: what matters is told by errors."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _size(shape: Any) -> str:
    return "×".join(str(size) for size in shape)


def _offset(original: Any) -> int:
    """Position of the first token: some encoders count from behind the number of padding."""
    padding = getattr(original.embeddings, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def _activation(files: PretrainedFiles, config: Any) -> Any:
    name = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    if name not in _ACTIVATIONS:
        raise ConfigError(
            f"The activation of `{files.name}` must be one of {', '.join(_ACTIVATIONS)}, but is `{name}`."
        )
    return _ACTIVATIONS[name]


def _renamed(state: dict[str, Tensor], layout: dict[str, str], places: Tensor, layers: int) -> dict[str, Tensor]:
    found = {"embedding.weight": state["embeddings.word_embeddings.weight"], "places": places}
    for end in ("weight", "bias"):
        found[f"norm.{end}"] = state[f"{layout['norm']}.{end}"]
        for name in ("query", "key", "value", "out", "norm1", "up", "down", "norm2"):
            for i in range(layers):
                found[f"stack.{i}.{name}.{end}"] = state[f"{layout['layer']}{i}.{layout[name]}.{end}"]
    return found


def _check_alike(files: PretrainedFiles, original: Any, net: TransformerNet) -> None:
    """Both give the same for rows of unlike length, but for what float32 rounds."""
    length = min(12, net.shape.positions)
    padding = getattr(original.config, "pad_token_id", None) or 0
    ids = torch.arange(2 * length).reshape(2, length) * 7 % net.embedding.num_embeddings
    ids[ids == padding] = (padding + 1) % net.embedding.num_embeddings
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, length // 2 :] = False
    ids[~mask] = padding
    net.eval()
    with torch.no_grad():
        expected = original(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        found = net.below({net.block.part("ids"): ids, net.block.part("mask"): mask}, net.shape.layers + 1)
    net.train()
    difference = float((found - expected)[mask].abs().max())
    if not difference <= _ALIKE:
        raise ConfigError(
            f"`{files.name}` is built otherwise than a plain `{original.config.model_type}`: "
            f"its answers differ by {difference:.2g}.",
            "Use another encoder; this variant is not supported.",
        )
