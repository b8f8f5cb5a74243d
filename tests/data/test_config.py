"""The data section: short forms, and refusals in words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from luban.data.config import DataConfig


def test_short_forms() -> None:
    found = DataConfig.model_validate(
        {
            "source": "a/*.csv",
            "columns": {"text": "text", "n": {"type": "number", "decimal": ","}, "x": None},
            "target": "y",
        }
    )
    assert (found.source.kind, found.source.config.model_dump()["path"]) == ("files", "a/*.csv")
    assert found.columns["n"].settings == {"decimal": ","}
    assert found.columns["x"].type is None
    assert found.stated() == {"y": "target"}
    assert DataConfig.model_validate(found.model_dump()) == found
    assert DataConfig.model_validate(found.identity()) == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": {"a": "txet"}}, "Did you mean `text`?"),
        ({"columns": {"a": {"decimal": ","}}}, "`decimal` is a setting of a column type: give `type` too"),
        ({"columns": {"a": {"type": "number", "decimals": ","}}}, "decimals"),
        ({"columns": {"a": {"role": "group"}}, "target": "a"}, "must have one role"),
        ({"target": "a", "time": "a"}, "must have one role"),
        ({"target": "a", "columns": {"b": {"role": "target"}}}, "these have it: a, b"),
        ({"source": {"kind": "file", "path": "x"}}, "Did you mean `files`?"),
    ],
)
def test_refusals(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        DataConfig.model_validate({"source": "a.csv", **change})
    assert words in str(error.value)


def test_weights_are_reserved() -> None:
    with pytest.raises(ValueError, match="`weight` is reserved"):
        DataConfig.model_validate({"source": "a.csv", "weight": "w"})
    with pytest.raises(ValueError, match="`weight` is reserved"):
        DataConfig.model_validate({"source": "a.csv", "columns": {"w": {"role": "weight"}}})
