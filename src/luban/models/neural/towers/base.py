"""What a tower is: a way of reading lists inside a neural model, as settings and a net made from them.

Its settings can be read without PyTorch. Knows no column type, no task and no loop.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from luban.catalog import Component
from luban.features.kinds import Block, Want

if TYPE_CHECKING:
    from luban.models.neural.nets.base import Net


class Tower(Component):
    """Reads one kind of list. Stateless: the net that it builds is what learns.

    `recipe` are the settings of the training loop that suit it, where the project file says nothing.
    """

    extra: ClassVar[str] = "neural"
    recipe: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def want(self) -> Want:
        """What it asks of a column."""

    @abstractmethod
    def build(self, block: Block) -> Net:
        """A net for a block of what it wants, drawn from PyTorch's global generator.

        Raises ConfigError where the settings do not fit the block, or pretrained weights cannot be used.
        """
