"""Neural-network modules with PyTorch's names, defaults and parameter layout."""

from typing import TYPE_CHECKING

from minigrad.missing import for_module as _for_module
from minigrad.nn import functional, init, utils
from minigrad.nn.activations import GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from minigrad.nn.attention import MultiheadAttention
from minigrad.nn.cho_gru import ChoGRU
from minigrad.nn.containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from minigrad.nn.incremental import IncrementalDropout, IncrementalLSTM
from minigrad.nn.layers import Dropout, Embedding, Flatten, Identity, LayerNorm, Linear
from minigrad.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from minigrad.nn.transformer import TransformerDecoderLayer, TransformerEncoderLayer
from minigrad.nn.transformer_stacks import Transformer, TransformerDecoder, TransformerEncoder
from minigrad.nn.variational import variational_dropout

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "BCELoss",
    "BCEWithLogitsLoss",
    "ChoGRU",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "HuberLoss",
    "Identity",
    "IncrementalDropout",
    "IncrementalLSTM",
    "KLDivLoss",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "RNNCell",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Tanh",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "functional",
    "init",
    "utils",
    "variational_dropout",
]

if not TYPE_CHECKING:  # a checker would take every name for known
    __getattr__ = _for_module(__name__)
