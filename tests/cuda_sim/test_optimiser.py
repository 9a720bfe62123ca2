"""The clip coefficient, Adam over a table of tensors, Adam on rows and the replay of missed steps.

Adam's results are those of kernels.reference in float32 to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Arrays, Rig, assert_written, device, poisoned

from kernels import reference
from kernels.cuda import geometry
from kernels.cuda.pack import bf16_bits

SIZES = (1, 8192, 20001, 300)
WITHOUT_COPY = 3  # this tensor has no bf16 copy
TENSOR = np.dtype([(name, "u8") for name in ("param", "grad", "m", "v", "copy", "size")])
LR, BETAS, EPS, DECAY = 0.01, (0.9, 0.98), 1e-8, 0.1


def chunk_table(sizes: tuple[int, ...]) -> np.ndarray:
    """(g, 2) uint32: tensor and index of each block's chunk."""
    chunks = [(k, index) for k, size in enumerate(sizes) for index in range(-(-size // geometry.CHUNK))]
    return np.array(chunks, np.uint32)


def tensor_table(*columns: list[Any]) -> np.ndarray:
    """The entries of tensors.cuh, as bytes; None is a null pointer."""
    addresses = [[0 if array is None else array.ctypes.data for array in row] for row in zip(*columns, strict=True)]
    sizes = [array.size for array in columns[0]]
    entries = [(*row, size) for row, size in zip(addresses, sizes, strict=True)]
    return device(np.array(entries, TENSOR).view(np.uint8))


def scalars_of(step: int, decoupled: bool) -> np.ndarray:
    return reference.adam_scalars(step, LR, *BETAS, EPS, DECAY, decoupled).astype(np.float32)


def run_clipping(rig: Rig, table: np.ndarray, chunks: np.ndarray, max_norm: float, schedule: int) -> np.ndarray:
    """norm (2,): of all gradients, and the coefficient."""
    module, count = rig.module("clipping.cu"), len(chunks)
    partial, norm = poisoned(count, np.float64), poisoned(2, np.float32)
    module.sum_of_squares(geometry.sum_of_squares(count), (table, chunks, partial), schedule)
    numbers = np.int32(count), np.float32(max_norm)
    module.clip_coefficient(geometry.clip_coefficient(), (partial, *numbers, norm), schedule)
    return norm


def run_adam(
    rig: Rig, start: list[np.ndarray], grads: list[list[np.ndarray]], decoupled: bool, schedule: int
) -> Arrays:
    """Clipping and two steps: params, m, v, copies, the two norms with their coefficients."""
    params, m, v = ([device(a * keep) for a in start] for keep in (np.float32(1), np.float32(0), np.float32(0)))
    copies = [None if k == WITHOUT_COPY else poisoned(a.shape, np.uint16) for k, a in enumerate(start)]
    chunks, norms = device(chunk_table(SIZES)), []
    for step, gradients in enumerate(grads, 1):
        on_device = [device(grad) for grad in gradients]
        table = tensor_table(params, on_device, m, v, copies)
        norms.append(run_clipping(rig, table, chunks, 100.0, schedule))
        arguments = table, chunks, device(scalars_of(step, decoupled)), device(norms[-1][1:])
        rig.module("adam.cu").adam_step_all(geometry.adam_step_all(len(chunks)), arguments, schedule)
    written = [copy for copy in copies if copy is not None]
    assert_written(*params, *m, *v, *written, *norms)
    return *params, *m, *v, *written, *norms


def check_adam(rig: Rig, decoupled: bool, main: bool) -> None:
    rng = np.random.default_rng(0)
    start, *grads = ([rng.standard_normal(size).astype(np.float32) for size in SIZES] for _ in range(3))
    results = rig.same_bits(lambda schedule: run_adam(rig, start, grads, decoupled, schedule), main)
    count = len(SIZES)
    params, m, v = results[:count], results[count : 2 * count], results[2 * count : 3 * count]
    copies, norms = results[3 * count : -2], results[-2:]
    state = [[a.copy() * keep for a in start] for keep in (np.float32(1), np.float32(0), np.float32(0))]
    for step, (gradients, norm) in enumerate(zip(grads, norms, strict=True), 1):
        total = np.sqrt(sum(reference.sum_of_squares(grad) for grad in gradients))
        assert total > 100
        np.testing.assert_allclose(norm, [total, 100 / (total + 1e-6)], rtol=1e-6)
        wanted = state[0], gradients, *state[1:]
        reference.adam_step_all(*wanted, step, LR, *BETAS, EPS, DECAY, decoupled, grad_scale=norm[1])
    for got, want in zip((*params, *m, *v), (array for arrays in state for array in arrays), strict=True):
        np.testing.assert_array_equal(got, want)
    for copy, param in zip(copies, params[:WITHOUT_COPY], strict=True):
        np.testing.assert_array_equal(copy, bf16_bits(param))


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
    table = tensor_table([grad], [grad], [grad], [grad], [None])
    got = run_clipping(rig, table, device(chunk_table((grad.size,))), 2.5, 0)
    np.testing.assert_allclose(got, [norm, coefficient], rtol=1e-6)


def test_clip_coefficient_of_many_chunks(rig: Rig) -> None:
    """More of them than one block has threads."""
    partial, norm = device(np.arange(1000.0)), poisoned(2, np.float32)
    numbers = np.int32(1000), np.float32(1)
    rig.module("clipping.cu").clip_coefficient(geometry.clip_coefficient(), (partial, *numbers, norm))
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
        inputs = param, device(rows, np.int32), device(values), m, v, device(scalars), device([scale], np.float32)
        rig.module("adam.cu").adam_rows_step(geometry.adam_rows(3), (*inputs, np.int32(E)), schedule)
        return param, m, v

    param, m, v = (array.copy() for array in start)
    reference.adam_rows_step(param, rows, values, m, v, scalars, scale)
    for got, want in zip(rig.same_bits(run, main=False), (param, m, v), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("V", "E"), [(9, 5), (30, 200)])
def test_adam_replay(rig: Rig, V: int, E: int, decoupled: bool) -> None:
    rows, first, start = np.array([0, 2, V - 1]), np.array([0, 6, 3]), table_of_rows(V, E)
    history = np.stack([scalars_of(step, decoupled) for step in range(2, 8)])

    def run(schedule: int) -> Arrays:
        param, m, v = (device(array) for array in start)
        inputs = param, m, v, device(rows, np.int32), device(first, np.int32), device(history)
        sizes = np.int32(len(history)), np.int32(E)
        rig.module("adam.cu").adam_replay(geometry.adam_rows(3), (*inputs, *sizes), schedule)
        return param, m, v

    param, m, v = (array.copy() for array in start)
    reference.adam_replay(param, m, v, rows, first, history)
    for got, want in zip(rig.same_bits(run, main=False), (param, m, v), strict=True):
        np.testing.assert_array_equal(got, want)
