"""Readers: one per bundle protocol, so that old bundles open for ever."""
