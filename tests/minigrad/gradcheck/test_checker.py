"""The checker must fail on wrong gradients: every way a backward goes wrong in practice is written down here once."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import autograd, ops
from minigrad.function import Function
from minigrad.gradcheck import GradcheckError, gradcheck
from minigrad.tensor import Tensor

rng = np.random.default_rng(0)


def leaf(*shape: int) -> Tensor:
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def product(change):
    """y = a @ b whose correct gradients (da, db) are handed to ``change``; what it returns is the gradient."""

    class Product(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        def backward(ctx, grad):
            a, b = ctx.saved
            return change(grad @ b.T, a.T @ grad)

    return Product.apply


def with_entry_off(da, db):
    db = db.copy()
    db[1, 2] += 1e-3
    return da, db


def with_block_transposed(da, db):
    da = da.copy()
    da[:2, :2] = da[:2, :2].T.copy()
    return da, db


WRONG = {
    "factor 2.001": lambda da, db: (da * 2.001, db),
    "factor 1.00001": lambda da, db: (da, db * 1.00001),
    "zero": lambda da, db: (np.zeros_like(da), db),
    "sign": lambda da, db: (da, -db),
    "swapped pair": lambda da, db: (db, da),
    "transposed": lambda da, db: (da.T, db),
    "transposed block": with_block_transposed,
    "rolled rows": lambda da, db: (np.roll(da, 1, axis=0), db),
    "missing": lambda da, db: (None, db),
    "both missing": lambda da, db: (None, None),
    "one entry": with_entry_off,
    "not a number": lambda da, db: (np.full_like(da, np.nan), db),
    "infinite": lambda da, db: (da, np.full_like(db, np.inf)),
}


@pytest.mark.parametrize("mode", ["directional", "jacobian"])
@pytest.mark.parametrize("kind", sorted(WRONG))
def test_wrong_gradients_fail(kind, mode):
    with pytest.raises(GradcheckError):
        gradcheck(product(WRONG[kind]), [leaf(3, 3), leaf(3, 3)], mode=mode)


@pytest.mark.parametrize("mode", ["directional", "jacobian"])
def test_right_gradients_pass(mode, count_case):
    report = gradcheck(product(lambda da, db: (da, db)), [leaf(3, 4), leaf(4, 2)], mode=mode)
    assert report
    assert [row.passed for row in report.rows] == [True, True]
    assert 0 < max(row.relative_error for row in report.rows) < 1e-7
    count_case()


def test_a_gradient_of_another_shape_is_refused_by_the_tape():
    with pytest.raises(RuntimeError, match=r"Product\.backward .* shape \(4, 3\).* \(3, 4\)"):
        gradcheck(product(lambda da, db: (da.T, db)), [leaf(3, 4), leaf(4, 2)])


def test_the_report_tells_which_argument_is_wrong():
    wrong = product(WRONG["factor 2.001"])
    report = gradcheck(wrong, [leaf(2, 2), leaf(2, 2)], names=["left", "right"], raise_exception=False)
    assert not report
    assert [(row.name, row.passed) for row in report.rows] == [("left", False), ("right", True)]
    assert report.rows[0].relative_error == pytest.approx(1.001 / 2.001, rel=0.01)
    lines = str(report).splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in lines[1:3]] == [("left", "FAIL"), ("right", "pass")]


def test_jacobian_mode_names_the_wrong_entry():
    report = gradcheck(product(with_entry_off), [leaf(2, 2), leaf(2, 3)], mode="jacobian", raise_exception=False)
    assert report.rows[0].passed
    assert "d input 1[1, 2]" in report.rows[1].detail
    assert report.rows[1].absolute_error == pytest.approx(1e-3, rel=1e-4)


def test_a_missing_gradient_is_named():
    report = gradcheck(product(WRONG["missing"]), [leaf(2, 2), leaf(2, 2)], raise_exception=False)
    assert "the tape gives no gradient" in report.rows[0].detail


def test_a_detached_result_is_a_missing_gradient():
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: ops.exp(x).detach(), leaf(3))


def test_an_input_without_influence_needs_no_gradient():
    assert gradcheck(lambda x, y: ops.exp(x), [leaf(3), leaf(2)])


class SumAndProduct(Function):
    """Two outputs; the gradient that comes through the second is wrong by a factor."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a + b, a * b

    @staticmethod
    def backward(ctx, dsum, dproduct):
        a, b = ctx.saved
        dsum = 0 if dsum is None else dsum
        dproduct = 0 if dproduct is None else dproduct
        return dsum + 1.01 * dproduct * b, dsum + dproduct * a


