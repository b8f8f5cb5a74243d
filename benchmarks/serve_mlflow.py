"""MLflow with the same graph: `python -m benchmarks.serve_mlflow FOLDER PORT`, run by a peer's interpreter.

Its own path (`/invocations`) and body (`dataframe_records`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow

from benchmarks.serve_graph import Graph


class Wine(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Rows in, answers out."""

    def load_context(self, context: Any) -> None:
        """In the process that answers."""
        self.graph = Graph(Path(context.artifacts["folder"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[dict[str, object]]:
        """One answer a row of a data frame."""
        return self.graph.answers(model_input[self.graph.columns].to_numpy().tolist())


if __name__ == "__main__":
    from benchmarks.serve_mlflow import Wine as Served

    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(f"{folder}/model", python_model=Served(), artifacts={"folder": sys.argv[1]})
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"{folder}/model", "--env-manager", "local"]
        sys.exit(subprocess.call([*command, "-h", "127.0.0.1", "-p", sys.argv[2], "-w", "1"]))
