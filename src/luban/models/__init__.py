"""Model families, one file or folder each. Does not know column types, tasks, files or training loops."""

FAMILIES = {
    "baseline": ".baseline:Baseline",
    "linear": ".linear:Linear",
    "trees": ".trees:Trees",
    "neural": ".neural.family:Neural",
    "vote": ".vote:Vote",
    "stack": ".stack:Stack",
}
