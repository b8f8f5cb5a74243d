"""BentoML with the same graph: `python -m benchmarks.serve_bentoml FOLDER PORT`, run by a peer's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.serve_graph import Graph

FOLDER = "SERVE_FOLDER"


@bentoml.service(workers=1)  # type: ignore[untyped-decorator]
class Wine:
    """Rows in, answers out."""

    def __init__(self) -> None:
        self.graph = Graph(Path(os.environ[FOLDER]))

    @bentoml.api(route="/v1/predict")  # type: ignore[untyped-decorator]
    def predict(self, rows: list[dict[str, float]]) -> dict[str, Any]:
        """One answer a row."""
        return {"answers": self.graph.answers([[row[name] for name in self.graph.columns] for row in rows])}


if __name__ == "__main__":
    command = [sys.executable, "-m", "bentoml", "serve", "benchmarks.serve_bentoml:Wine", "--host", "127.0.0.1"]
    environment = {**os.environ, FOLDER: sys.argv[1], "BENTOML_DO_NOT_TRACK": "True"}
    sys.exit(subprocess.call([*command, "--port", sys.argv[2]], env=environment))
