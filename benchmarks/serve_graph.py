"""What a peer serves: the very graph of a bundle, as one would feed it by hand, and the server's start.

Run by the interpreter of a peer, so it needs numpy and ONNX Runtime alone, and imports nothing of Luban.
`facts.json`, which `serve_http` writes beside the graph, holds for each input its name, column, mean and scale, and
the classes. Rows of numbers are standardised by two vectors at once, which is the least that the graph can be fed
with: no parsing of text, no missing values' own handling, no check but the peer's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort


class Graph:
    """A session of one thread over the bundle's graph."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "facts.json").read_text("utf-8"))
        self.columns: list[str] = facts["columns"]
        self.classes: list[str] = facts["classes"]
        self._inputs: list[str] = facts["inputs"]
        self._mean, self._scale = np.array(facts["mean"]), np.array(facts["scale"])
        self._temperature: float = facts["temperature"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])

    def answers(self, rows: list[list[float]]) -> list[dict[str, object]]:
        """One answer a row of numbers, in the order of `columns`."""
        values = ((np.array(rows, np.float64) - self._mean) / self._scale).astype(np.float32)
        filled = np.zeros((*values.shape, 2), np.float32)
        filled[:, :, 0] = values
        head = self._session.run(["head"], {name: filled[:, at] for at, name in enumerate(self._inputs)})[0]
        scaled = np.exp((head - head.max(axis=1, keepdims=True)) / self._temperature)
        shares = scaled / scaled.sum(axis=1, keepdims=True)
        best = shares.argmax(axis=1)
        return [
            {
                "label": self.classes[label],
                "confidence": float(share[label]),
                **{f"probability_{name}": float(one) for name, one in zip(self.classes, share, strict=True)},
            }
            for label, share in zip(best, shares, strict=True)
        ]


def asked_with() -> tuple[Graph, int]:
    """The graph and the port that a peer's script is called with: FOLDER PORT."""
    return Graph(Path(sys.argv[1])), int(sys.argv[2])
