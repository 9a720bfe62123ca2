"""Updates in place: Adam by rows and its replay, SGD, RMSprop; equal to the oracle to the bit, on any threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference, threads
from kernels.cpu import adam as cpu_adam
from kernels.cpu import jit as cpu_jit

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
OPTIONS = [(0.0, False), (0.3, False), (0.3, True)]


def bits(array):
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def assert_same_bits(found, expected):
    for array, twin in zip(found, expected, strict=True):
        assert array.dtype == twin.dtype
        np.testing.assert_array_equal(bits(array), bits(twin))


def a_table(rng, V, E, dtype):
    """param, m, v in the middle of a training, one row without moments."""
    param, m = rng.standard_normal((V, E)).astype(dtype), (rng.standard_normal((V, E)) * 0.01).astype(dtype)
    v = (rng.random((V, E)) * 1e-4).astype(dtype)
    m[V // 2] = v[V // 2] = 0
    return [param, m, v]


def a_history(rng, steps, weight_decay, decoupled, start=1):
    """Steps whose learning rate jumps about."""
    history = np.zeros((steps, 9))
    for s in range(steps):
        lr = float(rng.uniform(1e-4, 0.1))
        history[s] = kernels.adam_scalars(start + s, lr, 0.9, 0.999, 1e-8, weight_decay, decoupled)
    return history


def test_exact_kernels_have_no_permissions():
    assert cpu_jit.EXACT_FLAGS == {"error_model": "numpy", "nogil": True}


@DTYPES
@given(
    size=st.integers(0, 70),
    step=st.integers(1, 10_000),
    seed=st.integers(0, 99),
    option=st.sampled_from(OPTIONS),
    scale=st.sampled_from([1.0, 0.3]),
)
def test_adam_equals_the_oracle_to_the_bit(dtype, size, step, seed, option, scale):
    rng = np.random.default_rng(seed)
    found = [rng.standard_normal(size).astype(dtype) for _ in range(4)]
    found[3] **= 2
    expected = [array.copy() for array in found]
    for backend, arrays in ((kernels, found), (reference, expected)):
        scalars = kernels.adam_scalars(step, 0.02, 0.9, 0.999, 1e-8, *option)
        backend.adam_step_all(*([array] for array in arrays), scalars, scale)
    assert_same_bits(found, expected)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_chunks_and_threads_change_no_bit(rng, count):
    arrays = [rng.standard_normal(150_001).astype(np.float32) ** 2 for _ in range(4)]
    expected = [array.copy() for array in arrays]
    scalars = kernels.adam_scalars(3, 0.02, 0.9, 0.999, 1e-8, 0.1, False)
    reference.adam_step_all(*([array] for array in expected), scalars, 0.7)
    pieces = [arrays[0][start : start + 65_536] for start in range(0, 150_001, 65_536)]
    total = sum(kernels.sum_of_squares(piece) for piece in pieces)
    before = threads.get_num_threads()
    threads.set_num_threads(count)
    try:
        assert kernels.sum_of_squares(arrays[0]) == total
        kernels.adam_step_all(*([array] for array in arrays), scalars, 0.7)
    finally:
        threads.set_num_threads(before)
    assert_same_bits(arrays, expected)


@DTYPES
@pytest.mark.parametrize("option", OPTIONS)
def test_all_at_once_equal_one_after_the_other(backend, rng, dtype, option):
    """Of several shapes, one in several chunks, one empty, one not in C order."""
    shapes = [(3, 50_001), (7,), (0, 4), (5, 6)]
    found = [[rng.standard_normal(shape).astype(dtype) ** 2 for shape in shapes] for _ in range(4)]
    for arrays in found:
        arrays[3] = np.asfortranarray(arrays[3])
    expected = [[array.copy() for array in arrays] for arrays in found]
    numbers = kernels.adam_scalars(5, 0.02, 0.9, 0.999, 1e-8, *option), 0.3
    (backend if backend is reference else kernels).adam_step_all(*found, *numbers)  # C order is the entry's business
    for arrays in zip(*expected, strict=True):
        reference.adam_step_all(*([array] for array in arrays), *numbers)
    for some, others in zip(found, expected, strict=True):
        assert_same_bits(some, others)


def test_all_at_once_of_nothing(backend):
    for module in (backend, kernels):
        module.adam_step_all([], [], [], [], kernels.adam_scalars(1, 0.1, 0.9, 0.999, 1e-8, 0.0, False))


@DTYPES
@pytest.mark.parametrize("option", OPTIONS)
def test_rows_equal_the_whole_table(backend, rng, dtype, option):
    """The other rows are not touched, not even read: they hold NaN."""
    table = a_table(rng, 6, 21, dtype)
    rows, values = np.array([0, 2, 5]), rng.standard_normal((3, 21)).astype(dtype)
    expected = [array[rows].copy() for array in table]
    for array in table:
        array[[1, 3, 4]] = np.nan
    scalars = kernels.adam_scalars(7, 0.02, 0.9, 0.999, 1e-8, *option)
    backend.adam_step_all(*([array] for array in (expected[0], values, *expected[1:])), scalars, 0.3)
    backend.adam_rows_step(table[0], rows, values, *table[1:], scalars, 0.3)
    assert_same_bits([array[rows] for array in table], expected)
    assert all(np.isnan(array[[1, 3, 4]]).all() for array in table)


def dense_steps(table, history, dtype):
    """The definition of a replay: steps of everything with zeros as gradient."""
    rows = np.arange(len(table[0]))
    for scalars in history:
        reference.adam_rows_step(
            table[0], rows, np.zeros_like(table[0]), table[1], table[2], kernels.AdamScalars(*scalars)
        )


@DTYPES
@given(
    E=st.integers(1, 40),
    steps=st.integers(0, 400),
    option=st.sampled_from(OPTIONS),
    scale=st.sampled_from([1.0, 1e-20, 1e-38, 1e8]),
    seed=st.integers(0, 99),
)
def test_replay_equals_steps_without_gradient(dtype, E, steps, option, scale, seed):
    """Also where moments are so small that a parameter rests, or that they underflow, or very large."""
    rng = np.random.default_rng(seed)
    table = a_table(rng, 4, E, dtype)
    table[1] *= dtype(scale)
    history = a_history(rng, steps, *option)
    expected = [array.copy() for array in table]
    dense_steps(expected, history, dtype)
    kernels.adam_replay(*table, np.arange(4), np.zeros(4, np.int64), history)
    assert_same_bits(table, expected)


@DTYPES
def test_replay_from_different_steps(backend, rng, dtype):
    table = a_table(rng, 5, 7, dtype)
    expected = [array.copy() for array in table]
    history, first = a_history(rng, 40, 0.0, False, start=100), np.array([0, 39, 40])
    for row, start in zip((0, 3, 4), first, strict=True):
        part = [array[row : row + 1] for array in expected]
        dense_steps(part, history[start:], dtype)
    backend.adam_replay(*table, np.array([0, 3, 4]), first, history)
    assert_same_bits(table, expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_long_replay_ends_early_and_is_still_exact(monkeypatch, seed):
    """Down to the numbers that round to themselves; betas that change, parameters of 0 and NaN, zero moments."""
    rng = np.random.default_rng(seed)
    table = a_table(rng, 4, 19, np.float32)
    table[0][0, :4] = 0.0, -0.0, np.nan, np.inf
    table[1][1, :3] = -1e-44, 1e-45, -0.0
    table[2][1, 3:5] = np.inf, np.nan
    history = a_history(rng, 1500, 0.0, False)
    if seed == 4:
        history[1200:, 2] = np.float32(0.5)
    expected = [array.copy() for array in table]
    dense_steps(expected, history, np.float32)
    kernels.adam_replay(*table, np.arange(4), np.zeros(4, np.int64), history)
    assert_same_bits(table, expected)


def test_the_rest_is_noticed_and_not_too_soon():
    """`_at_rest`: a bound of half a unit in the last place moves nothing, one of a whole unit does."""
    p, v = np.array([1.5], np.float32), np.zeros(1, np.float32)
    unit = np.spacing(p[0])
    one = np.float32(1)
    assert cpu_adam._at_rest(p, np.array([unit / 4]), v, one, one)
    assert not cpu_adam._at_rest(p, np.array([unit]), v, one, one)
    assert not cpu_adam._at_rest(p, np.array([unit / 4]), v, np.float32(np.inf), one)
    assert not cpu_adam._at_rest(p, np.array([np.nan], np.float32), v, one, one)
    assert not cpu_adam._at_rest(p * 0, p * 0, v, one, one)


def test_the_comparison_sees_one_step_less(rng):
    """The checker of this file: a replay that leaves out the last step is told from the right one."""
    table = a_table(rng, 4, 5, np.float32)
    history = a_history(rng, 30, 0.0, False)
    expected = [array.copy() for array in table]
    dense_steps(expected, history, np.float32)
    kernels.adam_replay(*table, np.arange(4), np.zeros(4, np.int64), history[:-1])
    with pytest.raises(AssertionError):
        assert_same_bits(table, expected)


# --- SGD and RMSprop --------------------------------------------------------------------------------------------------
@DTYPES
@given(
    size=st.integers(0, 70),
    seed=st.integers(0, 99),
    momentum=st.booleans(),
    first=st.booleans(),
    nesterov=st.booleans(),
    weight_decay=st.sampled_from([0.0, 0.2]),
    scale=st.sampled_from([1.0, 0.3]),
)
def test_sgd_equals_the_oracle_to_the_bit(dtype, size, seed, momentum, first, nesterov, weight_decay, scale):
    rng = np.random.default_rng(seed)
    found = [rng.standard_normal(size).astype(dtype) for _ in range(3)]
    if not momentum:
        found[2] = None
    expected = [None if array is None else array.copy() for array in found]
    for backend, arrays in ((kernels, found), (reference, expected)):
        scalars = kernels.SGDScalars(0.1, 0.9, 0.0 if nesterov else 0.3, nesterov, weight_decay)
        backend.sgd_step(*arrays, first, scalars, scale)
    assert_same_bits(found[: 2 + momentum], expected[: 2 + momentum])


def test_sgd_rows(backend, rng):
    param = rng.standard_normal((5, 3)).astype(np.float32)
    expected, rows, values = param.copy(), np.array([1, 4]), rng.standard_normal((2, 3)).astype(np.float32)
    grad = np.zeros_like(param)
    grad[rows] = values
    reference.sgd_step(expected, grad, None, False, kernels.SGDScalars(0.1), 0.3)
    backend.sgd_rows_step(param, rows, values, 0.1, 0.3)
    assert_same_bits([param], [expected])


@DTYPES
@given(
    size=st.integers(0, 70),
    seed=st.integers(0, 99),
    centered=st.booleans(),
    momentum=st.sampled_from([0.0, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.2]),
    scale=st.sampled_from([1.0, 0.3]),
)
def test_rmsprop_equals_the_oracle_to_the_bit(dtype, size, seed, centered, momentum, weight_decay, scale):
    rng = np.random.default_rng(seed)
    mean, velocity = (np.zeros(size, dtype) if used else None for used in (centered, momentum))
    start = [rng.standard_normal(size).astype(dtype), rng.standard_normal(size).astype(dtype), np.zeros(size, dtype)]
    found = [*start, mean, velocity]
    expected = [None if array is None else array.copy() for array in found]
    for _ in range(2):
        for backend, arrays in ((kernels, found), (reference, expected)):
            scalars = kernels.RMSpropScalars(0.01, 0.9, 1e-3, weight_decay, momentum)
            backend.rmsprop_step(*arrays, scalars, scale)
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None]
    assert_same_bits(*zip(*pairs, strict=True))


def test_non_contiguous_arrays_are_updated_in_place(rng):
    arrays = [rng.standard_normal((4, 6)) ** 2 for _ in range(5)]
    expected, views = [array.copy() for array in arrays], [np.asfortranarray(array) for array in arrays]
    for backend, (param, grad, *slots) in ((kernels, views), (reference, expected)):
        backend.sgd_step(param, grad, slots[0], False, kernels.SGDScalars(0.1, 0.9))
        backend.rmsprop_step(param, grad, slots[1], None, None, kernels.RMSpropScalars(0.1, 0.9, 1.0))
        backend.adam_rows_step(
            param, np.array([1, 2]), grad[1:3], *slots[:2], kernels.adam_scalars(1, 0.1, 0.9, 0.9, 1.0, 0.0, False)
        )
    for view, twin in zip(views, expected, strict=True):
        np.testing.assert_array_equal(view, twin)


TABLE, ROWS, VALUES = np.zeros((4, 2)), np.array([1, 3]), np.zeros((2, 2))
SCALARS = kernels.AdamScalars(*[0.0] * 9)
BAD = [
    (lambda: kernels.adam_scalars(0, 0.1, 0.9, 0.9, 0, 0, False), ValueError, "adam_scalars: step is 0"),
    (lambda: kernels.adam_scalars(1, 0.1, 1.0, 0.9, 0, 0, False), ValueError, "adam_scalars: beta1 is 1.0"),
    (
        lambda: kernels.adam_rows_step(TABLE, np.array([3, 1]), VALUES, TABLE, TABLE, SCALARS),
        ValueError,
        r"adam_rows_step: rows holds \[3, 1\]; expected distinct rows in ascending order",
    ),
    (
        lambda: kernels.adam_rows_step(TABLE, np.array([1, 4]), VALUES, TABLE, TABLE, SCALARS),
        IndexError,
        "rows holds 4; expected 0..V-1 = 0..3",
    ),
    (
        lambda: kernels.adam_rows_step(TABLE, ROWS.astype(np.int32), VALUES, TABLE, TABLE, SCALARS),
        TypeError,
        "rows has dtype int32; expected int64",
    ),
    (
        lambda: kernels.adam_rows_step(TABLE, ROWS, np.zeros((3, 2)), TABLE, TABLE, SCALARS),
        ValueError,
        r"values has shape \(3, 2\); expected \(R, E\) = \(2, 2\)",
    ),
    (
        lambda: kernels.adam_rows_step(TABLE, ROWS, VALUES, TABLE, TABLE[:2], SCALARS),
        ValueError,
        r"v has shape \(2, 2\); expected \(V, E\) = \(4, 2\) from param \(4, 2\)",
    ),
    (
        lambda: kernels.adam_replay(TABLE, TABLE, TABLE, ROWS, np.array([0, 2]), np.zeros((1, 9))),
        ValueError,
        r"adam_replay: first is 2; expected a value in \[0, 1\]",
    ),
    (
        lambda: kernels.adam_replay(TABLE, TABLE, TABLE, ROWS, np.array([0]), np.zeros((1, 9))),
        ValueError,
        r"first has shape \(1,\); expected \(R,\) = \(2,\)",
    ),
    (
        lambda: kernels.sgd_rows_step(TABLE, ROWS, VALUES.astype(np.float32), 0.1),
        TypeError,
        "values has dtype float32; expected float64",
    ),
    (
        lambda: kernels.sgd_step(TABLE, VALUES, None, True, kernels.SGDScalars(0.1)),
        ValueError,
        r"sgd_step: grad has shape \(2, 2\)",
    ),
    (
        lambda: kernels.sgd_step(TABLE, TABLE, None, True, 0.1),
        TypeError,
        r"sgd_step: scalars is a float; expected SGDScalars",
    ),
    (
        lambda: kernels.rmsprop_step(TABLE, TABLE, TABLE, None, None, SCALARS),
        TypeError,
        r"rmsprop_step: scalars is a AdamScalars; expected RMSpropScalars",
    ),
    (
        lambda: kernels.rmsprop_step(TABLE, TABLE, TABLE, VALUES, None, kernels.RMSpropScalars(0.1, 0.9, 0.0)),
        ValueError,
        r"rmsprop_step: mean has shape \(2, 2\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
