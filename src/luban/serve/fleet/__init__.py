"""Which models and versions are loaded, and who answers."""
