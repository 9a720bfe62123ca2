"""Weights that are zeroed for a while: DropConnect on recurrent ones, and whole rows of an embedding.

Sources: Wan et al., "Regularization of neural networks using DropConnect" (2013); Merity, Keskar and Socher,
"Regularizing and optimizing LSTM language models" (2018), sections 2 and 4.3; Gal and Ghahramani, "A theoretically
grounded application of dropout in recurrent neural networks" (2016), section 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minigrad import creation, ops

if TYPE_CHECKING:
    from minigrad.nn.layers import Embedding
    from minigrad.nn.module import Module


@contextmanager
def weight_drop(module: Module, p: float, prefix: str = "weight_hh") -> Iterator[None]:
    """``with weight_drop(model, 0.5):`` elements of the recurrent weights are zeroed with probability ``p``, the others
    scaled by 1 / (1 - p).

    Each matrix has one mask, drawn at the start: it is the same for all steps and all sequences, and whatever kernel
    reads the weights reads the masked ones. Gradients arrive at the parameters.

    Args:
        module: with all that is in it.
        p: probability, from 0 to 1.
        prefix: of the names of the parameters, as of weight_hh_l0 and weight_hh_l0_reverse.

    Raises:
        ValueError: ``p`` is no probability.
    """
    found = [
        (owner.__dict__["_parameters"], name, weight)
        for owner in module.modules()
        for name, weight in owner._parameters.items()
        if weight is not None and name.startswith(prefix)
    ]
    try:
        for parameters, name, weight in found:
            parameters[name] = ops.dropout(weight, p)
        yield
    finally:
        for parameters, name, weight in found:
            parameters[name] = weight


@contextmanager
def embedding_drop(embedding: Embedding, p: float) -> Iterator[None]:
    """``with embedding_drop(table, 0.1):`` some ids have a vector of zeros, wherever they stand, each with probability
    ``p``; the vectors of the others are scaled by 1 / (1 - p).

    Gradients arrive at the parameter, by rows where they do so without it.

    Args:
        embedding: of V ids; one number is drawn for each of them, at the start.
        p: probability, from 0 to 1.

    Raises:
        ValueError: ``p`` is no probability.
    """
    weight = embedding.weight
    ones = creation.ones(weight.shape[0], 1, dtype=weight.dtype, device=creation.device_like(weight))
    embedding.row_factors = ops.dropout(ones, p)
    try:
        yield
    finally:
        embedding.row_factors = None
