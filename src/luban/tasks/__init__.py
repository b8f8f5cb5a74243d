"""Tasks: one file per objective. Does not know model families, files or where data came from."""

TASKS = {
    "binary": ".binary:Binary",
    "multiclass": ".multiclass:Multiclass",
    "regression": ".regression:Regression",
    "tags": ".tags:Tags",
    "ordinal": ".ordinal:Ordinal",
}
