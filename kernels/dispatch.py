"""The public entries: check the arguments, make them contiguous, and call the backend their array type names.

The docstrings here are the contract of every backend. Checks look at shapes and dtypes, and at the values of index
arrays.
"""

import math
from types import ModuleType
from typing import Any

import numpy as np

from kernels.checks import (
    check_dtypes,
    check_ids,
    check_integer,
    check_output_gradients,
    check_range,
    check_rank,
    check_recurrent,
    check_shape,
    check_stream,
)


def backend_for(*arrays: Any, **named: Any) -> ModuleType:
    """The backend module for these arrays; None is skipped. Keyword names serve the error messages.

    Returns:
        `kernels.cpu` for NumPy arrays, and when no array is given.

    Raises:
        TypeError: an argument that is no array, or two array types in one call.
        NotImplementedError: CuPy arrays, whose kernels are not part of this version.
    """
    if all(array is None or type(array) is np.ndarray for array in (*arrays, *named.values())):
        from kernels import cpu

        return cpu
    arguments = {f"argument {position}": array for position, array in enumerate(arrays)} | named
    raise _backend_error({name: array for name, array in arguments.items() if array is not None})


def _backend_error(arguments: dict[str, Any]) -> Exception:
    """The error for arguments that are not all NumPy arrays."""
    types = {name: f"{type(a).__module__.split('.')[0]}.{type(a).__name__}" for name, a in arguments.items()}
    for name, found in types.items():
        if found not in ("numpy.ndarray", "cupy.ndarray"):
            return TypeError(f"{name} is a {found}; expected a NumPy array")
    (first_name, first), *others = types.items()
    for name, found in others:
        if found != first:
            return TypeError(f"{first_name} is a {first} but {name} is a {found}; expected one array type in a call")
    return NotImplementedError(f"{first_name} is a {first}; the CUDA kernels are not part of this version")


def _contiguous(array: Any) -> Any:
    """The array itself where it is C-contiguous, else a copy; None stays None."""
    return array if array is None or array.flags.c_contiguous else array.copy(order="C")


