"""The stand-in for CuPy is as strict as CuPy, and knows no name or parameter that CuPy lacks."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

SIGNATURES = Path(__file__).parent / "standin" / "cupy" / "_signatures.py"

Call = Callable[[Any, ModuleType], Any]


@pytest.fixture
def standin(cuda: ModuleType) -> ModuleType:
    if not cuda.__version__.endswith("standin"):
        pytest.skip("this is CuPy itself")
    return cuda


REFUSED: dict[str, Call] = {
    "array beside": lambda x, cp: x + np.ones(4, np.float32),
    "array before": lambda x, cp: np.ones(4, np.float32) + x,
    "0-d array": lambda x, cp: x + np.array(1.0),
    "list": lambda x, cp: np.add(x, [1.0, 1.0, 1.0, 1.0]),
    "product": lambda x, cp: x @ np.ones(4, np.float32),
    "in place": lambda x, cp: x.__iadd__(np.ones(4, np.float32)),
    "as output": lambda x, cp: np.add(x, x, out=np.ones(4, np.float32)),
    "where": lambda x, cp: np.where(np.ones(4, bool), x, 0.0),
    "join": lambda x, cp: np.concatenate([x, np.ones(4, np.float32)]),
    "conversion": lambda x, cp: np.asarray(x),
    "contiguous": lambda x, cp: np.ascontiguousarray(x),
    "index of NumPy": lambda x, cp: np.ones(4)[x],
    "into NumPy": lambda x, cp: np.ones(4).__setitem__(slice(None), x),
    "as an index": lambda x, cp: [1, 2][cp.zeros((), np.int64)],
    "hash": lambda x, cp: hash(x),
    "full(like=)": lambda x, cp: np.full(3, 1.0, like=x),
    "ones(like=)": lambda x, cp: np.ones(3, like=x),
    "eye(like=)": lambda x, cp: np.eye(3, like=x),
    "initial=": lambda x, cp: np.sum(x, initial=0.0),
    "mode=": lambda x, cp: np.take(x, cp.asarray([0]), axis=0, mode="clip"),
    "repeats": lambda x, cp: np.repeat(x, np.array([1, 2, 1, 1])),
    "order=": lambda x, cp: np.add(x, x, order="C"),
    "None beside": lambda x, cp: x == None,  # noqa: E711
    "add.at of floats": lambda x, cp: np.add.at(x, cp.asarray([0, 0]), 1.0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, standin: ModuleType) -> None:
    with pytest.raises((TypeError, AttributeError)):
        REFUSED[name](standin.ones(4, np.float32), standin)


def test_an_assignment_of_a_numpy_array_is_refused(standin: ModuleType) -> None:
    with pytest.raises(ValueError, match="cannot be used for fill"):
        standin.zeros(4)[:2] = np.ones(2)


def test_an_assignment_of_two_values_to_one_element_is_refused(standin: ModuleType) -> None:
    x = standin.zeros(4)
    x[standin.asarray([1, 1])] = 2.0
    with pytest.raises(ValueError, match="not defined"):
        x[standin.asarray([1, 1])] = standin.asarray([2.0, 3.0])
    assert x.tolist() == [0.0, 2.0, 0.0, 0.0]


def test_results_are_aligned_device_arrays(standin: ModuleType) -> None:
    x = standin.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    for result in (
        x + 1,
        np.float32(2) * x,
        np.exp(x),
        x.sum(),
        np.where(x > 1, x, 0.0),
        np.zeros(3, like=x),
        x[x > 2],
    ):
        assert type(result) is standin.ndarray
        assert (type(result).__module__, type(result).__name__) == ("cupy", "ndarray")
        assert result.data.ptr % 256 == 0
    assert x.sum().shape == ()
    assert x.sum().dtype == np.float32


def test_views_share_memory_and_copies_do_not(standin: ModuleType) -> None:
    x = standin.zeros((3, 4), np.float32)
    for k, view in enumerate((x[1], x.T, x.reshape(-1), x[:, 1:3], np.moveaxis(x, 0, 1), np.split(x, 3)[0], x[1, 1])):
        view[...] = k + 1
        assert (x == k + 1).any(), k
    kept = x.copy()
    for other in (x[standin.asarray([0])], x.astype(np.float32), np.concatenate([x, x]), x.flatten()):
        other[...] = 99
    assert (kept == x).all()


def test_indices_out_of_range_wrap_around(standin: ModuleType) -> None:
    x = standin.asarray([10.0, 11.0, 12.0])
    assert x[standin.asarray([0, 3, -1])].tolist() == [10.0, 10.0, 12.0]
    assert np.take(x, standin.asarray([4]), axis=0).tolist() == [11.0]
    with pytest.raises(IndexError):
        x[3]


def test_memory_is_guarded_and_counted(standin: ModuleType) -> None:
    from cupy import _memory

    gc.collect()
    pool = standin.get_default_memory_pool()
    before = pool.used_bytes()
    x = standin.empty(1000, np.float32)
    assert np.isnan(x.get()).all()
    assert pool.used_bytes() == before + 4096
    _memory.check_guards(x)
    raw = _memory.memory_of(x._a)
    raw[raw.size - 200] = 0
    with pytest.raises(AssertionError, match="outside a buffer"):
        _memory.check_guards(x)
    del x, raw
    gc.collect()
    assert pool.used_bytes() == before


def test_what_waits_for_the_device_is_noted(standin: ModuleType) -> None:
    from cupy import _memory

    _memory.synchronisations.clear()
    x = standin.ones(4, np.float32)
    _ = (x * 2).sum() + x[1:3].max()
    assert _memory.synchronisations == []
    x.sum().item()
    np.nonzero(x)
    assert _memory.synchronisations == ["get", "nonzero"]


def test_the_standin_leaves_with_its_test() -> None:
    module = sys.modules.get("cupy")
    assert module is None or not module.__version__.endswith("standin")


def test_names_and_parameters_are_cupys() -> None:
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    import cupy

    ours = SimpleNamespace(**runpy.run_path(str(SIGNATURES)))
    for name in ours.UFUNC_NAMES:
        assert isinstance(getattr(cupy, name), cupy.ufunc), name
    for name, signature in {**ours.SIGNATURES, **ours.CREATION}.items():
        if name == "size":
            continue
        real = list(inspect.signature(getattr(cupy, name)).parameters)
        given = [part.lstrip("*") for part in signature.split()]
        assert given == real[: len(given)] or set(given) <= set(real), name


def captured(standin: ModuleType, work: Callable[[], Any]) -> tuple[Any, Any]:
    """A graph of CuPy's own operations with a pool of its own, and what `work` returned."""
    stream, pool = standin.cuda.Stream(non_blocking=True), standin.cuda.MemoryPool()
    with standin.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        try:
            result = work()
        finally:
            graph = stream.end_capture()
    return (graph, pool), result


