"""Neural models: encoders by kind, fused, a head; in PyTorch, exported to ONNX. Does not know its training loop."""
