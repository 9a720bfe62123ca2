"""Layer normalisation over the last dimensions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import kernels
from minigrad.function import Context, Function
from minigrad.ops.fused import shared_with
from minigrad.ops.op import CASES, op
from minigrad.ops.op_case import Dims, ErrorCase, OpCase, Rng, Sample, normal
from minigrad.ops.reduce import require_floating
from minigrad.tensor import Tensor

Array = np.ndarray


class LayerNorm(Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dimensions (kernels.layer_norm_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, shape: tuple[int, ...], weight: Any, bias: Any, eps: float) -> Array:
        rows = x.reshape(math.prod(x.shape[: x.ndim - len(shape)]), math.prod(shape))
        scale, shift = (None if array is None else array.reshape(-1) for array in (weight, bias))
        y, ctx.cache = kernels.layer_norm_forward(rows, scale, shift, eps)
        ctx.save_for_backward(*shared_with(ctx.cache.x, x), *([] if weight is None else [weight]))
        ctx.shape = shape
        return y.reshape(x.shape)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        dx, dweight, dbias = kernels.layer_norm_backward(grad.reshape(ctx.cache.x.shape), ctx.cache)
        dscale, dshift = (None if array is None else array.reshape(ctx.shape) for array in (dweight, dbias))
        return dx.reshape(grad.shape), None, dscale, dshift, None


def _sample(rng: Rng, dims: Dims) -> Sample:
    """Over one or two dimensions; weight and bias, weight alone, or neither."""
    shape = dims[1:] if rng.integers(2) else dims[2:]
    parameters = [normal(rng, shape) for _ in range(int(rng.integers(3)))]
    return Sample((normal(rng, dims), *parameters), {"normalized_shape": shape, "eps": 0.1})


def _call(x: Tensor, *parameters: Tensor, normalized_shape: Any, eps: float) -> Tensor:
    weight, bias = (*parameters, None, None)[:2]
    return layer_norm(x, normalized_shape, weight, bias, eps)


def _oracle(x: Array, *parameters: Array, normalized_shape: Any, eps: float) -> Array:
    if not x.size:
        return x
    axes = tuple(range(-len(normalized_shape), 0))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + x.dtype.type(eps))
    y = y * parameters[0] if parameters else y
    return y + parameters[1] if len(parameters) > 1 else y


def _zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


@op(is_method=False)
def layer_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...] | list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over the last dimensions, times ``weight`` plus ``bias``.

    ``normalized_shape``: the sizes of these dimensions, which ``weight`` and ``bias`` have too. RuntimeError where
    shapes do not fit.
    """
    shape = tuple(normalized_shape)
    require_floating("layer_norm", input)
    if not shape or input.shape[input.ndim - min(len(shape), input.ndim) :] != shape:
        raise RuntimeError(
            f"layer_norm: normalized_shape is {shape}; expected the last sizes of input, whose shape is {input.shape}"
        )
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.shape != shape:
            raise RuntimeError(f"layer_norm: {name} has shape {parameter.shape}; expected normalized_shape = {shape}")
    return LayerNorm.apply(input, shape, weight, bias, eps)


CASES.append(
    OpCase(
        "layer_norm",
        _call,
        _oracle,
        _sample,
        errors=(
            ErrorCase(lambda: layer_norm(_zeros(2, 3), (2,)), RuntimeError, r"\(2,\); expected the last sizes"),
            ErrorCase(lambda: layer_norm(_zeros(3), (2, 3)), RuntimeError, r"\(2, 3\); .* shape is \(3,\)"),
            ErrorCase(lambda: layer_norm(_zeros(2, 3), (3,), _zeros(2)), RuntimeError, r"weight has shape \(2,\)"),
            ErrorCase(lambda: layer_norm(_zeros(2, 3), (3,), eps=-1.0), ValueError, "eps is -1.0"),
        ),
    )
)
