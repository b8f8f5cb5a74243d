"""Smaller and faster bundles: one method a file, kept only where it pays. Knows no family and no task by name."""

COMPRESSORS = {
    "int8": ".int8:Int8",
}
