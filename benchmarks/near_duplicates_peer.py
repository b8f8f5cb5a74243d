"""The peer's side of `near_duplicates`: runs in a virtual environment that has datasketch and not Luban.

    python near_duplicates_peer.py texts.json pairs.json permutations threshold [bands rows]

Prints the seconds (of the clock, of the processor) that MinHash and LSH (insert and query) of all texts
take, shingling included, and writes the candidate pairs. Uses datasketch's fastest documented way:
`MinHash.generator`, no check for keys inserted twice. Without bands and
rows it chooses them itself, with its default weights.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datasketch import MinHash, MinHashLSH


def candidates(
    texts: list[str], permutations: int, threshold: float, params: tuple[int, int] | None
) -> list[tuple[int, int]]:
    sets = ({text[i : i + 5].encode() for i in range(max(len(text) - 4, 1))} for text in texts)
    lsh = MinHashLSH(threshold=threshold, num_perm=permutations, params=params)
    pairs = []
    for row, minhash in enumerate(MinHash.generator(sets, num_perm=permutations)):
        pairs += [(other, row) for other in lsh.query(minhash)]
        lsh.insert(row, minhash, check_duplication=False)
    return pairs


def main(texts_file: str, pairs_file: str, permutations: str, threshold: str, *params: str) -> None:
    bands = (int(params[0]), int(params[1])) if params else None
    texts = json.loads(Path(texts_file).read_text("utf-8"))
    for part in (texts[:100], texts):  # the first time libraries are loaded
        start, cpu = time.perf_counter(), time.process_time()
        pairs = candidates(part, int(permutations), float(threshold), bands)
    print(time.perf_counter() - start, time.process_time() - cpu)
    Path(pairs_file).write_text(json.dumps(pairs), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
