"""The peer to beat: bare FastAPI on uvicorn (uvloop, httptools), a Pydantic body with a list of rows, the same graph.

Run by a peer's interpreter: `python -m benchmarks.serve_fastapi FOLDER PORT`.
"""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, create_model

from benchmarks.serve_graph import asked_with

GRAPH, PORT = asked_with()
COLUMNS = GRAPH.columns
Row = create_model("Row", **dict.fromkeys(COLUMNS, (float, ...)))  # type: ignore[call-overload]


class Asked(BaseModel):
    """The body of a request."""

    rows: list[Row]  # type: ignore[valid-type]


class Answered(BaseModel):
    """The body of a response."""

    answers: list[dict[str, str | float]]


app = FastAPI()


@app.post("/v1/predict")
async def predict(asked: Asked) -> Answered:
    """One answer a row."""
    rows: list[Any] = asked.rows
    found = GRAPH.answers([[getattr(row, name) for name in COLUMNS] for row in rows])
    return Answered(answers=found)  # type: ignore[arg-type]


@app.get("/ready")
async def ready() -> dict[str, str]:
    """Whether it answers."""
    return {"status": "ready"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_config=None, access_log=False)
