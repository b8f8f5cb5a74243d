"""Checks of prepare steps: row steps by their values, set steps by their keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from luban.checks.features import POOL
from luban.data.schema import Column, Schema
from luban.prepare.base import RowStep, SetStep

STRANGE: tuple[str, ...] = (
    "", " ", "\u00a0", "NA", "null", "无", "ｆｕｌｌ　ｗｉｄｔｈ", "cafe\u0301", "schÃ¶n", "a\u200bb", "\x00x",
    "tab\tand\r\nline", "👨‍👩‍👧", "\ufeffbom", "﷽", "\u202eright to left", "－５", "ﬁ",
)  # fmt: skip
SCHEMA = Schema(
    columns=(
        Column(name="text", type="text"),
        Column(name="kind", type="category"),
        Column(name="y", type="category", role="target"),
    )
)
BATCH = pa.record_batch(
    {
        "text": ["the same words here", "the same words here", "other words", None, "the same words here!"],
        "kind": ["a", "a", "b", None, "a"],
        "y": ["0", "1", "0", "0", "0"],
    }
)


def is_a_step(component: Any) -> None:
    """It is a row step or a set step, not both."""
    assert issubclass(component, RowStep) != issubclass(component, SetStep)


def row_steps_are_idempotent(component: Any) -> None:
    """None stays None, twice is once, and typed values never raise."""
    if not issubclass(component, RowStep):
        return
    step = component()
    assert step.value(None) is None
    for raw in (*POOL, *STRANGE, 1, 2.5, True):
        once = step.value(raw)
        assert step.value(once) == once, raw


def row_steps_agree_in_bulk(component: Any) -> None:
    """`apply` gives what `value` gives, and says exactly what changed."""
    if not issubclass(component, RowStep):
        return
    step = component()
    raw = [*POOL, None, *STRANGE, "plain", "plain"]
    values, changed = step.apply(pa.array(raw, pa.string()))
    expected = [step.value(value) for value in raw]
    assert values.to_pylist() == expected
    assert changed.tolist() == [a != b for a, b in zip(raw, expected, strict=True)]


def row_steps_come_back(component: Any) -> None:
    """Settings written to a bundle read back to the same step."""
    step = component()
    again = component(component.Config.model_validate(step.config.model_dump(mode="json")))
    assert again.config == step.config


def set_steps_key_rows_alone(component: Any) -> None:
    """Keys are [B, K] uint64, and a row's keys do not depend on its batch."""
    if not issubclass(component, SetStep):
        return
    step = component()
    columns = step.columns(SCHEMA)
    assert set(columns) <= {column.name for column in SCHEMA.columns}
    if not columns:
        return
    batch = BATCH.select(list(columns))
    keys = step.keys(batch)
    assert keys.dtype == np.uint64
    assert keys.ndim == 2
    assert len(keys) == batch.num_rows
    for row in range(batch.num_rows):
        assert np.array_equal(step.keys(batch.slice(row, 1))[0], keys[row])


CHECKS = (is_a_step, row_steps_are_idempotent, row_steps_agree_in_bulk, row_steps_come_back, set_steps_key_rows_alone)
