"""Helpers around modules: gradient clipping, parameters as a vector, dropped weights, sequences of unequal length
(``utils.rnn``)."""

from typing import TYPE_CHECKING

from minigrad.missing import for_module as _for_module
from minigrad.nn.utils import rnn
from minigrad.nn.utils.clipping import clip_grad_norm, clip_grad_norm_, clip_grad_value_
from minigrad.nn.utils.vectors import parameters_to_vector, vector_to_parameters
from minigrad.nn.utils.weight_drop import embedding_drop, weight_drop

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "embedding_drop",
    "parameters_to_vector",
    "rnn",
    "vector_to_parameters",
    "weight_drop",
]

if not TYPE_CHECKING:  # a checker would take every name for known
    __getattr__ = _for_module(__name__)
