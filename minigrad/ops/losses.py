"""Cross-entropy of logits, and of an output layer whose logits are never stored (``kernels/reference``)."""

from __future__ import annotations

import numpy as np

import kernels
from minigrad.autocast import bf16_enabled
from minigrad.device import two_devices
from minigrad.function import Context, Function
from minigrad.naming import described
from minigrad.ops.common import tensor_of
from minigrad.ops.op import op
from minigrad.tensor import Tensor

Array = np.ndarray


class CrossEntropy(Function):
    """-log softmax(logits)[target] per row (kernels.cross_entropy_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(ctx: Context, logits: Array, targets: Array, ignore_index: int, label_smoothing: float) -> Array:
        losses, ctx.cache = kernels.cross_entropy_forward(logits, targets, ignore_index, label_smoothing)
        ctx.save_for_backward(logits)
        return losses

    @staticmethod
    def backward(ctx: Context, dlosses: Array) -> tuple:
        return kernels.cross_entropy_backward(dlosses, ctx.cache), None, None, None


class LinearCrossEntropy(Function):
    """The reduced cross-entropy of x @ weight^T + bias (kernels.linear_cross_entropy_forward)"""

    fresh_grads = True

    @staticmethod
    def forward(
        ctx: Context, x: Array, weight: Array, bias: Array | None, targets: Array, ignore_index: int,
        label_smoothing: float, reduction: str,
    ) -> Array:  # fmt: skip
        needed = any(ctx.needs_input_grad)
        loss, ctx.cache = kernels.linear_cross_entropy_forward(
            x, weight, bias, targets, ignore_index, label_smoothing, reduction, bf16_enabled(), need_gradients=needed
        )
        ctx.save_for_backward(x, weight, bias)  # not read: the cache shares their memory
        return loss

    @staticmethod
    def backward(ctx: Context, dloss: Array) -> tuple:
        return (*kernels.linear_cross_entropy_backward(dloss, ctx.cache), None, None, None, None)


@op(is_method=False)
def cross_entropy(logits: Tensor, targets: Tensor, ignore_index: int = -100, label_smoothing: float = 0.0) -> Tensor:
    """Losses (M,) of logits (M,V) against targets (M,) int64; zero where the target is ``ignore_index``.

    With ``label_smoothing`` e the target distribution is (1 - e) one-hot + e / V (Szegedy et al., 2016).
    """
    return CrossEntropy.apply(logits, _ids(targets, logits), ignore_index, label_smoothing)


@op(is_method=False)
def linear_cross_entropy(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, ignore_index: int = -100,
    label_smoothing: float = 0.0, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The sum or mean, a 0-d Tensor, of ``cross_entropy(linear(x, weight, bias), targets)``: the logits are not stored.

    x (M,H), weight (V,H), bias (V,) or None, targets (M,) int64. The gradients are computed along with the value.
    """
    if not isinstance(reduction, str):
        raise ValueError(f"linear_cross_entropy: reduction is {described(reduction)}; expected 'sum' or 'mean'")
    ids = _ids(targets, x)
    return LinearCrossEntropy.apply(x, weight, bias, ids, ignore_index, label_smoothing, reduction)


def _ids(targets: Tensor, x: Tensor) -> Array:
    """The targets as they are now, for the backward; they have to lie where ``x`` lies."""
    targets = tensor_of(targets)
    if targets.is_cuda != x.is_cuda:
        raise two_devices("cross_entropy", x.device, targets.device)
    return targets.array.copy()


@op(is_method=False)
def linear_argmax(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``linear(x, weight, bias).argmax(-1)``, int64, without storing the logits: x (M,H), weight (V,H) -> (M,)."""
    arrays = (x.array, weight.array, None if bias is None else bias.array)
    return Tensor(kernels.linear_argmax(*arrays, bf16_enabled()))
