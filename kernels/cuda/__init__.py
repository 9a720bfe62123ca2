"""The CUDA backend: kernels of our own, launched through CuPy, and matrix products by cuBLAS.

Arguments are checked by `kernels` and arrive as C-contiguous CuPy arrays. Same names as `kernels.reference`. float32 is
computed by the kernels of the .cu files, float64 by the oracle on the device's arrays (`runtime.float64`).
Importing this package touches no device and does not import CuPy; the first call does.

What each kernel reads and writes stands at the head of its file; docs/cuda.md draws them. The rooms: `runtime` (what
launches and multiplies, and the machine), `recurrent`, `search`, `losses`, `updates`, `layers` (products, embedding,
dropout). A .py file stands beside the .cu files that it launches; these name headers by room and file.
"""

from kernels.cuda.layers.dropout import dropout
from kernels.cuda.layers.embedding import embedding_backward, embedding_backward_dense, embedding_forward
from kernels.cuda.layers.linear import linear_backward, linear_forward, matmul
from kernels.cuda.layers.random import random_bits
from kernels.cuda.losses.cross_entropy import cross_entropy_backward, cross_entropy_forward
from kernels.cuda.losses.output_layer import linear_cross_entropy_backward, linear_cross_entropy_forward
from kernels.cuda.recurrent.gru import gru_backward, gru_forward
from kernels.cuda.recurrent.lstm import (
    lstm_backward,
    lstm_continue,
    lstm_finish,
    lstm_forward,
    lstm_start,
    lstm_states,
    pack_lstm,
)
from kernels.cuda.runtime.compiler import SOURCE_FOLDER
from kernels.cuda.search.decoding import beam_decode, greedy_decode, pack_decoder
from kernels.cuda.search.ranking import linear_argmax
from kernels.cuda.updates.adam import adam_replay, adam_rows_step, adam_scalars, adam_step, adam_step_all
from kernels.cuda.updates.clipping import clip_coefficient, sum_of_squares
from kernels.cuda.updates.rmsprop import rmsprop_step
from kernels.cuda.updates.sgd import sgd_rows_step, sgd_step

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
