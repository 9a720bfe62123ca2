"""Losses: values by hand, and values with all gradients against PyTorch."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.nn.functional as F
from minigrad import nn

RNG = np.random.default_rng(0)
LOGITS = {(4, 5): (4,), (5,): (), (2, 3, 4): (2, 4), (2, 3, 2, 2): (2, 2, 2)}
REDUCTIONS = ["mean", "sum", "none"]


def classes_of(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) == 1 else shape[1]


def case(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Logits, class ids with one ignored id (2) where there are several, and class weights."""
    target = RNG.integers(0, 2, LOGITS[shape])
    if target.size > 1:
        target.flat[0] = 2
    return {"x": RNG.normal(0, 2, shape), "t": target, "w": RNG.uniform(0.5, 2, classes_of(shape))}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", LOGITS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_equals_torch(
    twins: Any, dtype: str, shape: tuple, reduction: str, smoothing: float, weighted: bool
) -> None:
    def run(lib: Any, _: Any, x: Any, t: Any, w: Any) -> Any:
        weight = w.detach() if weighted else None
        loss = lib.nn.CrossEntropyLoss(weight, ignore_index=2, reduction=reduction, label_smoothing=smoothing)
        return loss(x, t)

    twins.check(run, case(shape), dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", LOGITS)
@pytest.mark.parametrize("weighted", [False, True])
def test_nll_loss_equals_torch(twins: Any, dtype: str, shape: tuple, reduction: str, weighted: bool) -> None:
    def run(lib: Any, _: Any, x: Any, t: Any, w: Any) -> Any:
        loss = lib.nn.NLLLoss(w.detach() if weighted else None, ignore_index=2, reduction=reduction)
        return loss(lib.F.log_softmax(x, dim=0 if x.dim() == 1 else 1), t)

    twins.check(run, case(shape), dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", LOGITS)
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_distributions_equals_torch(
    twins: Any, dtype: str, shape: tuple, reduction: str, weighted: bool
) -> None:
    def run(lib: Any, _: Any, x: Any, p: Any, w: Any) -> Any:
        weight = w.detach() if weighted else None
        return lib.F.cross_entropy(x, p, weight, reduction=reduction, label_smoothing=0.2)

    inputs = {"x": RNG.normal(size=shape), "p": RNG.uniform(0, 1, shape), "w": RNG.uniform(0.5, 2, classes_of(shape))}
    twins.check(run, inputs, dtype)


@pytest.mark.parametrize("reduction", ["batchmean", *REDUCTIONS])
@pytest.mark.parametrize("log_target", [False, True])
def test_divergence_equals_torch(twins: Any, dtype: str, log_target: bool, reduction: str) -> None:
    def run(lib: Any, _: Any, x: Any, t: Any) -> Any:
        return lib.nn.KLDivLoss(reduction=reduction, log_target=log_target)(x, t)

    probabilities = RNG.uniform(0.1, 1, (3, 4))
    x, t = np.log(RNG.uniform(0.1, 1, (3, 4))), np.log(probabilities) if log_target else probabilities
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="reduction: 'mean' divides")
        twins.check(run, {"x": x, "t": t}, dtype)


def test_a_subclass_may_take_more() -> None:
    class Masked(nn.CrossEntropyLoss):
        def forward(self, input: Any, target: Any, lengths: list[int]) -> Any:
            self.reduction = "none"
            return super().forward(input, target)[: lengths[0]].sum()

    x, t = mg.tensor(RNG.normal(size=(3, 4))), mg.tensor([0, 1, 2])
    assert Masked()(x, t, [2]).item() == pytest.approx(F.cross_entropy(x[:2], t[:2], reduction="sum").item())
    assert nn.MSELoss()(input=x, target=x).item() == 0
    with pytest.raises(TypeError, match="MSELoss: target is 3; expected a tensor"):
        nn.MSELoss()(x, target=3)


def test_nothing_is_lost_where_the_target_is_zero() -> None:
    x = mg.tensor([-1.0, -2.0], requires_grad=True)
    loss = F.kl_div(x, mg.tensor([0.0, 1.0]), reduction="sum")
    loss.backward()
    assert loss.item() == pytest.approx(2)
    assert x.grad.tolist() == [0, -1]


def test_log_probabilities_for_probabilities_are_told_by_nan() -> None:
    x, t = mg.tensor([-1.0, -2.0, -0.5]), mg.tensor([-0.3, 0.2, 0.0])
    losses = F.kl_div(x, t, reduction="none").tolist()
    assert np.isnan(losses[0])
    assert not np.isnan(losses[1:]).any()
    assert np.isnan(F.kl_div(x, t, reduction="sum").item())


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SmoothL1Loss", {}),
        ("SmoothL1Loss", {"beta": 0.3}),
        ("SmoothL1Loss", {"beta": 0}),
        ("HuberLoss", {"delta": 0.7}),
    ],
)
def test_losses_that_change_at_a_distance_equal_torch(
    twins: Any, dtype: str, name: str, options: dict, reduction: str
) -> None:
    def run(lib: Any, _: Any, x: Any, t: Any) -> Any:
        return getattr(lib.nn, name)(reduction=reduction, **options)(x, t)

    twins.check(run, {"x": RNG.normal(size=(3, 4)), "t": RNG.normal(size=(3, 4))}, dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss"])
def test_regression_losses_equal_torch(twins: Any, dtype: str, name: str, reduction: str) -> None:
    def run(lib: Any, _: Any, x: Any, t: Any) -> Any:
        return getattr(lib.nn, name)(reduction=reduction)(x, t)

    x, t = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    t[0, 0] = x[0, 0]
    twins.check(run, {"x": x, "t": t}, dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("p", [[0.3, 0.9, 0.5, 1e-4], [0.0, 1.0, 0.0, 1.0]])
def test_bce_equals_torch_also_at_the_ends(twins: Any, dtype: str, reduction: str, weighted: bool, p: list) -> None:
    def run(lib: Any, _: Any, p: Any, t: Any, w: Any) -> Any:
        target = t if p.min().item() > 0 else t.detach()  # at the ends PyTorch's gradient of t is not the clamped one
        return lib.nn.BCELoss(w.detach() if weighted else None, reduction=reduction)(p, target)

    t = np.array([0.0, 1.0, 1.0, 0.0])
    twins.check(run, {"p": np.array(p), "t": t, "w": RNG.uniform(0.5, 2, 4)}, dtype)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_bce_with_logits_equals_torch(twins: Any, dtype: str, positive: bool, weighted: bool) -> None:
    def run(lib: Any, _: Any, x: Any, t: Any, w: Any, pos: Any) -> Any:
        weight, pos_weight = w.detach() if weighted else None, pos.detach() if positive else None
        return lib.nn.BCEWithLogitsLoss(weight, pos_weight=pos_weight, reduction="none")(x, t)

    x = np.concatenate([RNG.normal(0, 2, (3, 4)), [[0.0, 200.0, -200.0, 30.0]]])
    inputs = {"x": x, "t": RNG.uniform(0, 1, x.shape), "w": RNG.uniform(1, 2, x.shape), "pos": RNG.uniform(1, 3, 4)}
    twins.check(run, inputs, dtype)


def test_bce_with_logits_keeps_digits_of_very_negative_logits() -> None:
    x = mg.tensor([-30.0], requires_grad=True)
    F.binary_cross_entropy_with_logits(x, mg.zeros(1)).backward()
    assert x.grad.item() == pytest.approx(math.exp(-30), rel=0.1, abs=1e-9)


def test_cross_entropy_by_hand() -> None:
    logits = mg.tensor([[0.0, math.log(3.0)], [5.0, 5.0], [9.0, 1.0]], requires_grad=True)
    loss = nn.CrossEntropyLoss(ignore_index=0)(logits, mg.tensor([1, 1, 0]))
    loss.backward()
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    np.testing.assert_allclose(logits.grad.numpy(), [[0.125, -0.125], [0.25, -0.25], [0.0, 0.0]], atol=1e-7)


def test_weighted_mean_by_hand() -> None:
    log_probs = mg.tensor([[-1.0, -2.0], [-3.0, -5.0]], requires_grad=True)
    loss = nn.NLLLoss(mg.tensor([1.0, 3.0]))(log_probs, mg.tensor([1, 0]))
    loss.backward()
    assert loss.item() == pytest.approx((3 * 2 + 1 * 3) / 4)
    np.testing.assert_allclose(log_probs.grad.numpy(), [[0.0, -0.75], [-0.25, 0.0]])


def test_elementwise_losses_by_hand() -> None:
    x, t = mg.tensor([1.0, 4.0]), mg.tensor([3.0, 3.0])
    assert F.mse_loss(x, t).item() == pytest.approx(2.5)
    assert F.l1_loss(x, t, reduction="sum").item() == pytest.approx(3.0)
    p = mg.tensor([0.5, 0.0], requires_grad=True)
    losses = F.binary_cross_entropy(p, mg.tensor([1.0, 1.0]), reduction="none")
    np.testing.assert_allclose(losses.detach().numpy(), [math.log(2), 100.0], rtol=1e-6)
    losses.sum().backward()
    np.testing.assert_allclose(p.grad.numpy(), [-2.0, -1e12], rtol=1e-6)


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_mean_over_nothing_is_nan(weight: Any) -> None:
    weight = None if weight is None else mg.tensor(weight)
    assert math.isnan(F.cross_entropy(mg.zeros(2, 3), mg.tensor([-100, -100]), weight).item())


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_bad_class_targets(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"target has shape \(3,\); expected \(2,\)"):
        loss(mg.zeros(2, 3), mg.zeros(3, dtype=mg.long))
    with pytest.raises(IndexError, match="3"):
        loss(mg.zeros(2, 3), mg.tensor([1, 3]))
    with pytest.raises(TypeError, match="integer class ids"):
        loss(mg.zeros(2, 3), mg.zeros(2))
    with pytest.raises(ValueError, match="'average' is not a valid value for reduction"):
        loss(mg.zeros(2, 3), mg.tensor([1, 1]), reduction="average")


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="label_smoothing is 2"):
        F.cross_entropy(mg.zeros(2, 3), mg.tensor([1, 1]), label_smoothing=2)
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        F.binary_cross_entropy(mg.full((2,), 1.5), mg.zeros(2))
    with pytest.raises(ValueError, match=r"target has shape \(2,\); expected \(2, 3\)"):
        F.binary_cross_entropy(mg.zeros(2, 3), mg.zeros(2))
    with pytest.raises(ValueError, match="reduction"):
        nn.MSELoss(reduction="average")
    with pytest.warns(UserWarning, match="broadcast"):
        F.mse_loss(mg.zeros(2, 3), mg.zeros(2, 1))


INTEGER_TARGETS = [mg.tensor([1, 0]), mg.tensor([1, 0], dtype=mg.uint8), mg.tensor([True, False])]


@pytest.mark.parametrize("target", INTEGER_TARGETS, ids=lambda t: str(t.dtype))
def test_binary_losses_refuse_integer_targets_as_torch_does(target: Any) -> None:
    x = mg.tensor([0.2, 0.7])
    with pytest.raises(
        RuntimeError, match=r"with_logits: target has dtype \w+; expected a floating dtype, as float\(\)"
    ):
        nn.BCEWithLogitsLoss()(x, target)
    with pytest.raises(RuntimeError, match=r"binary_cross_entropy: target has dtype \w+; expected float32 as input"):
        nn.BCELoss()(x, target)
    for loss in (nn.BCEWithLogitsLoss(), nn.BCELoss()):
        assert loss(x, target.float()).dtype == np.float32
        with pytest.raises(RuntimeError, match="input has dtype int64; expected a floating dtype"):
            loss(mg.tensor([1, 0]), target.float())


MIXED = {
    "mse of integers": lambda t, F, x: F.mse_loss(x, t.tensor([1, 0])),
    "l1 of integers": lambda t, F, x: F.l1_loss(x, t.tensor([1, 0])),
    "logits of float64": lambda t, F, x: F.binary_cross_entropy_with_logits(x.double(), t.tensor([1.0, 0.0])),
    "target of float64": lambda t, F, x: F.binary_cross_entropy_with_logits(x, t.tensor([1.0, 0.0]).double()),
    "weight of float64": lambda t, F, x: F.binary_cross_entropy_with_logits(
        x, t.tensor([1.0, 0.0]), t.tensor([1.0, 2.0]).double()
    ),
    "pos_weight of integers": lambda t, F, x: F.binary_cross_entropy_with_logits(
        x, t.tensor([1.0, 0.0]), pos_weight=t.tensor([1, 2])
    ),
    "a mask as weight": lambda t, F, x: F.binary_cross_entropy(x, t.tensor([1.0, 0.0]), t.tensor([True, False])),
}


@pytest.mark.parametrize("name", MIXED)
def test_the_dtype_of_mixed_losses_equals_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for t, functional in ((mg, F), (torch, torch.nn.functional)):
        x = t.tensor([0.2, 0.7], requires_grad=True)
        loss = MIXED[name](t, functional, x)
        loss.backward()
        results.append((np.asarray(loss.detach().numpy()), np.asarray(x.grad.numpy())))
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_class_losses_refuse_what_does_not_fit(loss: Any) -> None:
    x, ids = mg.zeros(2, 3), mg.tensor([0, 1])
    with pytest.raises(RuntimeError, match=r"weight has shape \(2,\) and dtype float32; expected \(3,\) and float32"):
        loss(x, ids, mg.ones(2))
    with pytest.raises(RuntimeError, match=r"weight has shape \(3,\) and dtype int64; expected \(3,\) and float32"):
        loss(x, ids, mg.ones(3, dtype=mg.int64))
    with pytest.raises(RuntimeError, match="input has dtype int64; expected a floating dtype"):
        loss(x.long(), ids)
    with pytest.raises(TypeError, match="target has dtype bool; expected integer class ids"):
        loss(x, ids > 0)
    with pytest.raises(TypeError, match="ignore_index is None; expected an integer"):
        loss(x, ids, ignore_index=None)


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss"])
@pytest.mark.parametrize("wrong", [[0.1, 0.2], None, 0.5, np.zeros(2)], ids=["list", "None", "number", "array"])
def test_losses_take_tensors(name: str, wrong: Any) -> None:
    loss = getattr(nn, name)()
    with pytest.raises(TypeError, match=r"^\w+: input is .*; expected a tensor$"):
        loss(wrong, mg.zeros(2))
    with pytest.raises(TypeError, match=r"^\w+: target is .*; expected a tensor$"):
        loss(mg.zeros(2), wrong)
