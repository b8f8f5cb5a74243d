"""Training and validation rows as a network reads them, and the losses of its outputs.

Decided here: rows stay ragged and are padded batch by batch; what frozen layers give is computed once a row
and kept, as long as it is below `MOST_KEPT_BYTES`. Knows no loop and no column type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from luban.errors import ConfigError
from luban.features.calls import chunks
from luban.features.kinds import PARTS, Arrays, Block, num_rows, pad, take
from luban.models.base import FitContext
from luban.models.neural.learner import Learner, Perturb
from luban.models.neural.nets.base import Batch, Listed
from luban.models.neural.nets.fused import FusedNet
from luban.models.neural.nets.transformer import HIDDEN
from luban.models.neural.recipe import Recipe
from luban.tasks.base import Head

MOST_KEPT_BYTES = 2 << 30


class Rows:
    """Bulk arrays of some rows. `hidden` are flat outputs [N, D] of frozen layers, by block name."""

    def __init__(self, arrays: Arrays, blocks: Sequence[Block]) -> None:
        wanted = {block.part(part) for block in blocks for part in (*PARTS[block.kind], "offsets", "present")}
        self.arrays = {name: array for name, array in arrays.items() if name in wanted}
        self.count = num_rows(self.arrays)
        self.hidden: dict[str, np.ndarray] = {}

    def lengths(self) -> np.ndarray:
        """Entries [B] of each row's longest list."""
        longest = np.zeros(self.count, np.int64)
        for name, array in self.arrays.items():
            if name.endswith(".offsets"):
                longest = np.maximum(longest, np.diff(array))
        return longest

    def batch(self, rows: np.ndarray, device: torch.device) -> Batch:
        """Padded tensors of these rows (positions [b] int64)."""
        padded = pad(take(self.arrays, rows))
        for name, flat in self.hidden.items():
            offsets = self.arrays[f"{name}.offsets"]
            width = padded[f"{name}.ids"].shape[1]
            padded[f"{name}.{HIDDEN}"] = _padded(flat, offsets, rows, width)
        return {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in padded.items()}


def _padded(flat: np.ndarray, offsets: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
    out = np.zeros((len(rows), width, flat.shape[1]), np.float32)
    for place, (start, stop) in enumerate(zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True)):
        out[place, : stop - start] = flat[start:stop]
    return out


def outputs(module: FusedNet, rows: Rows) -> np.ndarray:
    """Outputs [B, n] float32 of all rows, in batches of rows of like length; in evaluation mode."""
    device = next(module.parameters()).device
    found = np.zeros((rows.count, module.head.out_features), np.float32)
    was = module.training
    module.eval()
    try:
        for some in chunks(rows.arrays):
            with torch.no_grad():
                found[some] = module(rows.batch(some, device)).float().cpu().numpy()
    finally:
        module.train(was)
    return found


def row_losses(logits: Tensor, y: Tensor, head: Head, smoothing: float) -> Tensor:
    """Loss [b] of each row: cross-entropy, or squared error."""
    if head.kind == "softmax":
        return cross_entropy(logits, y, reduction="none", label_smoothing=smoothing)
    y_bn = y.reshape(len(y), -1).to(logits.dtype)
    if head.kind == "binary":
        soft = y_bn * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits, soft, reduction="none").mean(dim=1)
    return ((logits - y_bn) ** 2).mean(dim=1)


class NetLearner(Learner):
    """A network with its rows."""

    def __init__(self, module: FusedNet, arrays: Arrays, y: np.ndarray, context: FitContext) -> None:
        self.module = module
        self.head = context.head
        self.rows = Rows(arrays, context.blocks)
        self.num_rows = self.rows.count
        self.lengths = self.rows.lengths()
        self.notes: list[str] = []
        self._device = next(module.parameters()).device
        self._y = torch.from_numpy(np.ascontiguousarray(y)).to(self._device)
        weights = context.weights
        self._weights = None if weights is None else torch.from_numpy(weights.astype(np.float32)).to(self._device)
        self._valid = Rows(context.valid, context.blocks) if len(context.y_valid) else None
        self._loss: Callable[[np.ndarray], float] = lambda found: context.loss(found, context.y_valid)

    def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> Tensor:
        """Loss of each of these rows [b], weighted."""
        logits = self.module(self.rows.batch(rows, self._device), perturb).float()
        there = torch.from_numpy(rows).to(self._device)
        found = row_losses(logits, self._y[there], self.head, recipe.label_smoothing)
        return found if self._weights is None else found * self._weights[there]

    def validate(self) -> float:
        """The task's loss on validation rows; NaN where there are none."""
        if self._valid is None:
            return float("nan")
        return self._loss(outputs(self.module, self._valid).astype(np.float64))

    def layers(self) -> Sequence[Sequence[str]]:
        """From the input to the head."""
        found: list[list[str]] = self.module.layers()
        return found

    def freeze(self, count: int) -> None:
        """The first layers never learn, and lists are read through them once."""
        layers = self.module.layers()
        if not 0 <= count < len(layers):
            raise ConfigError(
                f"`frozen_layers` must be below {len(layers)}, the layers of this network, but got {count}.",
                "Freeze fewer: the head always learns.",
            )
        frozen = {name for layer in layers[:count] for name in layer}
        for name, parameter in self.module.named_parameters():
            if name in frozen:
                parameter.requires_grad_(False)
        for key, net in self.module.nets.items():
            whole = [all(f"nets.{key}.{name}" in frozen for name in layer) for layer in net.layers()]
            depth = whole.index(False) if False in whole else len(whole)
            if isinstance(net, Listed) and depth:
                self._keep_below(net, depth)

    def _keep_below(self, net: Listed, depth: int) -> None:
        every = [rows for rows in (self.rows, self._valid) if rows is not None]
        entries = sum(int(rows.arrays[net.block.part("offsets")][-1]) for rows in every)
        if entries * net.width * 4 > MOST_KEPT_BYTES:
            size = entries * net.width * 4 / 2**30
            self.notes.append(f"frozen layers are computed anew each epoch: kept, they would take {size:.1f} GiB")
            return
        for rows in every:
            rows.hidden[net.block.name] = self._below(net, depth, rows)
        net.frozen = depth

    def _below(self, net: Listed, depth: int, rows: Rows) -> np.ndarray:
        """What the first layers give for every entry of every row: [N, D] float32."""
        offsets = rows.arrays[net.block.part("offsets")]
        flat = np.zeros((int(offsets[-1]), net.width), np.float32)
        was = net.training
        net.eval()
        for some in chunks(rows.arrays):
            with torch.no_grad():
                found = net.below(rows.batch(some, self._device), depth).float().cpu().numpy()
            for place, row in enumerate(some.tolist()):
                flat[offsets[row] : offsets[row + 1]] = found[place, : offsets[row + 1] - offsets[row]]
        net.train(was)
        return flat

    def thaw_rows(self) -> None:
        """Forget what was kept: the network reads from the start again."""
        for net in self.module.nets.values():
            if isinstance(net, Listed):
                net.frozen = 0
        for rows in (self.rows, self._valid):
            if rows is not None:
                rows.hidden.clear()
