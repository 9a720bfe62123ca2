"""The public entries: check the arguments, make them contiguous, and call the backend their array type names.

The docstrings here are the contract of every backend. Checks look at shapes and dtypes, and at the values of index
arrays.
"""

from kernels.dispatch.adam import adam_replay, adam_rows_step, adam_scalars, adam_step, adam_step_all
from kernels.dispatch.backend import backend_for
from kernels.dispatch.decoding import beam_decode, greedy_decode, pack_decoder
from kernels.dispatch.embedding import embedding_backward, embedding_backward_dense, embedding_forward
from kernels.dispatch.linear import linear_backward, linear_forward, matmul
from kernels.dispatch.losses import (
    cross_entropy_backward,
    cross_entropy_forward,
    linear_argmax,
    linear_cross_entropy_backward,
    linear_cross_entropy_forward,
)
from kernels.dispatch.optimisers import clip_coefficient, rmsprop_step, sgd_rows_step, sgd_step, sum_of_squares
from kernels.dispatch.random import dropout, random_bits
from kernels.dispatch.recurrent import (
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_continue,
    lstm_finish,
    lstm_forward,
    lstm_start,
    lstm_states,
    pack_lstm,
)

__all__ = [
    "adam_replay",
    "adam_rows_step",
    "adam_scalars",
    "adam_step",
    "adam_step_all",
    "backend_for",
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
