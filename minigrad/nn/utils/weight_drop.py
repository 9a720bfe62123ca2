"""DropConnect on recurrent weights.

Sources: Wan et al., "Regularization of neural networks using DropConnect" (2013); Merity, Keskar and Socher,
"Regularizing and optimizing LSTM language models" (2018), section 2: the weight-dropped LSTM.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minigrad import ops

if TYPE_CHECKING:
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
