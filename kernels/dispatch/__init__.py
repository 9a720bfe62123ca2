"""The public entries: check the arguments, make them contiguous, and call the backend their array type names.

The docstrings here are the contract of every backend. Checks look at shapes and dtypes, and at the values of index
arrays.
"""

from kernels.dispatch.backend import backend_for
from kernels.dispatch.embedding import embedding_backward, embedding_forward
from kernels.dispatch.losses import cross_entropy_backward, cross_entropy_forward
from kernels.dispatch.optimisers import adam_step, sum_of_squares
from kernels.dispatch.random import dropout, random_bits
from kernels.dispatch.recurrent import gru_backward, gru_forward, lstm_backward, lstm_forward

__all__ = [
    "adam_step",
    "backend_for",
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
