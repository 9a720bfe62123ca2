"""LSTM and GRU layers over whole sequences."""

import math
from typing import Annotated, Any

import numpy as np

from kernels.contracts.checks import between, check_range, check_shape
from kernels.contracts.entry import Array, Fields, entry

LSTMCache = Annotated[Any, Fields(c="*")]
LSTMRun = Annotated[Any, Fields(**{"cache.c": "*"})]
GRUCache = Annotated[Any, Fields(gates="*")]


def check_sequence(function: str, x: Array, h0: Array, input_size: int, lengths: Any) -> None:
    """x is padded (T, N, I), or packed (P, I) and has as many tokens as lengths say. Raises TypeError, ValueError."""
    if x.ndim not in (2, 3):
        raise ValueError(f"{function}: x has shape {x.shape}; expected 3 dimensions (T, N, I)")
    if x.ndim == 2 and lengths is None:
        raise ValueError(f"{function}: lengths is None; expected (N,) integers, since x is packed, {x.shape}")
    if lengths is not None:
        check_lengths(function, lengths, math.inf if x.ndim == 2 else len(x), len(h0))
    if x.ndim == 2:
        check_shape(function, "x", x, (int(lengths.sum()), input_size), "(P, I)", lengths=lengths.shape)
    else:
        check_shape(function, "x", x, (len(x), len(h0), input_size), "(T, N, I)", h0=h0.shape)


def check_lengths(function: str, lengths: Any, num_steps: float, batch_size: int) -> None:
    """lengths is an integer array (N,) with values 0..T. Raises TypeError or ValueError."""
    if not isinstance(lengths, np.ndarray):
        raise TypeError(f"{function}: lengths is a {type(lengths).__name__}; expected a NumPy array, on the host")
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{function}: lengths has dtype {lengths.dtype}; expected an integer dtype")
    if lengths.shape != (batch_size,):
        raise ValueError(f"{function}: lengths has shape {lengths.shape}; expected (N,) = ({batch_size},) from x")
    if batch_size and (lengths.min() < 0 or lengths.max() > num_steps):
        worst = int(lengths.min() if lengths.min() < 0 else lengths.max())
        raise ValueError(f"{function}: lengths holds {worst}; expected values in 0..T = 0..{num_steps} from x")


def lstm_sequence_fits(
    function: str, x: Array, h0: Array, c0: Array, weight_ih: Array, weight_hh: Array, bias: Any, lengths: Any, *_: Any
) -> None:
    """`check_sequence`."""
    check_sequence(function, x, h0, weight_ih.shape[1], lengths)


def gru_sequence_fits(
    function: str, x: Array, h0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Any, bias_hh: Any, lengths: Any,
    *_: Any,
) -> None:  # fmt: skip
    """`check_sequence`, and there are both biases or none."""
    check_sequence(function, x, h0, weight_ih.shape[1], lengths)
    if (bias_ih is None) != (bias_hh is None):
        missing = "bias_ih" if bias_ih is None else "bias_hh"
        raise ValueError(f"{function}: {missing} is None but the other bias is not; expected both arrays or both None")


def states_sequence_fits(function: str, x: Array, h0: Array, c0: Array, weights: Any, lengths: Any) -> None:
    """`check_sequence`."""
    check_sequence(function, x, h0, weights.input_size, lengths)


def lengths_fit(
    function: str, h0: Array, c0: Any, w: Any, v: Any, b: Any, num_steps: int, lengths: Any, *_: Any
) -> None:
    """`check_lengths`."""
    if lengths is not None:
        check_lengths(function, lengths, num_steps, len(h0))


def whole_steps(function: str, x: Array, start: int, run: Any) -> None:
    """x holds whole steps that are still to come. Raises ValueError."""
    packing, shape = run.cache.packing, run.cache.output_shape
    formula = "(., I)" if packing.given_packed else "(S, N, I)"
    if x.ndim != len(shape):
        raise ValueError(f"{function}: x has shape {x.shape}; expected {len(shape)} dimensions {formula}")
    check_shape(function, "x", x, (len(x), *shape[1:-1], run.cache.x.shape[-1]), formula, run=shape)
    check_range(function, "start", start, 0, packing.num_steps)
    if packing.stop(x, start) < 0:
        raise ValueError(f"{function}: x has shape {x.shape}; expected whole steps from {start} to {packing.num_steps}")


