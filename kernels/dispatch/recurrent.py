"""LSTM and GRU layers over whole sequences."""

import math
from typing import Any

import numpy as np

from kernels.checks import (
    check_dtypes,
    check_output_gradients,
    check_range,
    check_rank,
    check_recurrent,
    check_shape,
)
from kernels.dispatch.backend import backend_for, contiguous


def lstm_forward(
    x: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    lengths: np.ndarray | None = None,
    bf16: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """One LSTM layer over a batch of sequences. Equations: `kernels.reference.lstm`.

    Args:
        x: float32 or float64, padded (T, N, I): what lies past a row's length is never used, T and N may be 0. Or
            packed (P, I), the P real tokens step by step, in each step the longest row first, equally long ones in
            the order of the batch.
        h0: (N, H) initial hidden state, dtype of x.
        c0: (N, H) initial cell state, dtype of x.
        weight_ih: (4H, I), blocks i, f, g, o, dtype of x.
        weight_hh: (4H, H), likewise.
        bias: (4H,), likewise, or None for no bias.
        lengths: (N,) integers in 0..T on the host, tokens of each row, or None where every row has T; needed where x is
            packed.
        bf16: products of bfloat16-rounded operands, summed in float32, here and in the backward; float64 ignores it.

    Returns:
        y: (T, N, H) hidden states, zero past a row's length; (P, H) where x is packed. May share memory with the cache.
        h_n: (N, H) hidden state after the last real token; h0 where the length is 0.
        c_n: (N, H) cell state, likewise.
        cache: for `lstm_backward`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, or a length out of 0..T.
    """
    name = "lstm_forward"
    backend = backend_for(
        x=x, h0=h0, c0=c0, weight_ih=weight_ih, weight_hh=weight_hh, bias=bias
    )  # fmt: skip
    check_dtypes(name, x=x, h0=h0, c0=c0, weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)
    check_recurrent(name, 4, x, h0, weight_ih, weight_hh, {"bias": bias}, lengths)
    check_shape(name, "c0", c0, h0.shape, "(N, hidden_size)", h0=h0.shape)
    arrays = (contiguous(array) for array in (x, h0, c0, weight_ih, weight_hh, bias))
    return backend.lstm_forward(*arrays, lengths, bf16)


def lstm_start(
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    num_steps: int,
    lengths: np.ndarray | None = None,
    bf16: bool = False,
    packed: bool = False,
) -> Any:
    """Begin an LSTM layer whose input comes in pieces, each of which may depend on the output of those before.

    Args:
        num_steps: T, steps of all pieces together.
        packed: pieces come packed, and so do the results.
        others: as in `lstm_forward`.

    Returns:
        run: for `lstm_continue` and `lstm_finish`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, or a length out of 0..T.
    """
    name = "lstm_start"
    arrays = {"h0": h0, "c0": c0, "weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    backend = backend_for(**arrays)
    check_dtypes(name, **arrays)
    check_rank(name, "weight_ih", weight_ih, 2, "(4H, I)")
    check_range(name, "num_steps", num_steps, 0, math.inf)
    x = np.broadcast_to(h0.dtype.type(0), (num_steps, len(h0), weight_ih.shape[1]))  # the shape of what will come
    check_recurrent(name, 4, x, h0, weight_ih, weight_hh, {"bias": bias}, lengths)
    check_shape(name, "c0", c0, h0.shape, "(N, hidden_size)", h0=h0.shape)
    return backend.lstm_start(*map(contiguous, arrays.values()), num_steps, lengths, bf16, packed)


def lstm_continue(x: np.ndarray, start: int, run: Any) -> np.ndarray:
    """The next steps of a layer.

    Args:
        x: (S, N, I) input of steps start .. start + S - 1, dtype of the run; packed, the tokens of whole steps.
        start: number of steps done so far; pieces come in order, without gaps.
        run: of `lstm_start`, changed.

    Returns:
        y: (S, N, H) hidden states, zero past a row's length; packed as x is.

    Raises:
        TypeError, ValueError: another dtype or shape, or steps past the run's end.
    """
    name, cache, packing = "lstm_continue", run.cache, run.cache.packing
    backend = backend_for(x=x, c=cache.c)
    check_dtypes(name, run=cache.c, x=x)
    rest, formula = cache.output_shape[1:-1], "(., I)" if packing.given_packed else "(S, N, I)"
    check_rank(name, "x", x, len(cache.output_shape), formula)
    check_shape(name, "x", x, (len(x), *rest, cache.x.shape[-1]), formula, run=cache.output_shape)
    check_range(name, "start", start, 0, packing.num_steps)
    if packing.stop(x, start) < 0:
        raise ValueError(f"{name}: x has shape {x.shape}; expected whole steps from {start} to {packing.num_steps}")
    return backend.lstm_continue(contiguous(x), start, run)


def lstm_finish(run: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """End a layer after its last step: y, h_n, c_n and the cache, as from `lstm_forward`.

    Args:
        run: of `lstm_start`, all of whose steps are done.
    """
    return backend_for(c=run.cache.c).lstm_finish(run)


def pack_lstm(weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> Any:
    """A layer's weights in the order in which `lstm_states` reads them; a copy, made once for many calls.

    Args:
        weight_ih: (4H, I) float32 or float64, blocks i, f, g, o.
        weight_hh: (4H, H), likewise.
        bias: (4H,), likewise, or None for no bias.
        bf16: keep the matrices in bfloat16 and round what they are multiplied with; float64 ignores it.

    Returns:
        a named tuple that belongs to the backend, with `bias` (4H,) and `input_size`.

    Raises:
        TypeError, ValueError: a dtype or a shape.
    """
    name = "pack_lstm"
    arrays = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    backend = backend_for(**arrays)
    check_dtypes(name, **arrays)
    check_rank(name, "weight_ih", weight_ih, 2, "(4H, I)")
    check_rank(name, "weight_hh", weight_hh, 2, "(4H, H)")
    nothing = np.broadcast_to(weight_hh.dtype.type(0), (0, weight_ih.shape[1] + weight_hh.shape[1]))
    x, h0 = np.split(nothing[None], [weight_ih.shape[1]], axis=2)  # shapes that the weights must fit
    check_recurrent(name, 4, x, h0[0], weight_ih, weight_hh, {"bias": bias}, None)
    return backend.pack_lstm(*map(contiguous, arrays.values()), bool(bf16))


def lstm_states(
    x: np.ndarray, h0: np.ndarray, c0: np.ndarray, weights: Any, lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`lstm_forward` with packed weights and without a backward: y, h_n and c_n, the same to the bit.

    Args:
        weights: of `pack_lstm`.
        others: as in `lstm_forward`, dtype of the weights.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, or a length out of 0..T.
    """
    name = "lstm_states"
    backend = backend_for(x=x, h0=h0, c0=c0, bias=weights.bias)
    check_dtypes(name, weights=weights.bias, x=x, h0=h0, c0=c0)
    rows, size = len(weights.bias), len(weights.bias) // 4
    like = weights.bias[:1, None]
    weight_ih, weight_hh = (np.broadcast_to(like, (rows, columns)) for columns in (weights.input_size, size))
    check_recurrent(name, 4, x, h0, weight_ih, weight_hh, {}, lengths)
    check_shape(name, "c0", c0, h0.shape, "(N, hidden_size)", h0=h0.shape)
    return backend.lstm_states(*map(contiguous, (x, h0, c0)), weights, lengths)


def lstm_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, dc_n: np.ndarray | None, cache: Any, consume: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Gradients of one LSTM layer.

    Args:
        dy: of the shape of y, gradient of the loss with respect to it, or None for zero; ignored past a row's length.
        dh_n: (N, H) gradient with respect to h_n, or None for zero.
        dc_n: (N, H) gradient with respect to c_n, or None for zero.
        cache: of the `lstm_forward` call.
        consume: the cache may be overwritten, for it is not needed again; saves an array of the size of the gates.

    Returns:
        Gradients with respect to x, zero past a row's length; h0 (N, H); c0 (N, H); weight_ih (4H, I);
        weight_hh (4H, H); bias (4H,), or None where the forward had no bias.

    Raises:
        TypeError, ValueError: a gradient of another dtype or shape than its output.
    """
    name = "lstm_backward"
    backend = backend_for(dy=dy, dh_n=dh_n, dc_n=dc_n, c=cache.c)
    check_dtypes(name, cache=cache.c, dy=dy, dh_n=dh_n, dc_n=dc_n)
    check_output_gradients(name, cache, dy, {"dh_n": dh_n, "dc_n": dc_n})
    return backend.lstm_backward(contiguous(dy), contiguous(dh_n), contiguous(dc_n), cache, consume)


def gru_forward(
    x: np.ndarray,
    h0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None,
    bias_hh: np.ndarray | None,
    lengths: np.ndarray | None = None,
    bf16: bool = False,
) -> tuple[np.ndarray, np.ndarray, Any]:
    """One GRU layer over a batch of sequences. Equations: `kernels.reference.gru`.

    Args:
        x: float32 or float64, padded (T, N, I) or packed (P, I), as in `lstm_forward`.
        h0: (N, H) initial hidden state, dtype of x.
        weight_ih: (3H, I), blocks r, z, n, dtype of x.
        weight_hh: (3H, H), likewise.
        bias_ih: (3H,), likewise, or None together with bias_hh.
        bias_hh: (3H,), likewise; its n block lies inside the reset gate's product.
        lengths: (N,) integers in 0..T on the host, tokens of each row, or None where every row has T; needed where x is
            packed.
        bf16: products of bfloat16-rounded operands, summed in float32, here and in the backward; float64 ignores it.

    Returns:
        y: (T, N, H) hidden states, zero past a row's length; (P, H) where x is packed. May share memory with the cache.
        h_n: (N, H) hidden state after the last real token; h0 where the length is 0.
        cache: for `gru_backward`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, one bias without the other, a length out of 0..T.
    """
    name = "gru_forward"
    backend = backend_for(
        x=x, h0=h0, weight_ih=weight_ih, weight_hh=weight_hh, bias_ih=bias_ih, bias_hh=bias_hh
    )  # fmt: skip
    check_dtypes(name, x=x, h0=h0, weight_ih=weight_ih, weight_hh=weight_hh, bias_ih=bias_ih, bias_hh=bias_hh)
    if (bias_ih is None) != (bias_hh is None):
        missing = "bias_ih" if bias_ih is None else "bias_hh"
        raise ValueError(f"{name}: {missing} is None but the other bias is not; expected both arrays or both None")
    check_recurrent(name, 3, x, h0, weight_ih, weight_hh, {"bias_ih": bias_ih, "bias_hh": bias_hh}, lengths)
    arrays = (contiguous(array) for array in (x, h0, weight_ih, weight_hh, bias_ih, bias_hh))
    return backend.gru_forward(*arrays, lengths, bf16)


def gru_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, cache: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Gradients of one GRU layer.

    Args:
        dy: of the shape of y, gradient of the loss with respect to it, or None for zero; ignored past a row's length.
        dh_n: (N, H) gradient with respect to h_n, or None for zero.
        cache: of the `gru_forward` call.

    Returns:
        Gradients with respect to x, zero past a row's length; h0 (N, H); weight_ih (3H, I); weight_hh (3H,
        H); bias_ih (3H,) and bias_hh (3H,), or None where the forward had no biases.

    Raises:
        TypeError, ValueError: a gradient of another dtype or shape than its output.
    """
    name = "gru_backward"
    backend = backend_for(dy=dy, dh_n=dh_n, gates=cache.gates)
    check_dtypes(name, cache=cache.gates, dy=dy, dh_n=dh_n)
    check_output_gradients(name, cache, dy, {"dh_n": dh_n})
    return backend.gru_backward(contiguous(dy), contiguous(dh_n), cache)
