"""A training run at one instant, as safetensors bytes, and back: what a killed run goes on from.

    weights/<name>     parameters that learn, and buffers
    best/<name>        the same of the best evaluation so far
    mean/<name>        averaged weights
    optimizer/<name>/<key>
    random/torch, random/numpy, random/cuda
    facts              everything else, as JSON

Decided here: what never learns is left out, for it is as the learner made it; the bytes belong to one
recipe, seed and set of rows (`of`) and are refused by any other. Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn


@dataclass
class Facts:
    """Where a training run is, beside its tensors.

    `pieces` lists from which step batches were cut into how many; `halved` the steps from which the
    step size was halved; `stale` counts evaluations that were no better; `seconds` is time spent so far.
    """

    step: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_loss: float | None = None
    stale: int = 0
    averaged: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    ended: bool = False
    evaluated: int = -1
    halved: list[int] = field(default_factory=list)
    pieces: list[list[int]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class State:
    """All that a training run changes as it goes: live objects, not copies."""

    weights: dict[str, Tensor]
    learning: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    mean: dict[str, Tensor]
    best: dict[str, Tensor]
    facts: Facts


def pack(state: State, of: str) -> bytes:
    """The state as bytes."""
    tensors: dict[str, Tensor] = {}
    for group, named in (("weights", state.weights), ("best", state.best), ("mean", state.mean)):
        tensors |= {f"{group}/{name}": tensor.detach().contiguous() for name, tensor in named.items()}
    for name, parameter in state.learning.items():
        for key, value in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{name}/{key}"] = value.contiguous()
    tensors |= {f"random/{name}": value for name, value in generators().items()}
    text = json.dumps({"of": of, "facts": asdict(state.facts)})
    tensors["facts"] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    return bytes(save(tensors))


def unpack(data: bytes, state: State, of: str) -> str | None:
    """Put what `pack` wrote into the state and the generators; or the reason why not, and nothing is changed."""
    try:
        tensors = load(data)
        said = json.loads(bytes(tensors["facts"].tolist()))
        facts = Facts(**said["facts"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        return f"it is damaged ({error})"
    if said["of"] != of:
        return "it is of other rows or settings"
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "best": {}, "mean": {}, "optimizer": {}, "random": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        if rest:
            groups[group][rest] = tensor
    with torch.no_grad():
        for name, tensor in state.weights.items():
            tensor.copy_(groups["weights"][name])
    for name, tensor in groups["optimizer"].items():
        of_parameter, _, key = name.rpartition("/")
        parameter = state.learning[of_parameter]
        state.optimizer.state[parameter][key] = tensor.to(parameter.device)
    for name in groups["mean"]:
        state.mean[name] = groups["mean"][name].to(state.learning[name].device)
    state.best.update(groups["best"])
    vars(state.facts).update(vars(facts))
    restore(groups["random"])
    return None


def generators() -> dict[str, Tensor]:
    """States of the global generators: PyTorch's, and NumPy's (a Mersenne twister, as numbers)."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    numbers = np.empty(len(keys) + 3, np.float64)
    numbers[:-3], numbers[-3:] = keys, (position, has_gauss, gauss)
    found = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(numbers)}
    return found | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def restore(found: Mapping[str, Tensor]) -> None:
    """Put the generators into states that `generators` gave."""
    torch.set_rng_state(found["torch"])
    numbers = found["numpy"].numpy()
    keys, (position, has_gauss, gauss) = numbers[:-3].astype(np.uint32), numbers[-3:]
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), float(gauss)))
    if "cuda" in found:
        torch.cuda.set_rng_state(found["cuda"])
