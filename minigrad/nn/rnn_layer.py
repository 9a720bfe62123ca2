"""One layer of Elman's plain recurrent network, composed on the tape step by step.

It has no gates, and no fused kernel: it is here for the programs that compare it with LSTM and GRU.
T time, N batch, I input, H hidden. Source: Elman, "Finding structure in time" (1990).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad import ops
from minigrad.ops.common import constant
from minigrad.tensor import Tensor

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": ops.tanh, "relu": ops.relu}


def rnn_layer(
    nonlinearity: str,
    x: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    lengths: np.ndarray | None,
) -> tuple[Tensor, Tensor]:
    """h_t = nonlinearity(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh).

    Args:
        nonlinearity: a key of ``NONLINEARITIES``.
        x: (T, N, I).
        h0: (N, H).
        weight_ih, weight_hh: (H, I), (H, H).
        bias_ih, bias_hh: (H,) each, or both None.
        lengths: (N,) real steps of each sequence, None for T everywhere.

    Returns:
        y (T, N, H), zero past the length; h_n (N, H), the state after the last real step.
    """
    activation = NONLINEARITIES[nonlinearity]
    from_input, h, outputs = ops.linear(x, weight_ih, bias_ih), h0, []
    for t in range(x.shape[0]):
        y = activation(from_input[t] + ops.linear(h, weight_hh, bias_hh))
        if lengths is None:
            h = y
        else:
            running = constant((lengths > t)[:, None], h)
            h, y = ops.where(running, y, h), ops.where(running, y, 0)
        outputs.append(y)
    return ops.stack(outputs), h
