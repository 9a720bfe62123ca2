"""Cross-entropy of logits, and of the output layer that makes them."""

from typing import Annotated, Any

import numpy as np

from kernels.contracts.checks import between, check_ids
from kernels.contracts.entry import Array, Fields, entry
from kernels.contracts.plan import int64, integers


def targets_are_classes(function: str, logits: Array, targets: Array, ignore_index: int, *others: Any) -> None:
    """Every target on the host is a column of logits or ignore_index. Raises IndexError."""
    if isinstance(targets, np.ndarray):
        check_ids(function, "targets", targets[targets != ignore_index], logits.shape[1], "V")


def targets_are_rows(
    function: str, x: Array, weight: Array, bias: Array | None, targets: Array, ignore_index: int, *others: Any
) -> None:
    """Every target on the host is a row of weight or ignore_index. Raises IndexError."""
    targets_are_classes(function, weight.T, targets, ignore_index)


def known_reduction(function: str, name: str, value: Any, sizes: Any) -> None:
    """One that losses have. Raises ValueError."""
    if value not in ("sum", "mean"):
        raise ValueError(f"{function}: {name} is {value!r}; expected 'sum' or 'mean'")


def some_rows(function: str, name: str, weight: Array, sizes: Any) -> None:
    """There is a row to choose. Raises ValueError."""
    if not len(weight):
        raise ValueError(f"{function}: {name} has shape {weight.shape}; expected V >= 1 rows")


@entry(targets_are_classes)
def cross_entropy_forward(
    logits: Annotated[Array, "M V"],
    targets: Annotated[Array, "M", integers],
    ignore_index: int = -100,
    label_smoothing: Annotated[float, between(0.0, 1.0)] = 0.0,
) -> tuple[Annotated[Array, "M"], Any]:
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


@entry()
def cross_entropy_backward(
    dlosses: Annotated[Array, "M"],
    cache: Annotated[Any, Fields(logits="M V")],
) -> Annotated[Array, "M V"]:
    """Gradient of `cross_entropy_forward`.

    Args:
        dlosses: (M,) gradient with respect to losses.
        cache: of the forward call.

    Returns:
        (M, V) gradient with respect to logits, zero on ignored rows; a new array.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """


@entry(targets_are_rows)
def linear_cross_entropy_forward(
    x: Annotated[Array, "M H"],
    weight: Annotated[Array, "V H"],
    bias: Annotated[Array | None, "V"],
    targets: Annotated[Array, "M", integers],
    ignore_index: int = -100,
    label_smoothing: Annotated[float, between(0.0, 1.0)] = 0.0,
    reduction: Annotated[str, known_reduction] = "sum",
    bf16: bool = False,
    need_gradients: bool = True,
) -> tuple[Annotated[Array, ""], Any]:
    """The loss of an output layer in nats, without storing its logits. Equations: `kernels.reference.output_layer`.

    Args:
        x: (M, H) float32 or float64, what the layer is given.
        weight: (V, H), dtype of x.
        bias: (V,), likewise, or None for no bias.
        targets: (M,) integers, each in 0..V-1 or equal to ignore_index.
        ignore_index: a row with this target has loss and gradient zero, and costs no product.
        label_smoothing: as in `cross_entropy_forward`.
        reduction: "sum" over all rows, or "mean" over those that are not ignored, NaN if there is none.
        bf16: products of bfloat16-rounded operands, summed in float32, here and in the backward; softmax and loss are
            float32. float64 ignores it.
        need_gradients: compute the gradients along with the loss, where each logit is at hand. Without it a backward
            is possible, but repeats the work of the forward.

    Returns:
        loss: 0-d array, dtype of x; rows are added up in float64.
        cache: for `linear_cross_entropy_backward`; it refers to the arguments, which must stay unchanged until then.

    Raises:
        TypeError, ValueError: a dtype, a shape, eps out of [0, 1], another reduction; IndexError: a target out of
            0..V-1, which it names.
    """


@entry()
def linear_cross_entropy_backward(
    dloss: Annotated[Array, ""],
    cache: Annotated[Any, Fields(x="M H")],
) -> tuple[Annotated[Array, "M H"], Annotated[Array, "V H"], Annotated[Array | None, "V"]]:
    """Gradients of `linear_cross_entropy_forward`.

    Args:
        dloss: 0-d, gradient with respect to loss.
        cache: of the forward call.

    Returns:
        Gradients with respect to x (M, H), zero on ignored rows; weight (V, H); bias (V,), or None where the forward
        had none. New arrays that nobody else holds.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """


@entry()
def linear_argmax(
    x: Annotated[Array, "M H"],
    weight: Annotated[Array, "V H", some_rows],
    bias: Annotated[Array | None, "V"],
    bf16: bool = False,
) -> Annotated[Array, "M", int64]:
    """The likeliest word of each row of an output layer, without storing its logits.

    Args:
        x: (M, H) float32 or float64.
        weight: (V, H), dtype of x, V at least 1.
        bias: (V,), likewise, or None for no bias.
        bf16: as in `linear_forward`.

    Returns:
        (M,) int64, the argmax of each row of x W^T + b: the first of equal ones; a NaN counts as the largest.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
