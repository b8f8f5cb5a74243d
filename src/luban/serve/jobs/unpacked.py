"""How large a workbook is once it is unpacked, before anything reads it: a file of 500 KB may hold gigabytes.

Each part is unpacked a piece at a time and thrown away, until the bound is reached: what the archive says of its
sizes is not believed. Python's `zipfile` would stop where they say, and those who read workbooks do not.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

PIECE_BYTES = 1 << 20
MAX_PARTS = 10_000
_LOCAL = struct.Struct("<4s5H3L2H")
"""The header before each part; its last two numbers are the lengths of what follows it (APPNOTE 4.3.7)."""


def is_larger_than(path: Path, most: int) -> bool:
    """Whether a workbook has more than `most` bytes unpacked; False also for what is no workbook.

    What is wrong with such a file is said by who reads it.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            parts = archive.infolist()
            if len(parts) > MAX_PARTS:
                return True
            left = most
            for part in parts:
                left -= _size(file, part, left)
                if left < 0:
                    return True
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError):
        return False
    return False


def _size(file: IO[bytes], part: zipfile.ZipInfo, most: int) -> int:
    """Bytes of a part, counted no further than just beyond `most`."""
    if part.compress_type != zipfile.ZIP_DEFLATED:
        return part.compress_size
    file.seek(part.header_offset)
    *_, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    file.seek(name + extra, 1)
    unpacking, size, left = zlib.decompressobj(-zlib.MAX_WBITS), 0, part.compress_size
    while left > 0 and size <= most and not unpacking.eof:
        packed = file.read(min(PIECE_BYTES, left))
        if not packed:
            break
        left -= len(packed)
        while packed and size <= most:
            size += len(unpacking.decompress(packed, PIECE_BYTES))
            packed = unpacking.unconsumed_tail
    return size
