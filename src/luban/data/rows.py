"""What a row is called and what it weighs in a hash: row hashes, row ids, keys, the hash of content.

Decided here: a row's hash is 128 bits of BLAKE2b over its raw values in the order of their sorted
column names; strings as UTF-8, integers in decimal, floats and times as the integer of their bits. Values
are joined by the byte FF and nothing is written as FE; neither occurs in UTF-8, so the joining is
unambiguous and null differs from "". The row id is that hash for the first of equal rows, and a hash of
it and the occurrence number for the others. None of this depends on batches, paths or other values.
Does not know column types or files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

HASH_BYTES = 16
_SEPARATOR, _NULL = b"\xff", b"\xfe"
_NULL_KEY = np.uint64(0x9E3779B97F4A7C15)
_INTEGERS = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def row_hashes(batch: pa.RecordBatch) -> pa.Array:
    """The hash of each raw row [B], fixed-size binary of 16 bytes.

    >>> a = row_hashes(pa.record_batch({"x": ["1", None], "y": ["", "2"]}))
    >>> b = row_hashes(pa.record_batch({"y": ["2"], "x": pa.array([None], pa.string())}))
    >>> a[1] == b[0], a[0] == a[1]
    (True, False)
    """
    import pyarrow.compute as pc

    names = sorted(batch.schema.names)
    columns = [_as_bytes(batch.column(name)) for name in names]
    separator = pa.scalar(_SEPARATOR, pa.large_binary())
    joined = pc.binary_join_element_wise(*columns, separator, null_handling="replace", null_replacement=_NULL)
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(row, digest_size=HASH_BYTES).digest() for row in joined.to_pylist()])
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(HASH_BYTES), batch.num_rows, [None, pa.py_buffer(digests)], null_count=0
    )


def _as_bytes(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_bytes(column.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.large_binary())
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64()).view(pa.int64())
    elif pa.types.is_timestamp(kind) or pa.types.is_time64(kind) or pa.types.is_duration(kind):
        column = column.view(pa.int64())
    elif pa.types.is_nested(kind) or _is_bytes(kind):
        texts = [None if value is None else _as_text(value) for value in column.to_pylist()]
        return pa.array(texts, pa.large_string()).cast(pa.large_binary())
    return column.cast(pa.large_string()).cast(pa.large_binary())


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _as_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=str)


def words(hashes: pa.Array) -> np.ndarray:
    """Row hashes [B] as two words each: [B, 2] uint64, big-endian order."""
    flat = np.frombuffer(hashes.buffers()[1], np.uint8)[hashes.offset * HASH_BYTES :][: len(hashes) * HASH_BYTES]
    return flat.view(">u8").reshape(-1, 2).astype(np.uint64)


def numbered(hashes: pa.Array, occurrences: np.ndarray) -> pa.Array:
    """Identifiers [B] (16 bytes) of rows with these hashes [B] and occurrence numbers [B], 0 the first."""
    repeated = np.flatnonzero(occurrences)
    if not len(repeated):
        return hashes
    flat = bytearray(words(hashes).astype(">u8").tobytes())
    for row in repeated.tolist():
        at = row * HASH_BYTES
        payload = bytes(flat[at : at + HASH_BYTES]) + int(occurrences[row]).to_bytes(8, "big")
        flat[at : at + HASH_BYTES] = hashlib.blake2b(payload, digest_size=HASH_BYTES).digest()
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(HASH_BYTES), len(hashes), [None, pa.py_buffer(bytes(flat))], null_count=0
    )


def hexadecimal(identifiers: pa.Array) -> pa.Array:
    """Identifiers [B] of 16 bytes as strings of 32 hexadecimal digits."""
    flat = words(identifiers).astype(">u8").view(np.uint8)
    digits = np.empty((len(flat.ravel()), 2), np.uint8)
    digits[:, 0] = _HEX[flat.ravel() >> 4]
    digits[:, 1] = _HEX[flat.ravel() & 15]
    offsets = np.arange(len(identifiers) + 1, dtype=np.int32) * (2 * HASH_BYTES)
    return pa.StringArray.from_buffers(len(identifiers), pa.py_buffer(offsets), pa.py_buffer(digits))


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of uint64 whose bits look independent (Steele et al. 2014)."""
    values = values.astype(np.uint64)
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def value_keys(columns: Sequence[pa.Array]) -> np.ndarray:
    """Keys [B] uint64 of rows over these columns: equal rows have equal keys, never 0; null equals null."""
    keys = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        keys = mix(keys * np.uint64(0xD1342543DE82EF95) + column_keys(column))
    keys[keys == 0] = 1
    return keys


def column_keys(column: pa.Array) -> np.ndarray:
    """Keys [B] uint64 of one column's values."""
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_floating(kind):
        # adding 0.0 makes -0.0 and 0.0, which are equal, the same bits
        floats = pc.fill_null(column.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False) + 0.0
        keys = mix(floats.view(np.uint64))
    elif pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        integers = column.cast(pa.int64()) if pa.types.is_integer(kind) else column.view(pa.int64())
        keys = mix(pc.fill_null(integers, 0).to_numpy(zero_copy_only=False).view(np.uint64))
    else:
        return _distinct_keys(column)
    if column.null_count:
        keys[~column.is_valid().to_numpy(zero_copy_only=False)] = _NULL_KEY
    return keys


def _distinct_keys(column: pa.Array) -> np.ndarray:
    import pyarrow.compute as pc

    encoded = _as_bytes(column).dictionary_encode()
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(value, digest_size=8).digest() for value in encoded.dictionary.to_pylist()])
    table = np.append(np.frombuffer(digests, np.uint64), _NULL_KEY)
    codes: np.ndarray = pc.fill_null(encoded.indices, len(table) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(table[codes])


class ContentHash:
    """SHA-256 over the values of one column, in order, whatever the batches they came in.

    Three streams are hashed: which values are there, how long they are, what they are.
    """

    def __init__(self) -> None:
        self._present, self._lengths, self._values = (hashlib.sha256() for _ in range(3))

    def update(self, column: pa.Array) -> None:
        """Take the next values."""
        import pyarrow.compute as pc

        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        self._present.update(np.ascontiguousarray(column.is_valid().to_numpy(zero_copy_only=False)).tobytes())
        kind = column.type
        if pa.types.is_primitive(kind) and not pa.types.is_boolean(kind):
            # bits as integers of the same width, so that null can be written as 0 whatever the type
            bits = pc.fill_null(column.view(_INTEGERS[kind.bit_width]), 0)
            self._values.update(bits.to_numpy(zero_copy_only=False).tobytes())
        else:
            lengths, data = _plain(column)
            self._lengths.update(lengths)
            self._values.update(data)

    def hexdigest(self) -> str:
        """The hash of all values so far."""
        parts = [stream.digest() for stream in (self._present, self._lengths, self._values)]
        return hashlib.sha256(b"".join(parts)).hexdigest()


def _plain(column: pa.Array) -> tuple[bytes, bytes]:
    import pyarrow.compute as pc

    texts = pc.fill_null(_as_bytes(column), b"")
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
    data = texts.buffers()[2]
    if data is None or not len(texts):
        return bytes(8 * len(texts)), b""
    return np.diff(offsets).tobytes(), bytes(memoryview(data)[int(offsets[0]) : int(offsets[-1])])
