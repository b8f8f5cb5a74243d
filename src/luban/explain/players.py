"""Parts as players: one by one, or in runs of neighbours of one column where there are too many.

Decided here: a run never crosses a column; the runs that matter are opened into smaller ones (`open_up`), so that few
questions find the few words of a long text that count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from luban.explain.question import Question


def runs(question: Question, most: int) -> list[np.ndarray]:
    """Positions of parts by player, at most `most` players (but one for each column)."""
    columns = list(question.groups.values())
    total = sum(len(parts) for parts in columns)
    if total <= most:
        return [np.array([i]) for parts in columns for i in parts]
    found: list[np.ndarray] = []
    for parts in columns:
        count = max(1, min(len(parts), most * len(parts) // total))
        found += np.array_split(parts, count)
    return found


def open_up(
    players: Sequence[np.ndarray], values: np.ndarray, most: int, share: float = 0.5
) -> list[np.ndarray] | None:
    """The players with those that matter most cut in two, at most `most`; None where nothing can be cut.

    Cut are runs, by size of their value, until so large a `share` of all value in runs is in those that are cut.
    """
    long = [i for i in range(len(players)) if len(players[i]) > 1]
    room = most - len(players)
    if not long or room < 1:
        return None
    long.sort(key=lambda i: -abs(values[i]))
    total, cut, covered = sum(abs(values[i]) for i in long), set(), 0.0
    for i in long[:room]:
        cut.add(i)
        covered += abs(values[i])
        if covered >= share * total:
            break
    return [
        piece for i, player in enumerate(players) for piece in (np.array_split(player, 2) if i in cut else [player])
    ]
