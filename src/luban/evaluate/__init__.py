"""Metrics, intervals, calibration and comparison, by libraries. Does not know model families."""
