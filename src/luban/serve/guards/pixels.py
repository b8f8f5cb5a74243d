"""Pictures that would unfold to more than a request may: refused by their headers, before any is decoded.

A file of some kilobytes may be a picture of gigabytes. How many figures a value unfolds to is said by its column's type
(`Feature.unfolds`); of a request all count together, so that many middling pictures are bounded like one large one.
An inspector. Knows no column type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luban.serve.http.problems import Problem

if TYPE_CHECKING:
    from luban.serve.fleet.served import Served
    from luban.serve.guards.rows_config import RowsConfig
    from luban.serve.question import Question


class Pixels:
    """Looks at the files in the rows of every question."""

    def __init__(self, config: RowsConfig) -> None:
        self._limit = config.max_pixels

    def inspect(self, question: Question, served: Served, faults: list[str | None]) -> None:
        """Raise Problem where they are too many; a row of a job gets that as its error."""
        if not served.files:
            return
        features = served.bundle.preprocess.features
        total = 0
        for row, fault in zip(question.rows, faults, strict=True):
            if fault is None:
                total += sum(features[name].unfolds(row[name]) for name in served.files if name in row)
            if total > self._limit and question.background:
                faults[0] = f"the pictures of a row must have at most {self._limit:,} pixels, but have {total:,}"
            elif total > self._limit:
                raise Problem(
                    "too-many-pixels",
                    f"The pictures of one request must have at most {self._limit:,} pixels together, "
                    f"but these have {total:,} or more.",
                    "Send smaller pictures, or fewer in one request.",
                    {"max_pixels": self._limit},
                )
