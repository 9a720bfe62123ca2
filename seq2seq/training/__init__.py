"""The training loop, and what it needs: memory, kernels, graphs, validation, progress."""
