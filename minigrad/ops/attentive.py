"""Recurrent layers that attend to a memory at every step (kernels.attentive_forward), and Cho's GRU, which is such a
layer with nothing to attend to."""

from __future__ import annotations

from typing import Any

import numpy as np

import kernels
from kernels import AttentiveState, AttentiveWeights
from kernels.packing import Packing
from minigrad.arguments import Operand
from minigrad.autocast import bf16_enabled
from minigrad.function import Context, Function
from minigrad.ops.common import tensor_of
from minigrad.ops.fused import shared_with
from minigrad.ops.op import CASES, op
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, normal
from minigrad.ops.packed import packed, packing_of, padded, turned
from minigrad.tensor import Tensor

Array = np.ndarray


class AttentiveLayer(Function):
    """One attentive layer over packed rows (kernels.attentive_forward); weight_ih holds that of the context behind that
    of the input"""

    fresh_grads = True

    @staticmethod
    def forward(
        ctx: Context, x: Array, h0: Array, context0: Array, c0: Any, coverage0: Any, keys: Array, values: Array,
        w_ih: Array, w_hh: Array, b_ih: Any, b_hh: Any, w_query: Any, v: Any, w_coverage: Any, lengths: Array,
        packing: Packing, cell: str, scale: float,
    ) -> tuple:  # fmt: skip
        size = x.shape[1]
        weights = AttentiveWeights(w_ih[:, :size], w_ih[:, size:], w_hh, b_ih, b_hh, w_query, v, w_coverage)
        *outputs, state, ctx.cache = kernels.attentive_forward(
            x, AttentiveState(h0, context0, c0, coverage0), weights, keys, values, lengths, packing, cell, scale,
            bf16_enabled(),
        )  # fmt: skip
        ctx.has = [part is not None for part in state]
        ctx.save_for_backward(w_ih, w_hh, w_query, v, w_coverage, keys, values, *shared_with(ctx.cache.x, x), *outputs)
        return (*outputs, *(part for part in state if part is not None))

    @staticmethod
    def backward(
        ctx: Context, dy: Array | None, dcontext: Array | None, dalignment: Array | None, *dlast: Any
    ) -> tuple:
        given = iter(dlast)
        dstate = AttentiveState(*(next(given) if has else None for has in ctx.has))
        found = kernels.attentive_backward(dy, dcontext, dalignment, dstate, ctx.cache)
        dx, first, (dinput, dread, dhidden, *others), dkeys, dvalues = found
        dw_ih = np.concatenate([dinput, dread], axis=1)
        return dx, *first, dkeys, dvalues, dw_ih, dhidden, *others, None, None, None, None


