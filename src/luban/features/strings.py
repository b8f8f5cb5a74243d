"""A vocabulary's strings, held together: a hundred thousand of them take a few megabytes, not thirty.

A list of strings costs some eighty bytes for each; here their bytes lie in one Arrow array. Knows no encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import pyarrow as pa


class Strings(Sequence[str]):
    """An immutable sequence of strings, equal to another, or a list, of the same strings in the same order.

    >>> few = Strings(["a", "b"])
    >>> few[1], few[-2], len(few), "b" in few, list(few)
    ('b', 'a', 2, True, ['a', 'b'])
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._array: pa.Array = strings._array if isinstance(strings, Strings) else pa.array(strings, pa.string())

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[position] for position in range(*at.indices(len(self)))]
        found: str = self._array[at if at >= 0 else at + len(self)].as_py()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._array.to_pylist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list):
            return list(self) == other
        return isinstance(other, Strings) and bool(self._array.equals(other._array))

    def __hash__(self) -> int:
        return hash((len(self), self[0] if len(self) else "", self[-1] if len(self) else ""))

    def __repr__(self) -> str:
        return f"Strings({len(self)})"
