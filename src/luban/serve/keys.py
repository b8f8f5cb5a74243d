"""API keys of the environment.

They come from the environment variable LUBAN_API_KEY, one or several with commas between (so that a
new one can be given out before the old one is taken away). Only their SHA-256 is held; all are
compared, each in constant time, so that an answer's time tells nothing. Keys are never logged.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from luban.errors import ConfigError

VARIABLE = "LUBAN_API_KEY"
MIN_CHARACTERS = 16
_MAKE_ONE = 'Make one: python -c "import secrets; print(secrets.token_urlsafe(32))"'


class Keys:
    """The keys of the environment; there may be none."""

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        for number, key in enumerate(keys, 1):
            if len(key) < MIN_CHARACTERS or not key.isascii() or not key.isprintable() or " " in key:
                raise ConfigError(
                    f"`{VARIABLE}` must hold keys of at least {MIN_CHARACTERS} printable ASCII characters without "
                    f"spaces, but key number {number} is not such a one.",
                    _MAKE_ONE,
                )
        self._hashes = tuple(_hashed(key.encode()) for key in keys)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Keys:
        """The keys in LUBAN_API_KEY. Raises ConfigError where it is set but holds no usable key."""
        text = environment.get(VARIABLE)
        if text is None:
            return cls()
        keys = tuple(key.strip() for key in text.split(",") if key.strip())
        if not keys:
            raise ConfigError(f"`{VARIABLE}` is set, but holds no key.", f"Unset it, or set a key. {_MAKE_ONE}")
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def __repr__(self) -> str:
        return f"Keys({len(self._hashes)})"

    def find(self, given: str) -> int | None:
        """The number of the key, from 1; None where it is none of them."""
        hashed = _hashed(given.encode("utf-8", "replace"))
        # A list, not a generator: every key is compared, also after one has fitted.
        fits = [hmac.compare_digest(hashed, known) for known in self._hashes]
        return fits.index(True) + 1 if True in fits else None


def _hashed(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
