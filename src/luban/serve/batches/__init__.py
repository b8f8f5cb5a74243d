"""Asking a bundle for several questions together. Knows no protocol."""
