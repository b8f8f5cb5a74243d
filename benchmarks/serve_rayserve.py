"""Ray Serve with the same graph: `python -m benchmarks.serve_rayserve FOLDER PORT`, run by a peer's interpreter."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray import serve

from benchmarks.serve_graph import asked_with


@serve.deployment(max_ongoing_requests=256)
class Wine:
    """Rows in, answers out."""

    def __init__(self, folder: str) -> None:
        from pathlib import Path

        from benchmarks.serve_graph import Graph

        self.graph = Graph(Path(folder))

    async def __call__(self, request: Any) -> dict[str, object]:
        """One answer a row."""
        rows = (await request.json())["rows"]
        return {"answers": self.graph.answers([[row[name] for name in self.graph.columns] for row in rows])}


if __name__ == "__main__":
    import sys

    _, port = asked_with()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Wine.bind(sys.argv[1]), route_prefix="/v1/predict")
    while True:
        time.sleep(3600)
