"""An encoder of attention layers (Vaswani et al. 2017), from scratch or with the weights of a BERT-style model.

Decided here: one module for both. From scratch the norms stand before each half of a layer, which trains
without care (Xiong et al. 2020); pretrained models have them behind. Entries that are padding are hidden by a
large negative number, not by infinity, so that a sequence of nothing stays finite; pooled, it gives zeros.
What the lower layers give can be kept (`below`) where they never learn. Knows no file and no library of models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from luban.features.kinds import Block
from luban.models.neural.learner import Perturb
from luban.models.neural.nets.base import Batch, Listed, array, column, linear, started
from luban.models.products import double

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder

HIDDEN = "hidden"
"""Part of a batch: what frozen layers gave, [B, L, D]."""
_AWAY = -1e4
"""Added to the score of an entry that is not to be seen: its share is exactly 0 in float32 and bfloat16."""


@dataclass(frozen=True)
class Shape:
    """What an encoder looks like."""

    dims: int
    heads: int
    layers: int
    feed: int
    positions: int
    norm_first: bool = True
    sinusoidal: bool = False
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    epsilon: float = 1e-5
    pool: Literal["mean", "first"] = "mean"


class Layer(nn.Module):
    """Attention, then two sums; each half is added to what came in."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        dims = shape.dims
        self.query, self.key, self.value, self.out = (nn.Linear(dims, dims) for _ in range(4))
        self.up, self.down = nn.Linear(dims, shape.feed), nn.Linear(shape.feed, dims)
        self.norm1, self.norm2 = (nn.LayerNorm(dims, eps=shape.epsilon) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, away: Tensor) -> Tensor:
        """x [B, L, D]; `away` [B, 1, 1, L] is added to scores."""
        if self.shape.norm_first:
            x = x + self.dropout(self._attend(self.norm1(x), away))
            return x + self.dropout(self._feed(self.norm2(x)))
        x = self.norm1(x + self.dropout(self._attend(x, away)))
        out: Tensor = self.norm2(x + self.dropout(self._feed(x)))
        return out

    def _attend(self, x: Tensor, away: Tensor) -> Tensor:
        rows, length, dims = x.shape
        split = (rows, length, self.shape.heads, dims // self.shape.heads)
        q, k, v = (f(x).view(split).transpose(1, 2) for f in (self.query, self.key, self.value))
        share = self.dropout.p if self.training else 0.0
        found = scaled_dot_product_attention(q, k, v, attn_mask=away.to(q.dtype), dropout_p=share)
        out: Tensor = self.out(found.transpose(1, 2).reshape(rows, length, dims))
        return out

    def _feed(self, x: Tensor) -> Tensor:
        kind, made = self.shape.activation, self.up(x)
        bent = torch.relu(made) if kind == "relu" else gelu(made, approximate="tanh" if kind == "gelu_tanh" else "none")
        out: Tensor = self.down(bent)
        return out

    def export(self, graph: GraphBuilder, x: str, away: str) -> str:
        """The same in a graph."""
        if self.shape.norm_first:
            x = graph.node("Add", [x, self._export_attend(graph, norm(graph, x, self.norm1), away)])
            return graph.node("Add", [x, self._export_feed(graph, norm(graph, x, self.norm2))])
        x = norm(graph, graph.node("Add", [x, self._export_attend(graph, x, away)]), self.norm1)
        return norm(graph, graph.node("Add", [x, self._export_feed(graph, x)]), self.norm2)

    def _export_attend(self, graph: GraphBuilder, x: str, away: str) -> str:
        heads, size = self.shape.heads, self.shape.dims // self.shape.heads
        split, joined = graph.constant(np.array([0, 0, heads, size])), graph.constant(np.array([0, 0, heads * size]))
        q, k, v = (graph.node("Reshape", [linear(graph, x, f), split]) for f in (self.query, self.key, self.value))
        q, v = (graph.node("Transpose", [t], perm=[0, 2, 1, 3]) for t in (q, v))
        scores = graph.node("MatMul", [q, graph.node("Transpose", [k], perm=[0, 2, 3, 1])])
        scores = graph.node("Mul", [scores, graph.constant(np.float32(1 / math.sqrt(size)))])
        shares = graph.node("Softmax", [graph.node("Add", [scores, away])], axis=-1)
        found = graph.node("Transpose", [graph.node("MatMul", [shares, v])], perm=[0, 2, 1, 3])
        return linear(graph, graph.node("Reshape", [found, joined]), self.out)

    def _export_feed(self, graph: GraphBuilder, x: str) -> str:
        return linear(graph, bent(graph, linear(graph, x, self.up), self.shape.activation), self.down)


class TransformerNet(Listed):
    """Embeddings with positions, layers, a pool."""

    def __init__(self, block: Block, shape: Shape, dropout: float, entries: int | None = None) -> None:
        super().__init__(block, shape.dims)
        self.shape = shape
        self.embedding = nn.Embedding(entries or block.size, shape.dims)
        started(self.embedding.weight, 0.02)
        places = torch.empty(shape.positions, shape.dims)
        if shape.sinusoidal:
            self.register_buffer("places", _waves(places), persistent=False)
        else:
            started(places, 0.02)
            self.places = nn.Parameter(places)
        self.norm = nn.LayerNorm(shape.dims, eps=shape.epsilon)
        self.stack = nn.ModuleList(Layer(shape, dropout) for _ in range(shape.layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch, perturb: Perturb | None = None) -> Tensor:
        """The pooled sequence [B, D]."""
        mask = batch[self.block.part("mask")]
        kept = batch.get(self.block.part(HIDDEN))
        if kept is None:
            x = self._climb(self._bottom(batch, perturb), mask, 0, len(self.stack))
        else:
            kept = kept if perturb is None else perturb(self.block.name, kept)
            x = self._climb(kept, mask, self.frozen - 1, len(self.stack))
        if self.shape.norm_first:
            x = self.norm(x)
        if self.shape.pool == "first":
            return x[:, 0] * mask[:, :1]
        weights = mask.unsqueeze(2).to(x.dtype)
        return (x * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)

    def below(self, batch: Batch, count: int) -> Tensor:
        """What embeddings and the first `count` - 1 layers give."""
        return self._climb(self._bottom(batch, None), batch[self.block.part("mask")], 0, count - 1)

    def _bottom(self, batch: Batch, perturb: Perturb | None) -> Tensor:
        ids = batch[self.block.part("ids")]
        x: Tensor = self.embedding(ids)
        x = x if perturb is None else perturb(self.block.name, x)
        x = x + self.places[: ids.shape[1]]
        return self.dropout(x if self.shape.norm_first else self.norm(x))

    def _climb(self, x: Tensor, mask: Tensor, first: int, last: int) -> Tensor:
        away = (~mask)[:, None, None, :] * _AWAY
        for layer in self.stack[first:last]:
            x = layer(x, away)
        return x

    def export(self, graph: GraphBuilder) -> str:
        """The layers in float32, the pool in double."""
        ids, mask = graph.take(self.block, "ids"), graph.take(self.block, "mask")
        x = graph.node("Gather", [graph.constant(array(self.embedding.weight)), ids])
        length = graph.node("Shape", [ids], start=1, end=2)
        zero = graph.constant(np.array([0]))
        x = graph.node("Add", [x, graph.node("Slice", [graph.constant(array(self.places)), zero, length])])
        x = x if self.shape.norm_first else norm(graph, x, self.norm)
        hidden = graph.node("Cast", [graph.node("Not", [mask])], to=1)
        away = graph.node("Mul", [hidden, graph.constant(np.float32(_AWAY))])
        away = graph.node("Unsqueeze", [away, graph.constant(np.array([1, 2]))])
        for layer in self.stack:
            x = layer.export(graph, x, away)
        x = norm(graph, x, self.norm) if self.shape.norm_first else x
        weights = double(graph, column(graph, mask))
        if self.shape.pool == "first":
            x = graph.node("Mul", [double(graph, x), weights])
            return graph.node("Gather", [x, graph.constant(np.array(0))], axis=1)
        one = graph.constant(np.array([1]))
        summed = graph.node("ReduceSum", [graph.node("Mul", [double(graph, x), weights]), one], keepdims=0)
        counted = graph.node("ReduceSum", [weights, one], keepdims=0)
        return graph.node("Div", [summed, graph.node("Max", [counted, double(graph, graph.constant(np.float32(1)))])])

    def layers(self) -> list[list[str]]:
        """Embeddings, then layer by layer; the last norm belongs to the last layer."""
        found = [self.names("embedding", "places", *(() if self.shape.norm_first else ("norm",)))]
        found += [[f"stack.{i}.{name}" for name, _ in layer.named_parameters()] for i, layer in enumerate(self.stack)]
        found[-1] += self.names("norm") if self.shape.norm_first else []
        return found


def norm(graph: GraphBuilder, x: str, layer: nn.LayerNorm) -> str:
    """Zero mean and unit variance of each entry, scaled."""
    weights = [graph.constant(array(layer.weight)), graph.constant(array(layer.bias))]
    return graph.node("LayerNormalization", [x, *weights], axis=-1, epsilon=float(layer.eps))


def bent(graph: GraphBuilder, x: str, activation: str) -> str:
    """An activation [..], node by node: opset 18 has no Gelu."""
    if activation == "relu":
        return graph.node("Relu", [x])
    half, one = graph.constant(np.float32(0.5)), graph.constant(np.float32(1))
    if activation == "gelu":
        inner = graph.node("Erf", [graph.node("Div", [x, graph.constant(np.float32(math.sqrt(2)))])])
    else:
        cube = graph.node("Mul", [graph.node("Mul", [x, x]), x])
        cubed = graph.node("Add", [x, graph.node("Mul", [cube, graph.constant(np.float32(0.044715))])])
        inner = graph.node("Tanh", [graph.node("Mul", [cubed, graph.constant(np.float32(math.sqrt(2 / math.pi)))])])
    return graph.node("Mul", [graph.node("Mul", [x, graph.node("Add", [inner, one])]), half])


def _waves(places: Tensor) -> Tensor:
    """Sines and cosines of each position [P, D]."""
    count, dims = places.shape
    speed = torch.exp(torch.arange(0, dims, 2) * (-math.log(10_000.0) / dims))
    angle = torch.arange(count)[:, None] * speed
    places[:, 0::2] = torch.sin(angle)
    places[:, 1::2] = torch.cos(angle)[:, : dims // 2]
    return places * 0.02 * math.sqrt(2)
