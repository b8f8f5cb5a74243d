"""What a compressor is: from a bundle's graph to a smaller one, from outside.

It is given bytes and arrays and gives bytes; whether they are worth keeping is judged elsewhere
(`trial`), by the same rule for all methods. It knows no family, no task and no file.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from luban.catalog import Component
from luban.features.kinds import Arrays
from luban.models.base import Refusal


@dataclass(frozen=True, eq=False)
class CompressContext:
    """What a method may look at: the head's width, and bulk arrays of some training rows."""

    width: int
    calibration: Arrays


class Compressor(Component):
    """One way to make a graph smaller or faster.

    Stateless; called from one thread. What it gives must be a graph that `GraphBuilder.build` could have
    made, with the same inputs and the output `head`, of operators that the audit allows, the same bytes for
    the same bytes and arrays, and each row's answer must depend on that row alone: the graph may learn from
    calibration rows, never from the batch that it is asked with.
    """

    @abstractmethod
    def supports(self, graph: Any) -> str | None:
        """None if the `onnx.ModelProto` has something to compress, or why not; does not change it."""

    @abstractmethod
    def compress(self, graph: bytes, context: CompressContext) -> bytes | Refusal:
        """The compressed graph, or why there is none. Called only where `supports` gave None."""
