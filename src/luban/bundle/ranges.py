"""The form of `reports/ranges.json`: what its writer (`release/ranges.py`) and reader
(`serve/guards/outside.py`) share.

{"rows": 5000, "columns": {"nights": {"missing": false, "range": [1, 30]},
                           "review": {"missing": false, "length": [3, 900]},
                           "city":   {"missing": true, "known": ["3f9a…", …]}}}
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import Any

RANGES = "ranges.json"


def value_hash(value: Any) -> str:
    """By what a closed value (a class, a tag) is known."""
    return hashlib.blake2b(str(value).encode("utf-8", "replace"), digest_size=8).hexdigest()


def as_number(value: Any) -> float:
    """A number, or the seconds since 1970 of a time.

    >>> as_number(3), as_number(datetime(1970, 1, 2))
    (3.0, 86400.0)
    """
    if isinstance(value, datetime):
        return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
    return float((value.toordinal() - _EPOCH) * 86_400) if isinstance(value, date) else float(value)


_EPOCH = date(1970, 1, 1).toordinal()
