"""Tokens by row: in one launch and in pieces, against NumPy's stable sort."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from kernels.cuda.layers.sorting import sort_tokens
from kernels.cuda.runtime import launcher

V = 40
RUNS = [(64, 32), (128, 128), (8192, 1024)]  # keys of a piece, threads of a block


@pytest.mark.parametrize("padding", [None, 0])
@pytest.mark.parametrize(("run", "threads"), RUNS)
@pytest.mark.parametrize("count", [1, 64, 65, 500, 1000])
def test_tokens_are_sorted(cuda: ModuleType, count: int, run: int, threads: int, padding: int | None) -> None:
    ids = np.random.default_rng(count).zipf(1.3, count) % V
    found = sort_tokens(cuda.asarray(ids), padding, V, run, threads)
    rows, starts, positions, num_rows = (array.get() for array in found)
    kept = np.argsort(ids, kind="stable")
    kept = kept if padding is None else kept[ids[kept] != padding]
    want, first = np.unique(ids[kept], return_index=True)
    R = len(want)
    assert num_rows[0] == R
    np.testing.assert_array_equal(rows[:R], want)
    np.testing.assert_array_equal(starts[: R + 1], [*first, len(kept)])
    np.testing.assert_array_equal(positions[: len(kept)], kept)


def test_more_than_a_block_can_hold(cuda: ModuleType) -> None:
    ids = np.random.default_rng(0).integers(0, 30000, 20000)
    found = sort_tokens(cuda.asarray(ids), None, 30000)
    rows, starts, positions, num_rows = (array.get() for array in found)
    want, first = np.unique(np.sort(ids), return_index=True)
    assert num_rows[0] == len(want)
    np.testing.assert_array_equal(rows[: len(want)], want)
    np.testing.assert_array_equal(starts[: len(want) + 1], [*first, 20000])
    np.testing.assert_array_equal(positions, np.argsort(ids, kind="stable"))


@pytest.mark.parametrize(("run", "threads"), RUNS)
def test_nothing_but_padding(cuda: ModuleType, run: int, threads: int) -> None:
    found = sort_tokens(cuda.zeros(300, np.int64), 0, V, run, threads)
    assert found.count.get()[0] == 0
    assert found.starts.get()[0] == 0


def test_an_id_out_of_range_is_reported(cuda: ModuleType) -> None:
    ids = np.arange(200) % V
    ids[150] = V
    found = sort_tokens(cuda.asarray(ids), None, V, 64, 32)
    with pytest.raises(IndexError, match="out of range"):
        launcher.check()
    assert found.count.get()[0] == V
    launcher.check()
