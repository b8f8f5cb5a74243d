"""Settings of what is looked at in rows before they are asked (`serve.rows`). Knows no model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luban.catalog import Config


class RowsConfig(Config):
    """What happens to rows that are unlike those of training, or too large."""

    outside: Literal["answer", "mark", "refuse"] = "answer"
    """A row unlike all of training (a number beyond the largest, a class never seen): `answer` it like any other,
    `mark` its answer with `outside` and the reasons, or `refuse` it with an error."""
    max_cell_bytes: int = Field(1024 * 1024, ge=1)
    """Largest value of one column, in bytes of UTF-8; a row with a larger one gets an error. Pictures are bounded by
    `max_pixels` and by `serve.max_body_bytes` alone."""
    max_pixels: int = Field(50_000_000, ge=1)
    """Most pixels (width times height) of all pictures of one request together, by their headers, before any is
    decoded: a small file may unfold to gigabytes."""