def test_operations_under_capture_are_done_at_each_replay(standin: ModuleType) -> None:
    x = standin.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))

    def work() -> Any:
        y = (x * 2 + 1).sum(axis=1)
        y += 1
        z = standin.zeros(3, np.float32)
        z[:2] = y
        return z, x[:, 1].astype(np.float64), np.where(x > 2, x, 0)

    (graph, _), (z, column, kept) = captured(standin, work)
    for shift in (0, 10):
        x.set(np.arange(6, dtype=np.float32).reshape(2, 3) + shift)
        graph.launch()
        host = x.get()
        np.testing.assert_array_equal(z.get(), [*((host * 2 + 1).sum(axis=1) + 1), 0])
        np.testing.assert_array_equal(column.get(), host[:, 1])
        np.testing.assert_array_equal(kept.get(), np.where(host > 2, host, 0))


def test_under_capture_operations_need_a_pool_and_nothing_comes_from_the_host(standin: ModuleType) -> None:
    x = standin.ones(3, np.float32)
    stream = standin.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="capture"):
            x + 1
        with pytest.raises(RuntimeError, match="capture"):
            standin.asarray(np.ones(3))
        with pytest.raises(RuntimeError, match="capture"):
            x.get()
        stream.end_capture()


def test_a_pool_hands_memory_out_again(standin: ModuleType) -> None:
    """So a graph that is given an array which outlives the capture, but lies in its pool, writes where others read."""
    x = standin.asarray(np.full(3, 7, np.float32))

    def work() -> None:
        x + 1  # dropped: its memory is free again, though every replay writes there

    (graph, pool), _ = captured(standin, work)
    with standin.cuda.using_allocator(pool.malloc):
        intruder = standin.zeros(3, np.float32)
    graph.launch()
    np.testing.assert_array_equal(intruder.get(), [8, 8, 8])
