"""The CPU backend: matrix products by NumPy's BLAS, everything between them by Numba.

Threads. BLAS is threaded and every Numba kernel here is serial. Two thread pools in one training step, one of which
spins while the other works, make the step two to five times slower than either alone; the kernels between the products
are a few percent of it. So no kernel here runs its loops in parallel, and none calls BLAS.

Arguments are checked by `kernels` and arrive C-contiguous. Same files and names as `kernels.reference`.
"""

from kernels.cpu.adam import adam_step
from kernels.cpu.clipping import sum_of_squares
from kernels.cpu.cross_entropy import cross_entropy_backward, cross_entropy_forward
from kernels.cpu.dropout import dropout
from kernels.cpu.embedding import embedding_backward, embedding_forward
from kernels.cpu.gru import gru_backward, gru_forward
from kernels.cpu.lstm import lstm_backward, lstm_forward
from kernels.cpu.random import random_bits

__all__ = [
    "adam_step",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dropout",
    "embedding_backward",
    "embedding_forward",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "random_bits",
    "sum_of_squares",
]