@pytest.mark.parametrize("mode", ["directional", "jacobian"])
def test_one_wrong_output_among_right_ones(mode):
    inputs = [leaf(2, 2), leaf(2, 2)]
    assert gradcheck(lambda a, b: SumAndProduct.apply(a, b)[0], inputs, mode=mode)
    for fn in (SumAndProduct.apply, lambda a, b: SumAndProduct.apply(a, b)[1]):
        report = gradcheck(fn, inputs, mode=mode, raise_exception=False)
        assert [row.passed for row in report.rows] == [False, True]


def test_a_function_that_is_not_deterministic_is_reported():
    report = gradcheck(lambda x: ops.dropout(x, 0.5), leaf(100), raise_exception=False)
    assert "not deterministic" in report.problems[0]
    assert not report


def test_a_function_that_changes_its_input_is_reported():
    def spoil(x, y):
        result = x * y
        y.array[0] = 7.0
        return result

    x, y = leaf(3), leaf(3)
    before = y.array.copy()
    report = gradcheck(spoil, [x, y], raise_exception=False)
    assert report.problems[0] == "fn changed input 1 in place"
    np.testing.assert_array_equal(y.array, before)


def test_inputs_keep_their_values_even_if_fn_raises():
    x = leaf(3)
    before = x.array.copy()
    calls = []

    def fails_when_perturbed(x):
        calls.append(1)
        if len(calls) == 4:
            raise KeyError("fn")
        return ops.exp(x)

    with pytest.raises(KeyError):
        gradcheck(fails_when_perturbed, x)
    np.testing.assert_array_equal(x.array, before)
    gradcheck(ops.exp, x)
    np.testing.assert_array_equal(x.array, before)
    assert x.grad is None


def test_the_seed_fixes_the_report():
    x = leaf(5)
    errors = [gradcheck(ops.exp, x, seed=seed).rows[0].relative_error for seed in (1, 1, 2)]
    assert errors[0] == errors[1] != errors[2]


def test_a_kink_within_the_step_is_stepped_around():
    """At 3e-6 on one side of it, the quotient over 1e-5 is the mean of two slopes; a wrong slope stays wrong."""

    def bent(slope):
        class Bent(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.right = x > 1.0
                return np.where(ctx.right, 3.0, 1.0) * (x - 1.0)

            @staticmethod
            def backward(ctx, grad):
                return grad * np.where(ctx.right, slope, 1.0)

        return Bent.apply

    near = Tensor(np.array([1.000003]), requires_grad=True)
    assert gradcheck(bent(3.0), near)
    with pytest.raises(GradcheckError):
        gradcheck(bent(2.0), near)  # the mean of both slopes


def test_a_step_of_ten_fails():
    """The last control: with a useless step even a right gradient disagrees with the difference quotient."""
    with pytest.raises(GradcheckError):
        gradcheck(ops.exp, leaf(4), eps=10.0)


@pytest.mark.parametrize(
    ("fn", "inputs", "message"),
    [
        (ops.exp, Tensor(np.zeros(2, np.float32), requires_grad=True), "input 0 has dtype float32; expected float64"),
        (ops.exp, Tensor(np.zeros(2)), "no input requires grad"),
        (ops.exp, ops.exp(leaf(2)), "input 0 is the result of an operation"),
        (lambda x: x.argmax(), leaf(2), "without a floating Tensor"),
        (lambda x: x.float(), leaf(2), "output 0 of fn has dtype float32; expected float64"),
    ],
)
def test_what_cannot_be_checked_is_refused(fn, inputs, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(fn, inputs)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="mode is 'full'; expected 'directional' or 'jacobian'"):
        gradcheck(ops.exp, leaf(2), mode="full")
    with pytest.raises(ValueError, match="names has 2 entries; expected one per input, 1"):
        gradcheck(ops.exp, leaf(2), names=["a", "b"])


def test_integer_outputs_and_constants_are_passed_over():
    ids = Tensor(np.array([2, 0, 2]))
    assert gradcheck(lambda weight, ids, scale: (ops.embedding(weight, ids) * scale, ids), [leaf(3, 2), ids, 1.5])


def test_the_whole_check_works_under_no_grad_of_the_caller():
    """Recording is what a check needs; without it every gradient is missing, which must not pass as right."""
    with autograd.no_grad(), pytest.raises(GradcheckError):
        gradcheck(ops.exp, leaf(2))
