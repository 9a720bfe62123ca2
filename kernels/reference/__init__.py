"""The oracle: every kernel as plain array code, one line per equation, in float32 or float64.

No packing, no buffers, no tricks: padding is masked with `np.where`, so that a reader can check each line against the
paper and a test can check every other backend against this one. Arguments are not checked here; `kernels` does that.
"""

from kernels.reference.adam import adam_step
from kernels.reference.clipping import sum_of_squares
from kernels.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from kernels.reference.dropout import dropout
from kernels.reference.embedding import embedding_backward, embedding_forward
from kernels.reference.gru import gru_backward, gru_forward
from kernels.reference.lstm import lstm_backward, lstm_forward
from kernels.reference.random import random_bits

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