@op(is_method=False)
def attentive_layer(
    x: Tensor, h0: Tensor, context0: Tensor, keys: Tensor, values: Tensor, memory_lengths: Operand, weight_ih: Tensor,
    weight_hh: Tensor, bias_ih: Tensor | None = None, bias_hh: Tensor | None = None,
    weight_query: Tensor | None = None, v: Tensor | None = None, coverage_weight: Tensor | None = None,
    c0: Tensor | None = None, coverage0: Tensor | None = None, *, cell: str = "lstm", scale: float = 1.0,
    lengths: Any = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """One recurrent layer whose cell reads, beside x (T,N,I), the context that the step before attended to.

    h_t = cell([x_t; context_(t-1)], h_(t-1)), with the parameters of an ``nn.LSTMCell`` or ``nn.GRUCell`` of I + D
    inputs; then context_t and alignment_t are those of ``attention`` with the query weight_query (A,H) h_t, or h_t
    itself. ``cell`` is "lstm", which needs ``c0``, "gru", or "cho-gru", whose reset gate acts before the recurrent
    product (Cho et al., 2014). h0, c0 (N,H), context0 (N,D), keys (S,N,A), values (S,N,D), memory_lengths (N,); with
    coverage ``coverage0`` (N,S) and ``coverage_weight`` (A,), as in ``attention``.

    Returns y (T,N,H), context (T,N,D), alignment (T,N,S), then the last h and context, of an LSTM c, and with coverage
    the coverage. ``lengths`` as in ``lstm_layer``: with them x may be packed, and so are the first three results.
    """
    packing = packing_of("attentive_layer", x, lengths)
    counts = kernels.to_host(tensor_of(memory_lengths).array)
    if weight_ih.shape[1:] != (x.shape[-1] + values.shape[-1],):
        raise ValueError(
            f"attentive_layer: weight_ih has shape {weight_ih.shape}; expected (G, I + D) with I + D = "
            f"{x.shape[-1] + values.shape[-1]} from x {x.shape} and values {values.shape}"
        )
    y, context, alignment, *last = AttentiveLayer.apply(
        packed(x, packing), h0, context0, c0, coverage0, keys, values, weight_ih, weight_hh, bias_ih, bias_hh,
        weight_query, v, coverage_weight, counts, packing, cell, float(scale),
    )  # fmt: skip
    return *(padded(part, packing, x) for part in (y, context, alignment)), *last


@op(is_method=False)
def cho_gru_layer(
    x: Tensor, h0: Tensor, weight_ih: Tensor, weight_hh: Tensor,
    bias_ih: Tensor | None = None, bias_hh: Tensor | None = None, lengths: Any = None, reverse: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """``gru_layer`` with the reset gate before the recurrent product (Cho et al., 2014): n = tanh(W x + U (r * h) + b).

    x (T,N,I), h0 (N,H), weights (3H,I) (3H,H), biases (3H,), of which the sum counts -> y (T,N,H), h_n (N,H).
    ``lengths`` and ``reverse`` as in ``lstm_layer``.
    """
    packing, (N, H) = packing_of("cho_gru_layer", x, lengths), h0.shape
    nothing = [Tensor(np.empty(shape, x.dtype, like=x.array)) for shape in ((N, 0), (0, N, H), (0, N, 0))]
    context, keys, values = nothing
    rows = packed(x, packing)
    rows = turned(rows, packing) if reverse else rows  # since layers that attend walk forwards alone
    y, _, _, h_n, _ = AttentiveLayer.apply(
        rows, h0, context, None, None, keys, values, weight_ih, weight_hh, bias_ih, bias_hh, None, None,
        None, np.zeros(N, np.int64), packing, "cho-gru", 1.0,
    )  # fmt: skip
    return padded(turned(y, packing) if reverse else y, packing, x), h_n


# --- rows of the op table ---------------------------------------------------------------------------------------------
def _sample(cell: str, additive: bool, covered: bool) -> Any:
    """All arguments by name, the Tensors in the order of ``_names``."""

    def sample(rng: Rng, dims: Dims) -> Sample:
        (T, N, H), S = (dims[0], dims[1], max(dims[2], 1)), 3
        I, D, A, G = H + 1, 2, 4 if additive else H, (4 if cell == "lstm" else 3) * H  # noqa: E741
        shapes = {"x": (T, N, I), "h0": (N, H), "context0": (N, D), "keys": (S, N, A), "values": (S, N, D)}
        shapes |= {"weight_ih": (G, I + D), "weight_hh": (G, H), "bias_ih": (G,), "bias_hh": (G,)}
        shapes |= {"weight_query": (A, H), "v": (A,)} if additive else {}
        shapes |= {"coverage_weight": (A,), "coverage0": (N, S)} if covered else {}
        shapes |= {"c0": (N, H)} if cell == "lstm" else {}
        lengths = rng.integers(0, T + 1, N) if rng.integers(3) else None
        options = {"names": tuple(shapes), "memory_lengths": rng.integers(0, S + 1, N), "cell": cell}
        return Sample(tuple(normal(rng, shape) for shape in shapes.values()), options | {"lengths": lengths})

    return sample


def _by_name(*tensors: Tensor, names: tuple[str, ...], **options: Any) -> tuple[Tensor, ...]:
    return attentive_layer(**options, **dict[str, Any](zip(names, tensors, strict=True)))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _one_cell(cell: str, x: Array, h: Array, c: Any, p: dict[str, Array]) -> tuple[Array, Any]:
    """One row: x (I+D,), h and c (H,)."""
    size, a, U, b = len(h), p["weight_ih"] @ x + p["bias_ih"], p["weight_hh"], p["bias_hh"]
    if cell == "lstm":
        i, f, g, o = np.split(a + U @ h + b, 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        return _sigmoid(o) * np.tanh(c), c
    r, z = np.split(_sigmoid((a + U @ h + b)[: 2 * size]), 2)
    U, b = U[2 * size :], b[2 * size :]
    n = np.tanh(a[2 * size :] + (U @ (r * h) + b if cell == "cho-gru" else r * (U @ h + b)))
    return (1 - z) * n + z * h, c


def _oracle(
    *arrays: Array, names: tuple[str, ...], memory_lengths: Array, cell: str, lengths: Array | None
) -> tuple[Array, ...]:
    """Row by row, step by step."""
    p = dict(zip(names, arrays, strict=True))
    (T, N, _), (S, _, D), (_, H) = p["x"].shape, p["values"].shape, p["h0"].shape
    y, context, alignment = (np.zeros((T, N, width), p["x"].dtype) for width in (H, D, S))
    last = {name: p[f"{name}0"].copy() for name in ("h", "context", "c", "coverage") if f"{name}0" in p}
    for n in range(N):
        some, row = slice(int(memory_lengths[n])), {name: state[n] for name, state in last.items()}
        keys, values = p["keys"][some, n], p["values"][some, n]
        for t in range(T if lengths is None else int(lengths[n])):
            x = np.concatenate([p["x"][t, n], row["context"]])
            h, c = _one_cell(cell, x, row["h"], row.get("c"), p)
            covered = np.outer(row["coverage"][some], p["coverage_weight"]) if "coverage" in row else 0
            scores = np.tanh(p["weight_query"] @ h + keys + covered) @ p["v"] if "v" in p else keys @ h
            exps = np.exp(scores - scores.max(initial=-np.inf))
            y[t, n], alignment[t, n, some] = h, exps / exps.sum() if len(exps) else exps
            context[t, n] = alignment[t, n, some] @ values
            for name, value in (("h", h), ("context", context[t, n]), ("c", c)):
                if name in row:
                    row[name][:] = value
            if "coverage" in row:
                row["coverage"] += alignment[t, n]
    return y, context, alignment, *last.values()


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


def _call(**replaced: Any) -> Any:
    """A call with T = 4, N = 2, I = 1, H = 3, S = 5, D = 6, some of its arguments replaced."""
    arguments: dict[str, Any] = {"x": _zeros(4, 2, 1), "h0": _zeros(2, 3), "context0": _zeros(2, 6), "c0": _zeros(2, 3)}
    arguments |= {"keys": _zeros(5, 2, 3), "values": _zeros(5, 2, 6), "memory_lengths": np.array([5, 0])}
    return lambda: attentive_layer(**arguments | {"weight_ih": _zeros(12, 7), "weight_hh": _zeros(12, 3)} | replaced)


_ERRORS = tuple(
    ErrorCase(_call(**change), ValueError, text)
    for change, text in (
        ({"weight_ih": _zeros(12, 6)}, r"weight_ih has shape \(12, 6\); expected \(G, I \+ D\) with I \+ D = 7"),
        ({"cell": "rnn"}, "cell is 'rnn'; expected lstm, gru, cho-gru"),
        ({"cell": "gru"}, r"expected \(3H, H\) for a cell gru"),
        ({"c0": None}, "state.c is not given; a cell lstm has one"),
        ({"keys": _zeros(5, 2, 4)}, r"keys has shape \(5, 2, 4\); expected A = H = 3"),
        ({"memory_lengths": np.array([5, 6])}, "lengths holds 6"),
    )
)

CASES.extend(
    OpCase(f"attentive_layer[{name}]", _by_name, _oracle, _sample(*variant), errors=errors)
    for name, variant, errors in (
        ("lstm", ("lstm", False, False), _ERRORS),
        ("gru, additive", ("gru", True, False), ()),
        ("cho-gru, coverage", ("cho-gru", True, True), ()),
    )
)


def _cho_sample(rng: Rng, dims: Dims) -> Sample:
    T, N, H = dims[0], dims[1], max(dims[2], 1)
    shapes = (T, N, H + 1), (N, H), (3 * H, H + 1), (3 * H, H), (3 * H,), (3 * H,)
    lengths = rng.integers(0, T + 1, N) if rng.integers(3) else None
    given = {"lengths": lengths, "reverse": bool(rng.integers(2))}
    return Sample(tuple(normal(rng, shape) for shape in shapes), given)


def _cho_oracle(x: Array, h0: Array, *weights: Array, lengths: Array | None, reverse: bool) -> tuple[Array, Array]:
    p = dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True))
    y, last = np.zeros((*x.shape[:2], h0.shape[1]), x.dtype), h0.copy()
    for n in range(len(h0)):
        steps = range(len(x) if lengths is None else int(lengths[n]))
        for t in reversed(steps) if reverse else steps:
            y[t, n] = last[n] = _one_cell("cho-gru", x[t, n], last[n], None, p)[0]
    return y, last


def _cho_op(x: Tensor, h0: Tensor, *weights: Tensor, lengths: Array | None, reverse: bool) -> tuple[Tensor, Tensor]:
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    return cho_gru_layer(x, h0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, reverse)


_CHO_ERROR = ErrorCase(
    lambda: cho_gru_layer(_zeros(4, 3), _zeros(4, 2), _zeros(6, 3), _zeros(6, 2)), ValueError, "x is packed"
)
CASES.append(OpCase("cho_gru_layer", _cho_op, _cho_oracle, _cho_sample, errors=(_CHO_ERROR,)))
