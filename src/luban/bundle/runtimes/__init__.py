"""Runtimes: what executes a bundle's stage, one file each."""

RUNTIMES = {
    "onnx": ".onnx:OnnxRuntime",
}
