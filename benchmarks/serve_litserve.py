"""LitServe with the same graph: `python -m benchmarks.serve_litserve FOLDER PORT`, run by a peer's interpreter."""

from __future__ import annotations

import litserve

from benchmarks.serve_graph import Graph, asked_with


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Rows in, answers out."""

    def setup(self, device: str) -> None:
        """In the process that answers."""
        self.graph: Graph = asked_with()[0]

    def decode_request(self, request) -> list[list[float]]:  # type: ignore[no-untyped-def]
        """The rows as numbers. LitServe looks at the annotation, and reads JSON itself where there is none."""
        return [[row[name] for name in self.graph.columns] for row in request["rows"]]

    def predict(self, rows: list[list[float]]) -> list[dict[str, object]]:
        """Answers."""
        return self.graph.answers(rows)

    def encode_response(self, answers: list[dict[str, object]]) -> dict[str, object]:
        """The body."""
        return {"answers": answers}


if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/v1/predict"), accelerator="cpu", workers_per_device=1)
    server.run(port=asked_with()[1], host="127.0.0.1", num_api_servers=1, log_level="error", generate_client_file=False)
