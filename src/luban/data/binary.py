"""Values that are bytes (pictures), where only text can stand: JSON, reports, quarantine.

Decided here: bytes are written as a data URI (RFC 2397) with base64, whose media type is told by how they begin;
whoever reads a column of bytes takes that form, or base64 alone. Knows no column type, and decodes nothing.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

UNKNOWN_TYPE = "application/octet-stream"
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
_SCHEME = "data:"
_BASE64 = ";base64"


def media_type(data: bytes) -> str:
    """What bytes seem to be, by how they begin.

    >>> media_type(b"GIF89a..."), media_type(b"?")
    ('image/gif', 'application/octet-stream')
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), UNKNOWN_TYPE)


def data_uri(data: bytes) -> str:
    """Bytes as text.

    >>> data_uri(b"GIF89a")
    'data:image/gif;base64,R0lGODlh'
    """
    return f"{_SCHEME}{media_type(data)}{_BASE64},{base64.b64encode(data).decode('ascii')}"


def from_text(text: str) -> bytes | None:
    """The bytes that a data URI with base64, or base64 alone, stands for; None where it is neither.

    >>> from_text("data:image/gif;base64,R0lGODlh"), from_text("R0lG\\nODlh"), from_text("not base64")
    (b'GIF89a', b'GIF89a', None)
    """
    text = text.strip()
    if text[: len(_SCHEME)].lower() == _SCHEME:
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(_BASE64):
            return None
    if "\n" in text or "\r" in text:
        text = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def written(value: Any) -> Any:
    """A value as JSON can have it: bytes as a data URI, also in lists; all else as it is."""
    if isinstance(value, bytes):
        return data_uri(value)
    return [written(one) for one in value] if isinstance(value, list) else value


def shown(value: Any) -> Any:
    """A value to be read by a person: of bytes what they are and how many; all else as it is.

    >>> shown(b"GIF89a"), shown("text")
    ('image/gif, 6 bytes', 'text')
    """
    return f"{media_type(value)}, {len(value):,} bytes" if isinstance(value, bytes) else value
