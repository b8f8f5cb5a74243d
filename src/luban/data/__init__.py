"""Datasets, schemas, splits, sources and sinks. Does not know column types, tasks or models."""
