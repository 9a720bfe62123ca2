"""Updates of parameters and clipping on the device: the bits of the CPU, and nothing that waits for the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kernels
from kernels import cpu, reference

SHAPES = [(3, 4), (1,), (9000,), (0, 5)]
SCALARS = {
    "adam": kernels.adam_scalars(3, 1e-3, 0.9, 0.99, 1e-8, 0.01, False),
    "adamw": kernels.adam_scalars(1, 1e-2, 0.8, 0.9, 1e-6, 0.1, True),
}


def equal(got: list[Any], want: list[Any]) -> None:
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def lists(bench: Any, dtype: Any = np.float32) -> list[list[np.ndarray]]:
    """params, grads, m, v."""
    made = [[bench.normal(*shape, dtype=dtype) for shape in SHAPES] for _ in range(4)]
    return [*made[:3], [v * v for v in made[3]]]


def scale_of(bench: Any, where: str, value: float, dtype: Any = np.float32) -> Any:
    return bench.to(np.array(value, dtype)) if where == "device" else value


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scalars", SCALARS.values(), ids=SCALARS.keys())
def test_adam(bench: Any, scalars: kernels.AdamScalars, dtype: Any, where: str) -> None:
    host = lists(bench, dtype)
    device, single = bench.to(host), bench.to(host)
    backend = cpu if dtype == np.float32 else reference
    factor = scale_of(bench, where, 0.3, dtype)
    kernels.adam_step_all(*device, scalars, factor)
    for arrays in zip(*single, strict=True):
        kernels.adam_step_all(*([array] for array in arrays), scalars, factor)
    backend.adam_step_all(*host, scalars, 0.3)
    for got in (device, single):
        equal([a for part in bench.back(got) for a in part], [a for part in host for a in part])


@pytest.mark.parametrize("count", [0, 3])
def test_adam_of_rows(bench: Any, count: int) -> None:
    param, m, v = bench.normal(8, 5), bench.normal(8, 5), bench.normal(8, 5) ** 2
    rows, values = np.array([1, 4, 7])[:count], bench.normal(count, 5)
    scalars = SCALARS["adam"]
    device = bench.to([param, rows, values, m, v])
    kernels.adam_rows_step(*device, scalars, 0.5)
    cpu.adam_rows_step(param, rows, values, m, v, scalars, 0.5)
    equal(list(bench.back(device)), [param, rows, values, m, v])
    first, history = np.array([0, 2, 4])[:count], np.stack([scalars] * 4)
    device = bench.to([param, m, v, rows, first])
    kernels.adam_replay(*device, history)
    cpu.adam_replay(param, m, v, rows, first, history)
    equal(list(bench.back(device))[:3], [param, m, v])


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_sgd(bench: Any, first: bool, nesterov: bool, momentum: float | None, where: str) -> None:
    for shape in SHAPES:
        param, grad = bench.normal(*shape), bench.normal(*shape)
        velocity = None if momentum is None else bench.normal(*shape)
        numbers = first, kernels.SGDScalars(0.1, momentum or 0.0, 0.2, nesterov, 0.01)
        device = bench.to([param, grad, velocity])
        kernels.sgd_step(*device, *numbers, scale_of(bench, where, 0.3))
        reference.sgd_step(param, grad, velocity, *numbers, 0.3)
        equal(list(bench.back(device))[: 2 if velocity is None else 3], [param, grad, velocity][: 2 + bool(momentum)])


def test_sgd_of_rows(bench: Any) -> None:
    for rows in (np.array([0, 3]), np.zeros(0, np.int64)):
        param, values = bench.normal(5, 6), bench.normal(len(rows), 6)
        device = bench.to([param, rows, values])
        kernels.sgd_rows_step(*device, 0.1, 0.3)
        reference.sgd_rows_step(param, rows, values, 0.1, 0.3)
        equal(list(bench.back(device)), [param, rows, values])


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_rmsprop(bench: Any, momentum: float | None, centred: bool) -> None:
    for shape in SHAPES:
        param, grad, square = bench.normal(*shape), bench.normal(*shape), bench.normal(*shape) ** 2 + 1
        mean = 0.1 * bench.normal(*shape) if centred else None
        velocity = None if momentum is None else bench.normal(*shape)
        numbers = kernels.RMSpropScalars(0.01, 0.9, 1e-6, 0.02, momentum or 0.0), 0.3
        host = [param, grad, square, mean, velocity]
        device = bench.to(host)
        kernels.rmsprop_step(*device, *numbers)
        reference.rmsprop_step(*host, *numbers)
        equal([a for a in bench.back(device) if a is not None], [a for a in host if a is not None])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping(bench: Any, dtype: Any) -> None:
    grads = lists(bench, dtype)[1]
    norm = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads))
    for max_norm, want in ((1.0, 1 / (norm + 1e-6)), (1e9, 1.0)):
        found = kernels.clip_coefficient(bench.to(grads), max_norm)
        assert [a.dtype for a in found] == [dtype, dtype]
        assert [a.shape for a in found] == [(), ()]
        assert [float(a) for a in bench.back(found)] == pytest.approx([norm, want], rel=1e-6)
    total = kernels.sum_of_squares(bench.to(grads[2]))
    assert float(bench.back(total)) == pytest.approx(cpu.sum_of_squares(grads[2]), rel=1e-14)
    assert float(bench.back(kernels.sum_of_squares(bench.to(grads[3])))) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_norm_that_is_not_finite(bench: Any, bad: float) -> None:
    grads = [bench.normal(4), np.array([1, bad], np.float32)]
    norm, coefficient = (float(a) for a in bench.back(kernels.clip_coefficient(bench.to(grads), 1.0)))
    assert np.isnan([norm, coefficient]).all() if np.isnan(bad) else (norm, coefficient) == (np.inf, 0)


def test_a_scale_that_is_nan_updates_nothing(bench: Any) -> None:
    host = lists(bench)
    device, nan = bench.to(host), bench.to(np.array(np.nan, np.float32))
    kernels.adam_step_all(*device, SCALARS["adam"], nan)
    kernels.sgd_step(device[0][0], device[1][0], device[2][0], False, kernels.SGDScalars(0.1, 0.9), nan)
    kernels.rmsprop_step(
        device[0][0], device[1][0], device[3][0], None, None, kernels.RMSpropScalars(0.1, 0.9, 1e-8), nan
    )
    equal([a for part in bench.back(device) for a in part], [a for part in host for a in part])


def test_a_step_does_not_wait_for_the_device(bench: Any) -> None:
    if not bench.cupy.__version__.endswith("standin"):
        pytest.skip("only the stand-in counts")
    from cupy import _memory

    device = bench.to(lists(bench))
    _memory.synchronisations.clear()
    _, coefficient = kernels.clip_coefficient(device[1], 1.0)
    kernels.adam_step_all(*device, SCALARS["adam"], coefficient)
    assert _memory.synchronisations == []
