"""What OpenAPI says of the routes about the server itself, whose handlers are in `app.py`."""

from __future__ import annotations

from luban.serve.http.operations import TEXT, WHOLE, Body, Operation, list_of, object_of, or_null, ref

_WHOLE = or_null({"type": "integer"})
_COLUMN = object_of({"name": TEXT, "type": TEXT, "role": TEXT}, more=True)

HEALTH = Operation("Whether the server is alive.", gives=Body(object_of({"status": {"const": "alive"}})))
READY = Operation(
    "Whether a model is loaded and tested: to everybody how many are, to whoever has a key also which.",
    gives=Body(
        object_of(
            {
                "status": {"const": "ready"},
                "counts": object_of({"loaded": WHOLE, "idle": WHOLE, "refused": WHOLE}),
                "model": TEXT,
                "version": _WHOLE,
                "identity": or_null(TEXT),
                "newest_refused": or_null(TEXT),
                "models": {"type": "object"},
            },
            required=["status", "counts"],
        )
    ),
    problems=(503,),
)
MODEL = Operation(
    "Facts of the model that answers now.",
    gives=Body({"allOf": [ref("Identity"), object_of({"columns": list_of(_COLUMN), "answers": {}}, more=True)]}),
    problems=(503,),
)
OPENAPI = Operation("This description.", gives=Body({"type": "object"}), query={"model": TEXT}, problems=(404, 503))
FIGURES = Operation(
    "Figures for Prometheus.", gives=(Body(None, "text/plain"), Body(None, "application/openmetrics-text"))
)
PAGE = Operation(
    "A page for a person in a browser, in its language.", gives=Body(None, "text/html"), query={"lang": TEXT}
)
