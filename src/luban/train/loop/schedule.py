"""The step size at each step, as a share of the largest one.

Decided here: it grows in a line over the warm-up, and then follows the recipe to (nearly) zero at the
last step that is planned, whether or not training stops earlier. On a plateau it is halved at each
evaluation that is no better than the best so far. Pure functions of the step's number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from luban.models.neural.recipe import Recipe


def share(recipe: Recipe, step: int, horizon: int, halved: Sequence[int] = ()) -> float:
    """Share of `learning_rate` at `step`, counted from 0, of `horizon` planned steps.

    `halved` are the steps from which the step size was halved on a plateau.

    >>> [round(share(Recipe(warmup=0.5), step, 8), 3) for step in (0, 3, 4, 7)]
    [0.25, 1.0, 1.0, 0.146]
    """
    warm = recipe.warmup * horizon
    rising = min(1.0, (step + 1) / warm) if warm else 1.0
    done = min(1.0, max(0.0, (step - warm) / max(horizon - warm, 1.0)))
    if recipe.schedule == "cosine":
        falling = 0.5 * (1.0 + math.cos(math.pi * done))
    elif recipe.schedule == "linear":
        falling = 1.0 - done
    elif recipe.schedule == "plateau":
        falling = 0.5 ** sum(step >= start for start in halved)
    else:
        falling = 1.0
    return rising * falling
