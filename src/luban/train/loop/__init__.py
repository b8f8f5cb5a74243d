"""The training loop: gradient steps over a learner's rows, by a recipe, within a budget, resumable to the bit.

    order        which rows meet in a batch, anew each epoch
    schedule     the step size at each step
    weights      which parameters learn, how they decay, their averages
    gradients    one step's gradients: noise, adversarial steps, precision, too little memory
    pace         what is measured before the first step: precision, and how many steps there is time for
    checkpoint   all of that as bytes, and back
    training     the loop itself

PyTorch is imported when the loop is called, and not before. Names no family, no task and no column type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luban.catalog import need

if TYPE_CHECKING:
    from luban.models.base import FitContext
    from luban.models.neural.learner import Learner, Trained
    from luban.models.neural.recipe import Recipe


def loop(learner: Learner, recipe: Recipe, context: FitContext) -> Trained:
    """Train `learner`; afterwards its module has its best weights. See `luban.models.neural.learner.Loop`."""
    need("torch", "neural")
    from luban.train.loop.training import train

    return train(learner, recipe, context)
