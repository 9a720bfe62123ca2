"""The peers of the benchmarks: one model, trained and decoded by minigrad, PyTorch, JAX and ONNX Runtime.

`problem.py` says what all of them are given; `worker.py` gives each a process of its own. A peer is a module here with
a class `Peer`; it imports NumPy, its framework and `peers.problem`, nothing of the others, so that the memory of its
process is its own.
"""
