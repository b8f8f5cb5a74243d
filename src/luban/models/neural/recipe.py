"""How a neural model is trained, as data: what a family hands to the training loop.

Here because a family's settings hold it; the loop that follows it is in `train`. Names no family and
no column type.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luban.catalog import Config, searchable


class Recipe(Config):
    """What the training loop does, step by step."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw: Loshchilov and Hutter 2019; sgd: with Nesterov momentum 0.9."""
    learning_rate: float = searchable(1e-3, 1e-5, 1e-2, log=True, gt=0)
    """Largest step size."""
    schedule: Literal["cosine", "linear", "plateau", "constant"] = "cosine"
    """After the warm-up: to zero by a cosine or a line over all epochs; halved at each evaluation that is no better;
    or kept."""
    warmup: float = searchable(0.1, 0.0, 0.3, ge=0, lt=1)
    """Share of all steps in which the step size grows from zero."""
    epochs: int = Field(10, ge=1)
    """Passes over the training rows, at most."""
    max_steps: int | None = Field(None, ge=1)
    """Optimiser steps, at most; the same on every machine, unlike seconds."""
    batch_rows: int = searchable(32, 16, 128, log=True, ge=1)
    """Rows whose gradients are computed together."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are summed before a step."""
    bucket: bool = True
    """Batches of rows of like length, so that little is padded; which rows meet is drawn anew each epoch."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Gradients of a larger norm are scaled down to it."""
    l1: float = Field(0.0, ge=0)
    """Penalty on absolute weights."""
    l2: float = searchable(0.01, 1e-4, 0.3, log=True, ge=0)
    """Decoupled weight decay; not on biases and norms."""
    label_smoothing: float = searchable(0.0, 0.0, 0.2, ge=0, lt=1)
    """Share of a class's probability that is spread over all."""
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    """auto: bf16 where this hardware computes in it and a batch was faster, else fp32: a decision, recorded and
    replayed."""
    evaluations_per_epoch: int = Field(1, ge=1)
    """How often validation rows are asked."""
    patience: int = Field(3, ge=1)
    """Evaluations without a better validation loss before stopping; the best weights are kept."""
    average: Literal["none", "ema", "swa"] = "none"
    """Weights that are validated and kept: the last; their exponential mean; the mean of the later half."""
    ema_decay: float = Field(0.999, gt=0, lt=1)
    """ema: share of the old mean at each step."""
    frozen_layers: int = Field(0, ge=0)
    """Layers next to the input that never learn; what they give is computed once."""
    unfreeze_every: float | None = Field(None, gt=0)
    """Epochs after which one layer more learns, from the head down; null: all from the start."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Step size of each layer as a share of that above it."""
    noise: float = Field(0.0, ge=0)
    """Standard deviation of normal noise on embeddings and numbers, in training."""
    adversarial: float = Field(0.0, ge=0)
    """Norm of one gradient step on embeddings and numbers that each batch is asked again with (Miyato et al. 2017)."""
    checkpoint_every_s: float = Field(30.0, gt=0, json_schema_extra={"execution": True})
    """Seconds between checkpoints that a killed run goes on from."""
