"""Benchmarks: Luban beside a peer, in turns, on this machine. `python -m benchmarks` runs them all."""