def lstm_forward(
    x: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias: np.ndarray | None,
    lengths: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """One LSTM layer over a padded batch. Equations: `kernels.reference.lstm`.

    Args:
        x: (T, N, I) float32 or float64; what lies past a row's length is never used. T and N may be 0.
        h0: (N, H) initial hidden state, dtype of x.
        c0: (N, H) initial cell state, dtype of x.
        weight_ih: (4H, I), blocks i, f, g, o, dtype of x.
        weight_hh: (4H, H), likewise.
        bias: (4H,), likewise, or None for no bias.
        lengths: (N,) integers in 0..T, tokens of each row, or None where every row has T.

    Returns:
        y: (T, N, H) hidden states, zero past a row's length. May share memory with the cache.
        h_n: (N, H) hidden state after the last real token; h0 where the length is 0.
        c_n: (N, H) cell state, likewise.
        cache: for `lstm_backward`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, or a length out of 0..T.
    """
    name = "lstm_forward"
    backend = backend_for(
        x=x, h0=h0, c0=c0, weight_ih=weight_ih, weight_hh=weight_hh, bias=bias, lengths=lengths
    )  # fmt: skip
    check_dtypes(name, x=x, h0=h0, c0=c0, weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)
    check_recurrent(name, 4, x, h0, weight_ih, weight_hh, {"bias": bias}, lengths)
    check_shape(name, "c0", c0, h0.shape, "(N, hidden_size)", h0=h0.shape)
    arrays = (_contiguous(array) for array in (x, h0, c0, weight_ih, weight_hh, bias))
    return backend.lstm_forward(*arrays, lengths)


def lstm_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, dc_n: np.ndarray | None, cache: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Gradients of one LSTM layer.

    Args:
        dy: (T, N, H) gradient of the loss with respect to y, or None for zero; ignored past a row's length.
        dh_n: (N, H) gradient with respect to h_n, or None for zero.
        dc_n: (N, H) gradient with respect to c_n, or None for zero.
        cache: of the `lstm_forward` call.

    Returns:
        Gradients with respect to x (T, N, I), zero past a row's length; h0 (N, H); c0 (N, H); weight_ih (4H, I);
        weight_hh (4H, H); bias (4H,), or None where the forward had no bias.

    Raises:
        TypeError, ValueError: a gradient of another dtype or shape than its output.
    """
    name = "lstm_backward"
    backend = backend_for(dy=dy, dh_n=dh_n, dc_n=dc_n, gates=cache.gates)
    check_dtypes(name, cache=cache.gates, dy=dy, dh_n=dh_n, dc_n=dc_n)
    check_output_gradients(name, cache.output_shape, dy, {"dh_n": dh_n, "dc_n": dc_n})
    return backend.lstm_backward(_contiguous(dy), _contiguous(dh_n), _contiguous(dc_n), cache)


def gru_forward(
    x: np.ndarray,
    h0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None,
    bias_hh: np.ndarray | None,
    lengths: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, Any]:
    """One GRU layer over a padded batch. Equations: `kernels.reference.gru`.

    Args:
        x: (T, N, I) float32 or float64; what lies past a row's length is never used. T and N may be 0.
        h0: (N, H) initial hidden state, dtype of x.
        weight_ih: (3H, I), blocks r, z, n, dtype of x.
        weight_hh: (3H, H), likewise.
        bias_ih: (3H,), likewise, or None together with bias_hh.
        bias_hh: (3H,), likewise; its n block lies inside the reset gate's product.
        lengths: (N,) integers in 0..T, tokens of each row, or None where every row has T.

    Returns:
        y: (T, N, H) hidden states, zero past a row's length. May share memory with the cache.
        h_n: (N, H) hidden state after the last real token; h0 where the length is 0.
        cache: for `gru_backward`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, one bias without the other, a length out of 0..T.
    """
    name = "gru_forward"
    backend = backend_for(
        x=x, h0=h0, weight_ih=weight_ih, weight_hh=weight_hh, bias_ih=bias_ih, bias_hh=bias_hh, lengths=lengths
    )  # fmt: skip
    check_dtypes(name, x=x, h0=h0, weight_ih=weight_ih, weight_hh=weight_hh, bias_ih=bias_ih, bias_hh=bias_hh)
    if (bias_ih is None) != (bias_hh is None):
        missing = "bias_ih" if bias_ih is None else "bias_hh"
        raise ValueError(f"{name}: {missing} is None but the other bias is not; expected both arrays or both None")
    check_recurrent(name, 3, x, h0, weight_ih, weight_hh, {"bias_ih": bias_ih, "bias_hh": bias_hh}, lengths)
    arrays = (_contiguous(array) for array in (x, h0, weight_ih, weight_hh, bias_ih, bias_hh))
    return backend.gru_forward(*arrays, lengths)


def gru_backward(
    dy: np.ndarray | None, dh_n: np.ndarray | None, cache: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Gradients of one GRU layer.

    Args:
        dy: (T, N, H) gradient of the loss with respect to y, or None for zero; ignored past a row's length.
        dh_n: (N, H) gradient with respect to h_n, or None for zero.
        cache: of the `gru_forward` call.

    Returns:
        Gradients with respect to x (T, N, I), zero past a row's length; h0 (N, H); weight_ih (3H, I); weight_hh (3H,
        H); bias_ih (3H,) and bias_hh (3H,), or None where the forward had no biases.

    Raises:
        TypeError, ValueError: a gradient of another dtype or shape than its output.
    """
    name = "gru_backward"
    backend = backend_for(dy=dy, dh_n=dh_n, gates=cache.gates)
    check_dtypes(name, cache=cache.gates, dy=dy, dh_n=dh_n)
    check_output_gradients(name, cache.output_shape, dy, {"dh_n": dh_n})
    return backend.gru_backward(_contiguous(dy), _contiguous(dh_n), cache)


def embedding_forward(weight: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows of a table.

    Args:
        weight: (V, E) float32 or float64.
        ids: integers of any shape, each in 0..V-1.

    Returns:
        (*ids.shape, E), weight[ids].

    Raises:
        TypeError: a dtype; ValueError: weight is not (V, E); IndexError: an id out of 0..V-1, which it names.
    """
    name = "embedding_forward"
    backend = backend_for(weight=weight, ids=ids)
    check_dtypes(name, weight=weight)
    check_integer(name, "ids", ids)
    check_rank(name, "weight", weight, 2, "(V, E)")
    check_ids(name, "ids", ids, weight.shape[0], "V")
    return backend.embedding_forward(_contiguous(weight), _contiguous(ids))


def embedding_backward(
    dy: np.ndarray, ids: np.ndarray, padding_idx: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Row-wise gradient of `embedding_forward` with respect to weight; all other rows are zero.

    Args:
        dy: (*ids.shape, E) gradient with respect to the output.
        ids: integers, the ids of the forward.
        padding_idx: a row that gets no gradient, or None.

    Returns:
        rows: (R,) int64, the distinct ids in ascending order, without padding_idx.
        values: (R, E) the gradient of each of these rows, summed in the order of ids.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
    name = "embedding_backward"
    backend = backend_for(dy=dy, ids=ids)
    check_dtypes(name, dy=dy)
    check_integer(name, "ids", ids)
    check_rank(name, "dy", dy, ids.ndim + 1, "(*ids.shape, E)")
    check_shape(name, "dy", dy, (*ids.shape, dy.shape[-1]), "(*ids.shape, E)", ids=ids.shape)
    return backend.embedding_backward(_contiguous(dy), _contiguous(ids), padding_idx)


def cross_entropy_forward(
    logits: np.ndarray, targets: np.ndarray, ignore_index: int = -100, label_smoothing: float = 0.0
) -> tuple[np.ndarray, Any]:
    """Cross-entropy of each row in nats. Equations: `kernels.reference.cross_entropy`.

    Args:
        logits: (M, V) float32 or float64, unnormalised; large magnitudes are safe.
        targets: (M,) integers, each in 0..V-1 or equal to ignore_index.
        ignore_index: a row with this target has loss and gradient zero.
        label_smoothing: eps in [0, 1], the share of the target distribution spread evenly over all V classes.

    Returns:
        losses: (M,), dtype of logits.
        cache: for `cross_entropy_backward`; it refers to logits, which must stay unchanged until then.

    Raises:
        TypeError, ValueError: a dtype, a shape, eps out of [0, 1]; IndexError: a target out of 0..V-1, which it names.
    """
    name = "cross_entropy_forward"
    backend = backend_for(logits=logits, targets=targets)
    check_dtypes(name, logits=logits)
    check_integer(name, "targets", targets)
    check_rank(name, "logits", logits, 2, "(M, V)")
    check_shape(name, "targets", targets, logits.shape[:1], "(M,)", logits=logits.shape)
    check_ids(name, "targets", targets[targets != ignore_index], logits.shape[1], "V")
    check_range(name, "label_smoothing", label_smoothing, 0.0, 1.0)
    return backend.cross_entropy_forward(_contiguous(logits), _contiguous(targets), ignore_index, label_smoothing)


def cross_entropy_backward(dlosses: np.ndarray, cache: Any) -> np.ndarray:
    """Gradient of `cross_entropy_forward`.

    Args:
        dlosses: (M,) gradient with respect to losses.
        cache: of the forward call.

    Returns:
        (M, V) gradient with respect to logits, zero on ignored rows; a new array.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
    name = "cross_entropy_backward"
    backend = backend_for(dlosses=dlosses, logits=cache.logits)
    check_dtypes(name, cache=cache.logits, dlosses=dlosses)
    check_shape(name, "dlosses", dlosses, cache.logits.shape[:1], "(M,)", logits=cache.logits.shape)
    return backend.cross_entropy_backward(_contiguous(dlosses), cache)


def dropout(x: np.ndarray, p: float, seed: int, step: int, site: int) -> np.ndarray:
    """Inverted dropout, x * mask / (1 - p). Linear in x: the backward is the same call on dy.

    Args:
        x: floating array of any shape, up to 2**34 elements.
        p: probability in [0, 1] that an element is dropped; 1 drops all.
        seed: the run's seed, 0..2**64-1.
        step: the optimiser step, 0..2**64-1.
        site: the place in the model, 0..2**32-1. Equal (seed, step, site) give equal masks, on every backend.

    Returns:
        Array of the shape and dtype of x. An element is kept iff its word of `random_bits` is >= floor(p * 2**32).

    Raises:
        TypeError, ValueError: a dtype, or a number out of its range.
    """
    name = "dropout"
    backend = backend_for(x=x)
    check_dtypes(name, x=x)
    check_range(name, "p", p, 0.0, 1.0)
    check_stream(name, x.size, seed, step, site)
    return backend.dropout(_contiguous(x), p, seed, step, site)


def random_bits(count: int, seed: int, step: int, site: int) -> np.ndarray:
    """Words of the Philox4x32-10 stream named (seed, step, site). Definition: `kernels.reference.random`.

    Args:
        count: number of words, 0..2**34.
        seed: 0..2**64-1.
        step: 0..2**64-1.
        site: 0..2**32-1.

    Returns:
        (count,) uint32, uniform.

    Raises:
        ValueError: a number out of its range.
    """
    check_stream("random_bits", count, seed, step, site)
    return backend_for().random_bits(count, seed, step, site)


def adam_step(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """One Adam (decoupled False: weight decay enters the gradient) or AdamW (True) update of param, m and v in place.

    Args:
        param: array of any shape, updated.
        grad: same shape and dtype, the gradient with respect to param.
        m: same shape and dtype, running mean of the gradient, updated; zeros before step 1.
        v: same shape and dtype, running mean of its square, updated; zeros before step 1.
        step: number of this update, from 1.
        lr: learning rate.
        beta1: decay of m, in [0, 1).
        beta2: decay of v, in [0, 1).
        eps: added to the bias-corrected square root.
        weight_decay: coefficient of the decay.
        decoupled: see above.

    Raises:
        TypeError, ValueError: a dtype, a shape, or a number out of its range.
    """
    name = "adam_step"
    backend = backend_for(param=param, grad=grad, m=m, v=v)
    check_dtypes(name, param=param, grad=grad, m=m, v=v)
    for array_name, array in (("grad", grad), ("m", m), ("v", v)):
        check_shape(name, array_name, array, param.shape, "param.shape", param=param.shape)
    check_range(name, "step", step, 1, math.inf)
    for beta_name, beta in (("beta1", beta1), ("beta2", beta2)):
        check_range(name, beta_name, beta, 0.0, math.nextafter(1.0, 0.0))
    updated = [(array, _contiguous(array)) for array in (param, m, v)]
    work_param, work_m, work_v = (work for _, work in updated)
    backend.adam_step(
        work_param, _contiguous(grad), work_m, work_v, step, lr, beta1, beta2, eps, weight_decay, decoupled
    )  # fmt: skip
    for array, work in updated:
        if work is not array:
            array[...] = work


def sum_of_squares(x: np.ndarray) -> float:
    """Sum of the squares of all elements, accumulated in float64 in a fixed order.

    Args:
        x: floating array of any shape.

    Returns:
        A Python float; 0.0 for an empty array.

    Raises:
        TypeError: a dtype.
    """
    backend = backend_for(x=x)
    check_dtypes("sum_of_squares", x=x)
    return backend.sum_of_squares(_contiguous(x))
