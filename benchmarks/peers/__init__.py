"""The peers of the benchmarks: one model, trained and decoded by minigrad, PyTorch, JAX and ONNX Runtime.

A peer is a module with a class `Peer` (and `Layer`) that imports NumPy, its framework and `peers.problem`, nothing of
the others, so that the memory of its process is its own.
"""
