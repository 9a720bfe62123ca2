"""The CPU backend: Numba throughout, products included (`kernels.cpu.gemm`); no step of training calls BLAS.

Threads. Every loop here is serial code that releases Python's lock; `kernels.threads` runs several of them side by
side. There is one pool of threads: two in one training step, one of which spins while the other works, make the step
two to five times slower than either alone.

Arguments are checked by `kernels` and arrive C-contiguous. Same files and names as `kernels.reference`.
"""

from kernels.cpu.adam import adam_replay, adam_rows_step, adam_scalars, adam_step, adam_step_all
from kernels.cpu.clipping import clip_coefficient, sum_of_squares
from kernels.cpu.cross_entropy import cross_entropy_backward, cross_entropy_forward
from kernels.cpu.decoding import beam_decode, greedy_decode, pack_decoder
from kernels.cpu.dropout import dropout
from kernels.cpu.embedding import embedding_backward, embedding_backward_dense, embedding_forward
from kernels.cpu.gru import gru_backward, gru_forward
from kernels.cpu.linear import linear_backward, linear_forward, matmul
from kernels.cpu.lstm import (
    lstm_backward,
    lstm_continue,
    lstm_finish,
    lstm_forward,
    lstm_start,
    lstm_states,
    pack_lstm,
)
from kernels.cpu.output_layer import linear_argmax, linear_cross_entropy_backward, linear_cross_entropy_forward
from kernels.cpu.random import random_bits
from kernels.cpu.rmsprop import rmsprop_step
from kernels.cpu.sgd import sgd_rows_step, sgd_step

__all__ = [
    "adam_replay",
    "adam_rows_step",
    "adam_scalars",
    "adam_step",
    "adam_step_all",
    "beam_decode",
    "clip_coefficient",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dropout",
    "embedding_backward",
    "embedding_backward_dense",
    "embedding_forward",
    "greedy_decode",
    "gru_backward",
    "gru_forward",
    "linear_argmax",
    "linear_backward",
    "linear_cross_entropy_backward",
    "linear_cross_entropy_forward",
    "linear_forward",
    "lstm_backward",
    "lstm_continue",
    "lstm_finish",
    "lstm_forward",
    "lstm_start",
    "lstm_states",
    "matmul",
    "pack_decoder",
    "pack_lstm",
    "random_bits",
    "rmsprop_step",
    "sgd_rows_step",
    "sgd_step",
    "sum_of_squares",
]
