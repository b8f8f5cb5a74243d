"""Figures, logs and traces."""
