"""Embedding forward, its gradient by rows, dropout, and column sums.

Masks are those of kernels.reference, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import OUT_OF_RANGE, Arrays, Rig, assert_close, assert_written, device, no_error, poisoned

from kernels import reference
from kernels.cuda.recurrent.pack import bf16_bits, bf16_values
from kernels.cuda.runtime import geometry

V, E = 50, 33
MAIN = (100, 64, "skewed")  # tokens, threads, how ids are drawn
SHAPES = [
    (MAIN, True), ((64, 64, "two"), False), ((5, 64, "zeros"), False), ((300, 128, "skewed"), False),
    ((1, 32, "sevens"), False),
]  # fmt: skip
SEED, STEP, SITE = 2**40 + 17, 2**33 + 5, 3  # both words of each are used


def draw(num_tokens: int, how: str) -> np.ndarray:
    rng = np.random.default_rng(num_tokens)
    ids = {"skewed": rng.zipf(1.3, num_tokens) % V, "two": np.arange(num_tokens) % 2}
    return ids.get(how, np.full(num_tokens, 7 if how == "sevens" else 0)).astype(np.int64)


def store(values: np.ndarray, suffix: str) -> np.ndarray:
    return device(bf16_bits(values) if suffix == "bf16" else values)


def dropout_arguments(p: float) -> tuple[Any, ...]:
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return device([SEED, STEP], np.uint64), np.uint64(p * 2**32), np.float32(scale), np.uint32(SITE)


def run_gradient(rig: Rig, ids: np.ndarray, dy: np.ndarray, threads: int, padding: int, schedule: int) -> Arrays:
    """rows, starts, positions, count, values by rows, values in a dense table."""
    n, module = len(ids), rig.module("layers/embedding.cu")
    rows, error = poisoned(n, np.int64), no_error()
    starts, positions, count = (poisoned(size, np.int32) for size in (n + 1, n, 1))
    sizes = np.int32(n), np.int32(geometry.sorted_size(n, threads)), np.int64(padding), np.int32(V)
    launch = geometry.embedding_sort(n, threads)
    module.embedding_sort(launch, (device(ids), *sizes, rows, starts, positions, count, error), schedule)
    assert error[0] == 0
    compact, dense = poisoned((n, E), np.float32), device(np.zeros((V, E), np.float32))
    for target, is_dense in ((compact, 0), (dense, 1)):
        arguments = device(dy), rows, starts, positions, count, target, np.int32(E), np.int32(is_dense)
        module.embedding_sum(geometry.embedding_sum(n), arguments, schedule)
    return rows, starts, positions, count, compact, dense


def check_gradient(rig: Rig, shape: tuple[int, int, str], padding: int, main: bool) -> None:
    num_tokens, threads, how = shape
    ids = draw(num_tokens, how)
    dy = np.random.default_rng(1).standard_normal((num_tokens, E)).astype(np.float32)
    results = rig.same_bits(lambda schedule: run_gradient(rig, ids, dy, threads, padding, schedule), main)
    rows, starts, positions, count, compact, dense = results
    wanted_rows, wanted = reference.embedding_backward(dy.astype(float), ids, padding)
    k, order = len(wanted_rows), np.argsort(ids, kind="stable")
    order = order[ids[order] != padding]
    assert count[0] == k
    np.testing.assert_array_equal(rows, [*wanted_rows, *[-1] * (num_tokens - k)])
    np.testing.assert_array_equal(positions, [*order, *[-1] * (num_tokens - len(order))])
    assert starts[k] == len(order)
    assert (starts[k + 1 :] == -1).all()
    assert_close(compact[:k], wanted, 1e-6, "values")
    assert np.isnan(compact[k:]).all()
    table = np.zeros((V, E))
    table[wanted_rows] = wanted
    assert_close(dense, table, 1e-6, "dense")


@pytest.mark.parametrize("padding", [0, -1])
@pytest.mark.parametrize(("shape", "main"), SHAPES)
def test_embedding_gradient(rig: Rig, shape: tuple[int, int, str], main: bool, padding: int) -> None:
    check_gradient(rig, shape, padding, main)


@pytest.mark.parametrize(("num_tokens", "padding"), [(300, 0), (129, -1), (70, -1)])
def test_tokens_sorted_in_pieces(rig: Rig, num_tokens: int, padding: int) -> None:
    check_pieces(rig, num_tokens, padding)


def check_pieces(rig: Rig, num_tokens: int, padding: int, run_size: int = 64, threads: int = 32) -> None:
    ids, module = draw(num_tokens, "skewed"), rig.module("layers/embedding.cu")

    def run(schedule: int) -> Arrays:
        launch, error = geometry.embedding_sort_runs(num_tokens, run_size, threads), no_error()
        pieces = launch.grid[0]
        total = pieces * run_size
        keys, heads = poisoned(total, np.uint64), poisoned(pieces, np.uint32)
        other = device(np.zeros(total, np.uint64))  # a poisoned element would be NOTHING, which is a key
        sizes = np.int32(num_tokens), np.int32(run_size), np.int64(padding), np.int32(V)
        module.embedding_sort_runs(launch, (device(ids), *sizes, keys, error), schedule)
        width = run_size
        while width < total:
            numbers = np.int32(total), np.int32(width)
            module.embedding_merge(geometry.embedding_merge(total), (keys, other, *numbers), schedule)
            keys, other, width = other, keys, 2 * width
        launch = geometry.embedding_count_rows(pieces, threads)
        module.embedding_count_rows(launch, (keys, np.int32(run_size), heads), schedule)
        found = poisoned(num_tokens, np.int64), *(poisoned(size, np.int32) for size in (num_tokens + 1, num_tokens, 1))
        launch = geometry.embedding_write_rows(pieces, threads)
        module.embedding_write_rows(launch, (keys, heads, np.int32(run_size), *found), schedule)
        assert error[0] == 0
        return found

    rows, starts, positions, count = rig.same_bits(run, main=False)
    kept = np.argsort(ids, kind="stable")
    kept = kept[ids[kept] != padding]
    want, first = np.unique(ids[kept], return_index=True)
    spare = [-1] * (num_tokens - len(want))
    assert count[0] == len(want)
    np.testing.assert_array_equal(rows, [*want, *spare])
    np.testing.assert_array_equal(starts, [*first, len(kept), *spare])
    np.testing.assert_array_equal(positions, [*kept, *[-1] * (num_tokens - len(kept))])


@pytest.mark.parametrize("num_tokens", [1, 37])
def test_embedding_forward(rig: Rig, num_tokens: int) -> None:
    weight, ids = np.random.default_rng(0).standard_normal((V, E)).astype(np.float32), draw(num_tokens, "skewed")

    def run(schedule: int) -> Arrays:
        y = poisoned((num_tokens, E), np.float32)
        arguments = device(weight), device(ids), y, np.int32(V), np.int32(E), np.uint64(y.size), no_error()
        rig.module("layers/embedding.cu").embedding_forward(geometry.embedding_forward(y.size), arguments, schedule)
        return (y,)

    np.testing.assert_array_equal(rig.same_bits(run, main=False)[0], reference.embedding_forward(weight, ids))


@pytest.mark.parametrize("bad", [-1, V, 2**32 + 3])
def test_an_id_out_of_range(rig: Rig, bad: int) -> None:
    """Forward a row of NaN, backward nothing, and the error word says so; the other tokens are as ever."""
    ids, error, module = np.array([3, bad, 0, 3]), no_error(), rig.module("layers/embedding.cu")
    weight, y = device(np.ones((V, E), np.float32)), poisoned((4, E), np.float32)
    arguments = weight, device(ids), y, np.int32(V), np.int32(E), np.uint64(4 * E), error
    module.embedding_forward(geometry.embedding_forward(4 * E), arguments)
    assert error[0] == OUT_OF_RANGE
    np.testing.assert_array_equal(y, np.where((ids == bad)[:, None], np.nan, weight[:4]))
    error[:] = 0
    rows, starts, positions, count = (poisoned(5, dtype) for dtype in (np.int64, np.int32, np.int32, np.int32))
    sizes = np.int32(4), np.int32(32), np.int64(-7), np.int32(V)
    arguments = device(ids), *sizes, rows, starts, positions, count, error
    module.embedding_sort(geometry.embedding_sort(4, 32), arguments)
    assert error[0] == OUT_OF_RANGE
    assert (count[0], *rows[:2], *starts[:3], *positions[:3]) == (2, 0, 3, 0, 1, 3, 2, 0, 3)


@pytest.mark.parametrize(
    ("size", "start", "p"), [(1, 0, 0.5), (1024, 0, 0.0), (1500, 5007, 0.3), (3, 4, 1.0), (1023, 1, 0.1)]
)
def test_dropout(rig: Rig, size: int, start: int, p: float) -> None:
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)

    def run(schedule: int) -> Arrays:
        given, y = device(x), poisoned(size, np.float32)
        key, *how = dropout_arguments(p)
        for target in (y, given):  # the second time in place
            arguments = given, target, key, *how, np.uint64(start), np.uint64(size)
            rig.module("layers/dropout.cu").dropout(geometry.dropout(size), arguments, schedule)
        return y, given

    want = reference.dropout(x, p, SEED, STEP, SITE, start)
    for got in rig.same_bits(run, main=False):
        np.testing.assert_array_equal(got, want)


def test_dropout_swallows_no_nan(rig: Rig) -> None:
    x = device(np.full(4, np.nan, np.float32))
    key, *how = dropout_arguments(1.0)
    rig.module("layers/dropout.cu").dropout(geometry.dropout(4), (x, x, key, *how, np.uint64(0), np.uint64(4)))
    assert np.isnan(x).all()


SUM_MAIN = (150, 70)
SUM_SHAPES = [(shape, shape == SUM_MAIN) for shape in (SUM_MAIN, (1, 1), (3, 32), (0, 40), (17, 33), (400, 5))]


def check_column_sums(rig: Rig, suffix: str, shape: tuple[int, int], main: bool) -> None:
    M, C = shape
    x = np.random.default_rng([M, C]).standard_normal(shape).astype(np.float32)
    x = bf16_values(bf16_bits(x)) if suffix == "bf16" else x

    def run(schedule: int) -> Arrays:
        slices, module = geometry.column_slices(M, C), rig.module("runtime/column_sums.cu")
        sums, out = poisoned((slices, C), np.float32), poisoned(C, np.float32)
        numbers = np.int32(M), np.int32(C), np.int32(-(-M // slices))
        launch = geometry.column_sums(C, slices)
        getattr(module, f"column_sums_{suffix}")(launch, (store(x, suffix), sums, *numbers), schedule)
        module.column_sums_join(geometry.column_sums_join(C), (sums, out, np.int32(slices), np.int32(C)), schedule)
        assert_written(sums, out)
        assert slices == 1 or M >= 128
        return (out,)

    assert_close(rig.same_bits(run, main)[0], x.astype(float).sum(axis=0), 1e-6)


@pytest.mark.parametrize("suffix", ["f32", "bf16"])
@pytest.mark.parametrize(("shape", "main"), SUM_SHAPES)
def test_column_sums(rig: Rig, suffix: str, shape: tuple[int, int], main: bool) -> None:
    check_column_sums(rig, suffix, shape, main)
