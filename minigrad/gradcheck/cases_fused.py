"""Op table, matrix products and the fused ops that wrap a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import reference
from minigrad import ops, random
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, broadcastable, normal
from minigrad.tensor import Tensor

Array = np.ndarray


# --- samples ----------------------------------------------------------------------------------------------------------
def factors(rng: Rng, dims: Dims) -> Sample:
    """Matrices, vectors, and stacks of matrices of which either broadcasts over the other."""
    n, k, m = dims
    stack = (2, 3)
    pairs = [
        ((n, k), (k, m)),
        ((k,), (k, m)),
        ((n, k), (k,)),
        ((k,), (k,)),
        ((*broadcastable(rng, stack), n, k), (*stack, k, m)),
        ((*stack, n, k), (*broadcastable(rng, stack), k, m)),
        ((*stack, n, k), (k,)),
    ]
    left, right = pairs[int(rng.integers(len(pairs)))]
    return Sample((normal(rng, left), normal(rng, right)))


def batched_factors(rng: Rng, dims: Dims) -> Sample:
    n, k, m = dims
    return Sample((normal(rng, (2, n, k)), normal(rng, (2, k, m))))


def affine(rng: Rng, dims: Dims) -> Sample:
    """x of 1 to 3 dimensions, weight (out, in), and a bias or none."""
    n, inputs, outputs = dims
    x = normal(rng, [(inputs,), (n, inputs), (2, n, inputs)][int(rng.integers(3))])
    bias = (normal(rng, (outputs,)),) if rng.integers(2) else ()
    return Sample((x, normal(rng, (outputs, inputs)), *bias))


def recurrent(num_states: int, num_gates: int) -> Any:
    """A layer of T steps, N rows, H units, I = H + 1 inputs; non-zero states; biases and lengths or none."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        T, N, H = dims[0], dims[1], max(dims[2], 1)
        states = [normal(rng, (N, H)) for _ in range(num_states)]
        weights = [normal(rng, (num_gates * H, H + 1)), normal(rng, (num_gates * H, H))]
        biases = [normal(rng, (num_gates * H,)) for _ in range(2)] if rng.integers(4) else []
        lengths = rng.integers(0, T + 1, N) if rng.integers(3) else None
        options = {"lengths": lengths, "reverse": bool(rng.integers(2))}
        return Sample((normal(rng, (T, N, H + 1)), *states, *weights, *biases), options)

    return sample


def rows_of_a_table(rng: Rng, dims: Dims) -> Sample:
    """Repeated and missing ids."""
    a, b, vocab_size = dims
    return Sample((normal(rng, (vocab_size + 1, 3)), rng.integers(0, vocab_size + 1, (a, b))))


def dropped(rng: Rng, dims: Dims) -> Sample:
    return Sample((normal(rng, dims),), {"p": float(rng.choice([0.0, 0.3, 0.9])), "seed": int(rng.integers(2**40))})


# --- ops and oracles in the table's calling convention ----------------------------------------------------------------
def _linear_oracle(x: Array, weight: Array, bias: Array | None = None) -> Array:
    return x @ weight.T if bias is None else x @ weight.T + bias


