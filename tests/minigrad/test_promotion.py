"""The dtype of mixed operands equals PyTorch's, and so do the values."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest

import minigrad
from minigrad.dtypes import result_type

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.lt, operator.ge, operator.eq]
DTYPES = ["bool", "int64", "float32", "float64"]
# Written down from PyTorch's documented rule, so that the table is tested where PyTorch is missing:
# (n-d or 0-d tensor, n-d or 0-d tensor or Python number) -> dtype of the sum.
TABLE = [
    (("float32", 1), ("float64", 1), "float64"),
    (("float32", 1), ("float64", 0), "float32"),
    (("float32", 0), ("float64", 0), "float64"),
    (("float32", 1), 1.5, "float32"),
    (("float64", 0), 1.5, "float64"),
    (("int64", 1), 2, "int64"),
    (("int64", 1), 1.5, "float32"),
    (("int64", 1), ("float64", 0), "float64"),
    (("int64", 1), ("float32", 1), "float32"),
    (("bool", 1), 2, "int64"),
    (("bool", 1), ("bool", 0), "bool"),
    (("bool", 1), ("int64", 0), "int64"),
    (("bool", 1), 1.5, "float32"),
    (("int32", 1), ("int64", 1), "int64"),
    (("int32", 1), ("int64", 0), "int32"),
    (("uint8", 1), ("int8", 1), "int16"),
]


def operand(kind, namespace):
    if not isinstance(kind, tuple):
        return kind
    dtype, ndim = kind
    values = [1, 0, 1] if ndim else 1
    return namespace.tensor(values).to(getattr(namespace, dtype))


@pytest.mark.parametrize(("a", "b", "dtype"), TABLE)
def test_the_rule_in_numbers(a, b, dtype):
    for left, right in ((a, b), (b, a)):
        result = operand(left, minigrad) + operand(right, minigrad)
        assert result.dtype == np.dtype(dtype)
    arrays = [x.array if isinstance(x, minigrad.Tensor) else x for x in (operand(a, minigrad), operand(b, minigrad))]
    assert result_type(*arrays) == np.dtype(dtype)


TENSORS = [(dtype, ndim) for dtype in DTYPES for ndim in (0, 1)]
PAIRS = [*itertools.product(TENSORS, TENSORS), *itertools.product(TENSORS, [True, 2, 1.5])]


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.__name__)
def test_every_pair_equals_torch(op):
    torch = pytest.importorskip("torch")
    for a, b in [*PAIRS, *((b, a) for a, b in PAIRS)]:
        if not isinstance(a, tuple) and not isinstance(b, tuple):
            continue
        try:
            expected = op(operand(a, torch), operand(b, torch))
        except RuntimeError:  # PyTorch refuses bool - bool
            continue
        result = op(operand(a, minigrad), operand(b, minigrad))
        assert str(expected.dtype) == f"torch.{result.dtype}", (op.__name__, a, b)
        np.testing.assert_array_equal(result.array, expected.numpy(), err_msg=f"{op.__name__} {a} {b}")


def test_arrays_and_lists_join_as_tensors():
    x = minigrad.tensor([1.0, 2.0])
    for other in (np.array([1.0, 1.0], np.float32), np.float32(1)):
        assert (x + other).dtype == np.float32
        assert (other + x).dtype == np.float32
        np.testing.assert_array_equal((other - x).array, [0.0, -1.0])


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError):
        minigrad.tensor([1.0]) + "1"
    with pytest.raises(TypeError):
        minigrad.tensor([1.0]) * None
