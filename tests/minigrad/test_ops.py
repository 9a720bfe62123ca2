"""Every op of the table: value against the oracle, gradient against differences, layouts, zero sizes, refused calls."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import Tensor, autograd, ops
from minigrad.gradcheck import gradcheck
from minigrad.gradcheck.op_table import OP_TABLE, check_gradient
from minigrad.nn.utils.clipping import elements
from minigrad.ops.op_case import Sample, floating_outputs


def every_second(a: np.ndarray) -> np.ndarray:
    """The same values with a gap after each element."""
    wide = np.empty([2 * n for n in a.shape], a.dtype)
    view = wide[(..., *(slice(None, None, 2),) * a.ndim)]
    view[...] = a
    return view


def backwards(a: np.ndarray) -> np.ndarray:
    """The same values with negative strides."""
    return np.flip(np.array(np.flip(a)))


LAYOUTS = {"C": np.array, "F": lambda a: np.array(a, order="F"), "every second": every_second, "backwards": backwards}

sizes = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
seeds = st.integers(0, 2**32 - 1)
layouts = st.sampled_from(sorted(LAYOUTS))
each_case = pytest.mark.parametrize("case", OP_TABLE, ids=lambda case: case.name)
each_differentiable = pytest.mark.parametrize(
    "case", [case for case in OP_TABLE if case.differentiable], ids=lambda case: case.name
)
each_error = pytest.mark.parametrize(
    "error",
    [pytest.param(error, id=f"{case.name}-{i}") for case in OP_TABLE for i, error in enumerate(case.errors)],
)


def results_of(result) -> list:
    return list(result) if isinstance(result, tuple | list) else [result]


def oracle_values(case, sample: Sample, dtype: type) -> list[np.ndarray]:
    converted = sample.map(lambda a: a.astype(dtype))
    return [np.asarray(value) for value in results_of(case.oracle(*converted.arrays, **converted.options))]


def test_the_table_has_a_row_for_every_op():
    functions = {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}
    assert functions == {case.function for case in OP_TABLE}


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(dims=sizes, seed=seeds, layout=layouts)
def test_forward_equals_the_oracle(case, dtype, dims, seed, layout):
    sample = case.draw(seed, dims).map(lambda a: LAYOUTS[layout](a.astype(dtype)))
    before = [a.copy() for a in sample.arrays]
    results = results_of(case.op(*sample.tensors(), **sample.options))
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    exact, same_dtype = oracle_values(case, sample, np.float64), oracle_values(case, sample, dtype)
    for result, value, typed in zip(results, exact, same_dtype, strict=True):
        assert result.dtype == typed.dtype
        np.testing.assert_allclose(result.array, value, rtol=tolerance, atol=tolerance, strict=False)
        assert result.shape == value.shape
    for array, copy in zip(sample.arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@each_differentiable
@given(dims=sizes, seed=seeds, layout=layouts)
def test_gradient(case, count_case, dims, seed, layout):
    sample = case.draw(seed, dims).map(LAYOUTS[layout])
    num_outputs = len(floating_outputs(case.oracle(*sample.arrays, **sample.options)))
    together_or_alone = [None, *range(num_outputs)]
    check_gradient(case, sample, together_or_alone[seed % len(together_or_alone)], num_directions=2, seed=seed)
    count_case()


@each_differentiable
def test_full_jacobian_at_a_tiny_shape(case, count_case):
    check_gradient(case, case.draw(0, (2, 2, 1)), mode="jacobian")
    count_case()


@each_differentiable
def test_incoming_gradients_are_left_alone(case, count_case):
    """Two uses share one incoming gradient, and add theirs up: an op that wrote into it would spoil the other's."""
    sample = case.draw(1, (2, 3, 2))

    def twice(*leaves):
        tensors = [ops.clone(leaf) for leaf in leaves]
        first = floating_outputs(case.op(*tensors, **sample.options))
        second = floating_outputs(case.op(*tensors, **sample.options))
        return [a + b for a, b in zip(first, second, strict=True)]

    gradcheck(twice, sample.tensors(), num_directions=2)
    count_case()


@each_differentiable
def test_float32_gradients_are_float32_and_near_the_float64_ones(case):
    sample = case.draw(2, (2, 3, 2))
    gradients = []
    for dtype in (np.float32, np.float64):
        tensors = sample.map(lambda a, dtype=dtype: a.astype(dtype)).tensors()
        outputs = floating_outputs(case.op(*tensors, **sample.options))
        autograd.backward(outputs, [Tensor(np.ones_like(output.array)) for output in outputs])
        gradients.append([t.grad for t in tensors if t.requires_grad])
    for single, double in zip(*gradients, strict=True):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single.array, double.array, rtol=1e-4, atol=1e-4)


@each_differentiable
def test_gradients_own_their_memory(case):
    """A leaf's gradient shares no memory: whoever changes it in place (clipping) changes nothing else."""
    tensors = case.draw(3, (2, 3, 2)).tensors()
    outputs = floating_outputs(case.op(*tensors, **case.draw(3, (2, 3, 2)).options))
    seeds = [Tensor(np.ones_like(output.array)) for output in outputs]
    autograd.backward(outputs, seeds)
    gradients = [elements(t.grad) for t in tensors if t.requires_grad]
    others = [t.array for t in (*seeds, *tensors, *outputs)]
    for number, gradient in enumerate(gradients):
        assert gradient.flags.writeable
        assert not any(np.shares_memory(gradient, other) for other in [*gradients[:number], *others])


@each_error
def test_refused_calls_name_what_is_wrong(error):
    with pytest.raises(error.exception, match=error.match):
        error.call()
