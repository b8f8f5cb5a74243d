"""What converters share whose whole knowledge is a table: which block it makes, and how it is stated.

Decided here: the block is named by a hash of the table and of the block it reads, so that two tables never share a
name. Knows neither what the rows of the table stand for nor how it is learnt.
"""

from __future__ import annotations

import numpy as np

from luban.catalog import fingerprint
from luban.features.kinds import Arrays, Block
from luban.models.base import FittedConverter


class Tabled(FittedConverter):
    """A table [size of the source, n] float32; gives a vector of n."""

    def __init__(self, source: Block, table: np.ndarray) -> None:
        super().__init__()
        self.source = source
        self.table = table
        made = fingerprint([source.name, list(table.shape), table.tobytes().hex()])[:16]
        self.block = Block(f"{source.column}/vector/{made}", "vector", source.column, table.shape[1])

    def named(self, value: np.ndarray, arrays: Arrays) -> Arrays:
        """The block's arrays with this `value` [B, n] float32; a row is present where the source's is."""
        return {self.block.part("value"): value, self.block.part("present"): arrays[self.source.part("present")]}

    def checkpoint(self) -> dict[str, np.ndarray]:
        """`table` [size, n]."""
        return {"table": self.table}
