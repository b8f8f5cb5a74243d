"""Training on from the weights of a former run: its `checkpoint.safetensors` into a new network.

Decided here: embeddings are taken over entry by entry, by what an entry stands for, since a vocabulary that was
fitted on other rows is numbered otherwise; new entries begin at random. A head of another width begins anew. Any
other difference is refused by name. A checkpoint holds hashes of its vocabularies, not their strings. Knows no
column type and no loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from luban.errors import ConfigError
from luban.features.kinds import Block
from luban.features.pretrained import PretrainedFiles
from luban.models.neural.nets.base import array
from luban.models.neural.nets.fused import FusedNet

CHECKPOINT = "checkpoint.safetensors"
_ENTRIES, _BLOCK, _EMBEDDING = "entries:", "block:", ".embedding.weight"
_FIRST = 2
"""Entry of the first string of a vocabulary; those below are missing and unknown."""
_SHOWN = 3


def stated(module: FusedNet) -> dict[str, np.ndarray]:
    """Parameters by name; for each net hashes [V] uint64 of its vocabulary, or the name of its block."""
    found = {name: array(tensor).copy() for name, tensor in module.state_dict().items()}
    for key, net in module.nets.items():
        if net.block.entries is None:
            found[f"{_BLOCK}{key}"] = np.frombuffer(_fingerprint(net.block).encode(), np.uint8)
        else:
            found[f"{_ENTRIES}{key}"] = _hashes(net.block.entries)
    return found


def start(module: FusedNet, files: PretrainedFiles) -> list[str]:
    """Give `module` the weights of a former run; sentences on what could not be taken over. Raises ConfigError."""
    kept = _read(files.folder / CHECKPOINT, files.name)
    notes: list[str] = []
    state = module.state_dict()
    weights = {name: value for name, value in kept.items() if not name.startswith((_ENTRIES, _BLOCK))}
    _embeddings(module, kept, weights, state, files.name, notes)
    if "head.weight" in weights and weights["head.weight"].shape != tuple(state["head.weight"].shape):
        notes.append(
            f"the head begins anew: it had {len(weights['head.weight'])} outputs, and has {len(state['head.weight'])}"
        )
        weights |= {name: array(state[name]) for name in ("head.weight", "head.bias")}
    wrong = [
        *(f"{name} is missing" for name in state if name not in weights),
        *(f"{name} is one too many" for name in weights if name not in state),
        *(
            f"{name} is {_size(value.shape)}, not {_size(state[name].shape)}"
            for name, value in weights.items()
            if name in state and value.shape != tuple(state[name].shape)
        ),
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ConfigError(
            f"The weights in `{files.name}` do not fit this network: {'; '.join(wrong[:_SHOWN])}{more}.",
            "Use the settings and columns of the run that they come from, or leave `start_from` out.",
        )
    module.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()})
    return notes


def _read(path: Path, name: str) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ConfigError(
            f"`start_from` must be a folder that holds `{CHECKPOINT}`, but `{name}` has none.",
            "Name the folder of a former training.",
        )
    try:
        found: dict[str, np.ndarray] = load_file(path)
    except SafetensorError as error:
        raise ConfigError(f"`{CHECKPOINT}` of `{name}` cannot be read: {error}.", "Get the file again.") from error
    return found


def _embeddings(
    module: FusedNet,
    kept: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    state: dict[str, torch.Tensor],
    name: str,
    notes: list[str],
) -> None:
    """Bring embeddings into the order of the new vocabularies, in `weights`."""
    for key, net in module.nets.items():
        table = f"nets.{key}{_EMBEDDING}"
        if table not in state or table not in weights:
            continue
        if net.block.entries is None:
            was = bytes(kept.get(f"{_BLOCK}{key}", np.zeros(0, np.uint8))).decode()
            if was != _fingerprint(net.block):
                raise ConfigError(
                    f"The weights in `{name}` read `{net.block.column}` by another tokenizer or vocabulary."
                )
            continue
        old, new = kept.get(f"{_ENTRIES}{key}", np.zeros(0, np.uint64)), _hashes(net.block.entries)
        if weights[table].shape[1:] != tuple(state[table].shape[1:]) or len(old) + _FIRST > len(weights[table]):
            continue  # said below, as a size that does not fit
        order = np.argsort(old)
        at = order[np.minimum(np.searchsorted(old[order], new), max(len(old) - 1, 0))] if len(old) else np.zeros(0, int)
        known = old[at] == new if len(old) else np.zeros(len(new), bool)
        moved = array(state[table]).copy()
        moved[:_FIRST] = weights[table][:_FIRST]
        moved[_FIRST:][known] = weights[table][_FIRST:][at[known]] if len(old) else moved[_FIRST:][known]
        weights[table] = moved
        if not known.all():
            notes.append(f"{int((~known).sum()):,} of {len(new):,} entries of `{net.block.column}` are new")


def _fingerprint(block: Block) -> str:
    return block.name.rpartition("/")[2]


def _hashes(entries: Sequence[str]) -> np.ndarray:
    digests = b"".join(
        hashlib.blake2b(entry.encode("utf-8", "surrogatepass"), digest_size=8).digest() for entry in entries
    )
    return np.frombuffer(digests, np.uint64)


def _size(shape: Sequence[int]) -> str:
    return "×".join(str(size) for size in shape)
