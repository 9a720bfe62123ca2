"""minigrad: a small deep-learning engine whose every gradient is written by hand.

PyTorch's names, defaults and semantics: code in the style of its tutorials runs after ``import minigrad as torch``.
``Tensor`` and the tape are in ``tensor``, ``function`` and ``autograd``; operations in ``ops``; layers in ``nn``;
``gradcheck`` compares any gradient with finite differences.
"""

import typing as _typing

import kernels as _kernels

if not getattr(_kernels, "__minigrad_kernels__", False):
    raise ImportError(
        f"minigrad needs its own package 'kernels', but found another one at {_kernels.__file__}; "
        "install minigrad-seq2seq into an environment without the distribution 'kernels'"
    )

from minigrad import tensor as _tensor_module  # noqa: I001  (first: ops build on Tensor)
from kernels import compiled_marker, get_num_threads, set_num_threads
from minigrad import methods as _methods
from minigrad import autograd, backends, cuda, nn, optim, random, utils
from minigrad.allocator import keep_freed_memory
from minigrad.autocast import autocast, bfloat16
from minigrad.grad_mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from minigrad.creation import (
    BoolTensor,
    ByteTensor,
    DoubleTensor,
    FloatTensor,
    IntTensor,
    LongTensor,
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    is_tensor,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from minigrad.device import device
from minigrad.dtypes import (
    bool_,
    double,
    finfo,
    float16,
    float32,
    float64,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    short,
    uint8,
)
from minigrad.dtypes import bool_ as bool
from minigrad.dtypes import float32 as float
from minigrad.dtypes import int32 as int
from minigrad.function import Function
from minigrad.gradcheck import gradcheck
from minigrad.ops import *  # noqa: F403
from minigrad.random import Generator, default_generator, initial_seed, manual_seed, seed
from minigrad.serialization import load, save
from minigrad.missing import for_module as _for_module
from minigrad.missing import install_finder as _install_finder
from minigrad.tensor import Tensor

Size = tuple  # a shape is a plain tuple

__version__ = "0.1.0"

_install_finder()
if not _typing.TYPE_CHECKING:  # where names that are not here would count as known
    __getattr__ = _for_module(__name__)