def fits_output(function: str, dy: Any, *values: Any) -> None:
    """Gradients have the shapes of what they are of. Raises ValueError."""
    *dstates, cache = (value for value in values if not isinstance(value, bool))
    shape = cache.output_shape
    if dy is not None:
        check_shape(function, "dy", dy, shape, "(T, N, H)" if len(shape) == 3 else "(P, H)", y=shape)
    for name, dstate in zip(("dh_n", "dc_n"), dstates, strict=False):
        if dstate is not None:
            check_shape(function, name, dstate, (cache.batch_size, shape[-1]), "(N, H)", y=shape)


@entry(lstm_sequence_fits)
def lstm_forward(
    x: Annotated[Array, "*"],
    h0: Annotated[Array, "N H"],
    c0: Annotated[Array, "N H"],
    weight_ih: Annotated[Array, "4H I"],
    weight_hh: Annotated[Array, "4H H"],
    bias: Annotated[Array | None, "4H"],
    lengths: Array | None = None,
    bf16: bool = False,
) -> tuple[Array, Array, Array, Any]:
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


@entry(lengths_fit)
def lstm_start(
    h0: Annotated[Array, "N H"],
    c0: Annotated[Array, "N H"],
    weight_ih: Annotated[Array, "4H I"],
    weight_hh: Annotated[Array, "4H H"],
    bias: Annotated[Array | None, "4H"],
    num_steps: Annotated[int, between(0)],
    lengths: Array | None = None,
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


@entry(whole_steps)
def lstm_continue(
    x: Annotated[Array, "*"],
    start: int,
    run: LSTMRun,
) -> Array:
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


@entry()
def lstm_finish(
    run: LSTMRun,
) -> tuple[Array, Array, Array, Any]:
    """End a layer after its last step: y, h_n, c_n and the cache, as from `lstm_forward`.

    Args:
        run: of `lstm_start`, all of whose steps are done.
    """


@entry()
def pack_lstm(
    weight_ih: Annotated[Array, "4H I"],
    weight_hh: Annotated[Array, "4H H"],
    bias: Annotated[Array | None, "4H"],
    bf16: bool = False,
) -> Any:
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


@entry(states_sequence_fits)
def lstm_states(
    x: Annotated[Array, "*"],
    h0: Annotated[Array, "N H"],
    c0: Annotated[Array, "N H"],
    weights: Annotated[Any, Fields(bias="4H")],
    lengths: Array | None = None,
) -> tuple[Array, Array, Array]:
    """`lstm_forward` with packed weights and without a backward: y, h_n and c_n, the same to the bit.

    Args:
        weights: of `pack_lstm`.
        others: as in `lstm_forward`, dtype of the weights.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, or a length out of 0..T.
    """


@entry(fits_output)
def lstm_backward(
    dy: Annotated[Array | None, "*"],
    dh_n: Annotated[Array | None, "*"],
    dc_n: Annotated[Array | None, "*"],
    cache: LSTMCache,
    consume: bool = False,
) -> tuple[Array, Array, Array, Array, Array, Array | None]:
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


@entry(gru_sequence_fits)
def gru_forward(
    x: Annotated[Array, "*"],
    h0: Annotated[Array, "N H"],
    weight_ih: Annotated[Array, "3H I"],
    weight_hh: Annotated[Array, "3H H"],
    bias_ih: Annotated[Array | None, "3H"],
    bias_hh: Annotated[Array | None, "3H"],
    lengths: Array | None = None,
    bf16: bool = False,
) -> tuple[Array, Array, Any]:
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


@entry(fits_output)
def gru_backward(
    dy: Annotated[Array | None, "*"],
    dh_n: Annotated[Array | None, "*"],
    cache: GRUCache,
) -> tuple[Array, Array, Array, Array, Array | None, Array | None]:
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
