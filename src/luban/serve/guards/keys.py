"""API keys of the environment.

They come from the environment variable LUBAN_API_KEY, or from the file that LUBAN_API_KEY_FILE names (as containers
and systemd hand secrets on), one or several with commas or line ends between (so that a
new one can be given out before the old one is taken away). Only their SHA-256 is held; all are
compared, each in constant time, so that an answer's time tells nothing. Keys are never logged.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from luban.errors import ConfigError

VARIABLE = "LUBAN_API_KEY"
FILE_VARIABLE = "LUBAN_API_KEY_FILE"
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
        """The keys in LUBAN_API_KEY or the file. Raises ConfigError where one is set but holds no usable key."""
        text, source = environment.get(VARIABLE), VARIABLE
        file = environment.get(FILE_VARIABLE)
        if file is not None:
            if text is not None:
                raise ConfigError(f"`{VARIABLE}` and `{FILE_VARIABLE}` are both set.", "Unset one of them.")
            text, source = _read(file), FILE_VARIABLE
        if text is None:
            return cls()
        keys = tuple(key.strip() for key in re.split(r"[,\r\n]", text) if key.strip())
        if not keys:
            raise ConfigError(f"`{source}` is set, but holds no key.", f"Unset it, or set a key. {_MAKE_ONE}")
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


def _read(file: str) -> str:
    try:
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"`{FILE_VARIABLE}` must name a file of keys, but {file} cannot be read: {reason}.",
            "Give the server's user the right to read it.",
        ) from None


def _hashed(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
