"""The clip coefficient, Adam over a table of tensors, Adam on rows and the replay of missed steps, SGD and RMSprop.

The results of the optimisers are those of kernels.reference in float32 to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import OUT_OF_RANGE, Arrays, Rig, assert_written, device, no_error, poisoned

import kernels
from kernels import reference
from kernels.cuda.runtime import geometry

SIZES = (1, 8192, 20001, 300)
TENSOR = np.dtype([(name, "u8") for name in ("param", "grad", "m", "v", "size")])
LR, BETAS, EPS, DECAY = 0.01, (0.9, 0.98), 1e-8, 0.1


def chunk_table(sizes: tuple[int, ...]) -> np.ndarray:
    """(g, 2) uint32: tensor and index of each block's chunk."""
    chunks = [(k, index) for k, size in enumerate(sizes) for index in range(-(-size // geometry.CHUNK))]
    return np.array(chunks, np.uint32)


def tensor_table(*columns: list[Any]) -> np.ndarray:
    """The entries of tensors.cuh, as bytes."""
    addresses = [[array.ctypes.data for array in row] for row in zip(*columns, strict=True)]
    sizes = [array.size for array in columns[0]]
    entries = [(*row, size) for row, size in zip(addresses, sizes, strict=True)]
    return device(np.array(entries, TENSOR).view(np.uint8))


def scalars_of(step: int, decoupled: bool) -> np.ndarray:
    return np.array(kernels.adam_scalars(step, LR, *BETAS, EPS, DECAY, decoupled), np.float32)


def run_clipping(rig: Rig, table: np.ndarray, chunks: np.ndarray, max_norm: float, schedule: int) -> np.ndarray:
    """norm (2,): of all gradients, and the coefficient."""
    module, count = rig.module("updates/clipping.cu"), len(chunks)
    partial, norm = poisoned(count, np.float64), poisoned(2, np.float32)
    module.sum_of_squares(geometry.sum_of_squares(count), (table, chunks, partial), schedule)
    numbers = np.int32(count), np.float32(max_norm)
    module.clip_coefficient(geometry.clip_coefficient(), (partial, *numbers, norm), schedule)
    return norm


def run_adam(
    rig: Rig, start: list[np.ndarray], grads: list[list[np.ndarray]], decoupled: bool, schedule: int
) -> Arrays:
    """Clipping and two steps: params, m, v, the two norms with their coefficients."""
    params, m, v = ([device(a * keep) for a in start] for keep in (np.float32(1), np.float32(0), np.float32(0)))
    chunks, norms = device(chunk_table(SIZES)), []
    for step, gradients in enumerate(grads, 1):
        on_device = [device(grad) for grad in gradients]
        table = tensor_table(params, on_device, m, v)
        norms.append(run_clipping(rig, table, chunks, 100.0, schedule))
        arguments = table, chunks, device(scalars_of(step, decoupled)), device(norms[-1][1:])
        rig.module("updates/adam.cu").adam_step_all(geometry.adam_step_all(len(chunks)), arguments, schedule)
    assert_written(*params, *m, *v, *norms)
    return *params, *m, *v, *norms


def check_adam(rig: Rig, decoupled: bool, main: bool) -> None:
    rng = np.random.default_rng(0)
    start, *grads = ([rng.standard_normal(size).astype(np.float32) for size in SIZES] for _ in range(3))
    results = rig.same_bits(lambda schedule: run_adam(rig, start, grads, decoupled, schedule), main)
    count = len(SIZES)
    params, m, v = results[:count], results[count : 2 * count], results[2 * count : 3 * count]
    norms = results[3 * count :]
    state = [[a.copy() * keep for a in start] for keep in (np.float32(1), np.float32(0), np.float32(0))]
    for step, (gradients, norm) in enumerate(zip(grads, norms, strict=True), 1):
        total = np.sqrt(sum(reference.sum_of_squares(grad) for grad in gradients))
        assert total > 100
        np.testing.assert_allclose(norm, [total, 100 / (total + 1e-6)], rtol=1e-6)
        wanted = state[0], gradients, *state[1:]
        reference.adam_step_all(*wanted, kernels.adam_scalars(step, LR, *BETAS, EPS, DECAY, decoupled), norm[1])
    for got, want in zip((*params, *m, *v), (array for arrays in state for array in arrays), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("decoupled", [False, True])
def test_clipping_and_adam(rig: Rig, decoupled: bool) -> None:
    check_adam(rig, decoupled, main=not decoupled)


@pytest.mark.parametrize(
    ("gradients", "norm", "coefficient"),
    [
        ([2.0], 2.0, 1.0),
        ([3.0, 4.0], 5.0, 0.5),
        ([1e25, 0.0], 1e25, 2.5e-25),  # its square is beyond float32
        ([1.0, np.nan], np.nan, np.nan),
        ([1.0, np.inf], np.inf, 0.0),
    ],
)
def test_clip_coefficient(rig: Rig, gradients: list[float], norm: float, coefficient: float) -> None:
    grad = device(gradients, np.float32)
    table = tensor_table([grad], [grad], [grad], [grad])
    got = run_clipping(rig, table, device(chunk_table((grad.size,))), 2.5, 0)
    np.testing.assert_allclose(got, [norm, coefficient], rtol=1e-6)


def test_clip_coefficient_of_many_chunks(rig: Rig) -> None:
    """More of them than one block has threads."""
    partial, norm = device(np.arange(1000.0)), poisoned(2, np.float32)
    numbers = np.int32(1000), np.float32(1)
    rig.module("updates/clipping.cu").clip_coefficient(geometry.clip_coefficient(), (partial, *numbers, norm))
    np.testing.assert_allclose(norm, [499500**0.5, 1 / (499500**0.5 + 1e-6)], rtol=1e-6)


def table_of_rows(V: int, E: int) -> list[np.ndarray]:
    """param, m and v (V, E), v not negative."""
    rng = np.random.default_rng([V, E])
    param, m, v = rng.standard_normal((3, V, E)).astype(np.float32)
    return [param, m * np.float32(0.1), v * v * np.float32(0.01)]


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("V", "E"), [(9, 5), (30, 200)])
def test_adam_rows_step(rig: Rig, V: int, E: int, decoupled: bool) -> None:
    rows, start = np.array([1, 4, V - 1]), table_of_rows(V, E)
    values = np.random.default_rng(1).standard_normal((3, E)).astype(np.float32)
    scalars, scale = scalars_of(3, decoupled), np.float32(0.7)

    def run(schedule: int) -> Arrays:
        param, m, v = (device(array) for array in start)
        inputs = param, device(rows), device(values), m, v, device(scalars), device([scale], np.float32)
        sizes = np.int32(V), np.int32(E), no_error()
        rig.module("updates/adam.cu").adam_rows_step(geometry.rows(3), (*inputs, *sizes), schedule)
        return param, m, v

    param, m, v = (array.copy() for array in start)
    reference.adam_rows_step(param, rows, values, m, v, kernels.AdamScalars(*scalars), scale)
    for got, want in zip(rig.same_bits(run, main=False), (param, m, v), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("V", "E"), [(9, 5), (30, 200)])
def test_adam_replay(rig: Rig, V: int, E: int, decoupled: bool) -> None:
    rows, first, start = np.array([0, 2, V - 1]), np.array([0, 6, 3]), table_of_rows(V, E)
    history = np.stack([scalars_of(step, decoupled) for step in range(2, 8)])

    def run(schedule: int) -> Arrays:
        param, m, v = (device(array) for array in start)
        inputs = param, m, v, device(rows), device(first), device(history)
        sizes = np.int32(len(history)), np.int32(V), np.int32(E), no_error()
        rig.module("updates/adam.cu").adam_replay(geometry.rows(3), (*inputs, *sizes), schedule)
        return param, m, v

    param, m, v = (array.copy() for array in start)
    reference.adam_replay(param, m, v, rows, first, history)
    for got, want in zip(rig.same_bits(run, main=False), (param, m, v), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [1, 8192, 8193, 20000])
def test_sum_of_squares_of_one_array(rig: Rig, size: int) -> None:
    """As through a table, to the bit."""
    x, chunks = device(np.random.default_rng(size).standard_normal(size), np.float32), chunk_table((size,))
    one, table = poisoned(len(chunks), np.float64), poisoned(len(chunks), np.float64)
    module, launch = rig.module("updates/clipping.cu"), geometry.sum_of_squares(len(chunks))
    module.sum_of_squares_one(launch, (x, np.uint64(size), one))
    module.sum_of_squares(launch, (tensor_table([x], [x], [x], [x]), device(chunks), table))
    np.testing.assert_array_equal(one, table)
    np.testing.assert_allclose(one.sum(), reference.sum_of_squares(x), rtol=1e-12)


SGD_CASES = [  # momentum, dampening, nesterov, weight_decay
    (None, 0.0, False, 0.0), (None, 0.0, False, 0.1), (0.9, 0.0, False, 0.0), (0.9, 0.3, False, 0.1),
    (0.8, 0.0, True, 0.05),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 1500])
@pytest.mark.parametrize("case", SGD_CASES)
def test_sgd_step(rig: Rig, case: Any, size: int) -> None:
    check_sgd(rig, case, size)


def check_sgd(rig: Rig, case: Any, size: int) -> None:
    """Three steps, the first of them special."""
    momentum, dampening, nesterov, decay = case
    param, *grads = np.random.default_rng(size).standard_normal((4, size)).astype(np.float32)
    velocity, scale, lr = np.zeros(size, np.float32), np.float32(0.7), 0.1
    on_device = device(param)
    moving = None if momentum is None else poisoned(size, np.float32)
    for step, grad in enumerate(grads):
        flags = np.int32(step == 0), np.int32(nesterov)
        numbers = [np.float32(x) for x in (lr, momentum or 0, 1 - dampening, decay)]
        arguments = on_device, device(grad), moving, device([scale]), np.uint64(size), *flags, *numbers
        rig.module("updates/sgd.cu").sgd_step(geometry.elements(size), arguments)
        kept = None if momentum is None else velocity
        scalars = kernels.SGDScalars(lr, momentum or 0, dampening, nesterov, decay)
        reference.sgd_step(param, grad, kept, step == 0, scalars, scale)
        np.testing.assert_array_equal(on_device, param)
        if moving is not None:
            np.testing.assert_array_equal(moving, velocity)


def test_sgd_rows_step(rig: Rig) -> None:
    (V, E), rows = (30, 200), np.array([1, 4, 29])
    rng = np.random.default_rng(0)
    param, values = rng.standard_normal((V, E)).astype(np.float32), rng.standard_normal((3, E)).astype(np.float32)
    on_device, scale = device(param), np.float32(0.7)
    numbers = np.float32(0.1), np.int32(V), np.int32(E), no_error()
    arguments = on_device, device(rows), device(values), device([scale]), *numbers
    rig.module("updates/sgd.cu").sgd_rows_step(geometry.rows(3), arguments)
    reference.sgd_rows_step(param, rows, values, 0.1, scale)
    np.testing.assert_array_equal(on_device, param)


def test_rows_out_of_range_are_left_out(rig: Rig) -> None:
    V, E, rows = 5, 40, device(np.array([-1, 2, 5, 2**32]))
    values, one, scalars = device(np.ones((4, E), np.float32)), device(np.ones(1, np.float32)), scalars_of(1, False)
    sizes = np.int32(V), np.int32(E)

    def sgd(param: np.ndarray, m: np.ndarray, v: np.ndarray, error: np.ndarray) -> None:
        arguments = param, rows, values, one, np.float32(0.5), *sizes, error
        rig.module("updates/sgd.cu").sgd_rows_step(geometry.rows(4), arguments)

    def adam(param: np.ndarray, m: np.ndarray, v: np.ndarray, error: np.ndarray) -> None:
        arguments = param, rows, values, m, v, device(scalars), one, *sizes, error
        rig.module("updates/adam.cu").adam_rows_step(geometry.rows(4), arguments)

    def replay(param: np.ndarray, m: np.ndarray, v: np.ndarray, error: np.ndarray) -> None:
        first = device(np.zeros(4, np.int64))
        arguments = param, m, v, rows, first, device(scalars[None]), np.int32(1), *sizes, error
        rig.module("updates/adam.cu").adam_replay(geometry.rows(4), arguments)

    for step in (sgd, adam, replay):
        arrays, error = [device(np.ones((V, E), np.float32)) for _ in range(3)], no_error()
        step(*arrays, error)
        assert error[0] == OUT_OF_RANGE
        changed = np.any([(array != 1).any(axis=1) for array in arrays], axis=0)
        np.testing.assert_array_equal(changed, np.arange(V) == 2)


RMSPROP_CASES = [(centered, moving, decay) for centered in (0, 1) for moving in (0, 1) for decay in (0.0, 0.1)]


@pytest.mark.parametrize("size", [1, 1500])
@pytest.mark.parametrize("case", RMSPROP_CASES)
def test_rmsprop_step(rig: Rig, case: tuple[int, int, float], size: int) -> None:
    check_rmsprop(rig, case, size)


def check_rmsprop(rig: Rig, case: tuple[int, int, float], size: int) -> None:
    centered, moving, decay = case
    param, *grads = np.random.default_rng(size).standard_normal((4, size)).astype(np.float32)
    lr, alpha, eps, momentum, scale = 0.01, 0.99, 1e-8, 0.9, np.float32(0.7)
    states = [np.zeros(size, np.float32) if kept else None for kept in (1, centered, moving)]
    arrays = [device(param), *(None if state is None else device(state) for state in states)]
    for grad in grads:
        numbers = [np.float32(x) for x in (lr, alpha, 1 - alpha, eps, decay, momentum)]
        arguments = arrays[0], device(grad), *arrays[1:], device([scale]), np.uint64(size), *numbers
        rig.module("updates/rmsprop.cu").rmsprop_step(geometry.elements(size), arguments)
        scalars = kernels.RMSpropScalars(lr, alpha, eps, decay, momentum)
        reference.rmsprop_step(param, grad, *states, scalars, scale)
        for got, want in zip(arrays, (param, *states), strict=True):
            if want is not None and got is not None:
                np.testing.assert_array_equal(got, want)
