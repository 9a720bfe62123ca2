"""The oracle: every kernel as plain array code, one line per equation, in float32 or float64.

No packing, no buffers, no tricks: padding is masked with `np.where`, so that a reader can check each line against the
paper and a test can check every other backend against this one. Arguments are not checked here; `kernels` does that.
"""

from kernels.reference.adam import adam_replay, adam_rows_step, adam_scalars, adam_step, adam_step_all
from kernels.reference.clipping import clip_coefficient, sum_of_squares
from kernels.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from kernels.reference.decoding import beam_decode, greedy_decode, pack_decoder
from kernels.reference.dropout import dropout
from kernels.reference.embedding import embedding_backward, embedding_backward_dense, embedding_forward
from kernels.reference.gru import gru_backward, gru_forward
from kernels.reference.linear import linear_backward, linear_forward, matmul
from kernels.reference.lstm import (
    lstm_backward,
    lstm_continue,
    lstm_finish,
    lstm_forward,
    lstm_start,
    lstm_states,
    pack_lstm,
)
from kernels.reference.output_layer import linear_argmax, linear_cross_entropy_backward, linear_cross_entropy_forward
from kernels.reference.random import random_bits
from kernels.reference.rmsprop import rmsprop_step
from kernels.reference.sgd import sgd_rows_step, sgd_step

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
