"""Converters: one kind of array into another inside the graph, one file each."""

CONVERTERS = {
    "svd": ".svd:Svd",
    "target-encoding": ".target_encoding:TargetEncoding",
    "encoder": ".encoder:PretrainedEncoder",
}