def _recurrent_op(op: Any, num_states: int) -> Any:
    def call(*tensors: Tensor, **options: Any) -> Any:
        biases = tensors[num_states + 3 :] or (None, None)
        return op(*tensors[: num_states + 3], *biases, **options)

    return call


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _lstm_cell(x: Array, states: list[Array], weights: tuple[Array, Array], biases: Any) -> list[Array]:
    h, c = states
    i, f, g, o = np.split(x @ weights[0].T + h @ weights[1].T + sum(biases), 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return [_sigmoid(o) * np.tanh(c), c]


def _gru_cell(x: Array, states: list[Array], weights: tuple[Array, Array], biases: Any) -> list[Array]:
    (h,) = states
    bias_ih, bias_hh = biases or (x.dtype.type(0), x.dtype.type(0))
    (ri, zi, ni), (rh, zh, nh) = (
        np.split(x @ weights[0].T + bias_ih, 3, axis=1),
        np.split(h @ weights[1].T + bias_hh, 3, axis=1),
    )
    z = _sigmoid(zi + zh)
    return [(1 - z) * np.tanh(ni + _sigmoid(ri + rh) * nh) + z * h]


def _recurrent_oracle(cell: Any, num_states: int) -> Any:
    """The cell step by step over all rows, in either direction; a row keeps its state, and gives zero, from its length
    on."""

    def oracle(x: Array, *arrays: Array, lengths: Array | None, reverse: bool) -> tuple[Array, ...]:
        states = list(arrays[:num_states])
        weights, biases = arrays[num_states : num_states + 2], arrays[num_states + 2 :]
        y = np.zeros((*x.shape[:2], states[0].shape[1]), x.dtype)
        for t in range(len(x))[:: -1 if reverse else 1]:
            alive = np.ones((x.shape[1], 1), bool) if lengths is None else (lengths > t)[:, None]
            new = cell(x[t], states, weights, biases)
            states = [np.where(alive, n, s) for n, s in zip(new, states, strict=True)]
            y[t] = np.where(alive, states[0], 0)
        return y, *states

    return oracle


def _rows_alone(weight: Tensor, ids: Tensor) -> Tensor:
    return ops.embedding(weight, ids, None, True)


def _dropout(x: Tensor, p: float, seed: int) -> Tensor:
    """Dropout with the first key of step 3 of ``seed``; the stream is left where it was."""
    state = random.get_state()
    random.seed_step(seed, 3)
    result = ops.dropout(x, p)
    random.set_state(state)
    return result


def _dropout_oracle(x: Array, p: float, seed: int) -> Array:
    return reference.dropout(x, p, seed, 3, 0)


# --- errors -----------------------------------------------------------------------------------------------------------
def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


def _layer(op: Any, num_states: int, num_gates: int, **replaced: Any) -> Any:
    """A call of a layer with I = 3, H = 2, T = 4, N = 5, some of its arguments replaced."""
    states = {"h0": _zeros(5, 2), "c0": _zeros(5, 2)} if num_states == 2 else {"h0": _zeros(5, 2)}
    arguments = {"x": _zeros(4, 5, 3), **states}
    arguments |= {"weight_ih": _zeros(num_gates * 2, 3), "weight_hh": _zeros(num_gates * 2, 2)}
    arguments |= {"bias_ih": None, "bias_hh": None, "lengths": None} | replaced
    return lambda: op(*arguments.values())


def _layer_errors(op: Any, num_states: int, num_gates: int) -> tuple[ErrorCase, ...]:
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"x": _zeros(4, 3)}, ValueError, r"lengths is None; .* x is packed, \(4, 3\)"),
        ({"h0": _zeros(4, 2)}, ValueError, r"h0 has shape \(4, 2\)|x has shape \(4, 5, 3\)"),
        ({"weight_ih": _zeros(num_gates * 2, 4)}, ValueError, r"weight_ih has shape \(\d, 4\)"),
        ({"weight_hh": _zeros(7, 2)}, ValueError, r"weight_hh has shape \(7, 2\)"),
        ({"bias_ih": _zeros(7), "bias_hh": _zeros(7)}, ValueError, r"bias\w* has shape \(7,\)"),
        ({"lengths": np.array([1, 2, 3, 4, 5])}, ValueError, "lengths holds 5; expected values in 0..T"),
        ({"lengths": np.array([1, 2])}, ValueError, r"lengths has shape \(2,\)"),
    ]
    return tuple(ErrorCase(_layer(op, num_states, num_gates, **r), error, match) for r, error, match in wrong)


CASES = [
    OpCase(
        "matmul",
        ops.matmul,
        np.matmul,
        factors,
        errors=(ErrorCase(lambda: ops.matmul(_zeros(2, 3), _zeros(4, 5)), RuntimeError, r"\(2, 3\).*\(4, 5\)"),),
    ),
    OpCase(
        "bmm",
        ops.bmm,
        np.matmul,
        batched_factors,
        errors=(ErrorCase(lambda: ops.bmm(_zeros(2, 3), _zeros(3, 2)), RuntimeError, r"bmm.*\(2, 3\)"),),
    ),
    OpCase(
        "linear",
        ops.linear,
        _linear_oracle,
        affine,
        errors=(ErrorCase(lambda: ops.linear(_zeros(2, 3), _zeros(5, 4), None), RuntimeError, r"weight.*\(5, 4\)"),),
    ),
    OpCase(
        "lstm_layer",
        _recurrent_op(ops.lstm_layer, 2),
        _recurrent_oracle(_lstm_cell, 2),
        recurrent(2, 4),
        errors=_layer_errors(ops.lstm_layer, 2, 4),
    ),
    OpCase(
        "gru_layer",
        _recurrent_op(ops.gru_layer, 1),
        _recurrent_oracle(_gru_cell, 1),
        recurrent(1, 3),
        errors=_layer_errors(ops.gru_layer, 1, 3),
    ),
    OpCase(
        "embedding",
        ops.embedding,
        lambda weight, ids: weight[ids],
        rows_of_a_table,
        errors=(ErrorCase(lambda: ops.embedding(_zeros(4, 2), Tensor(np.array([1, 4]))), IndexError, "ids holds 4"),),
    ),
    OpCase(
        "embedding[sparse]",
        _rows_alone,
        lambda weight, ids: weight[ids],
        rows_of_a_table,
        errors=(ErrorCase(lambda: _rows_alone(_zeros(4, 2), Tensor(np.array([-1]))), IndexError, "ids holds -1"),),
    ),
    OpCase(
        "dropout",
        _dropout,
        _dropout_oracle,
        dropped,
        errors=(ErrorCase(lambda: ops.dropout(_zeros(2), 1.5), ValueError, "p is 1.5"),),
    ),
]
