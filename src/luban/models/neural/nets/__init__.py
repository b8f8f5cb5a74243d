"""PyTorch modules that neural models are made of, each with its own ONNX graph. Needs `luban[neural]`."""
