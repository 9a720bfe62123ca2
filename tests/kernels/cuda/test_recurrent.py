"""LSTM and GRU layers on the device against those of the CPU and, in float64, against the oracle.

Tolerances, relative to the largest element. float32: sums of up to a hundred products in another order and the
device's own exp, each a few units of 2^-24. bf16: an operand that the CPU rounds up and the device rounds down, since
they differ in the last bit of float32 before, is off by 2^-8 of itself; few are.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kernels
from kernels import cpu, reference
from kernels.reference.lstm import token_places

FLOAT32, BF16 = 5e-6, 1e-2
LENGTHS = {
    "without padding": None,
    "some": np.array([3, 5, 0, 5]),
    "none at all": np.zeros(4, np.int64),
    "equal": np.full(4, 5),
}
LAYERS = {"lstm": 4, "gru": 3}


def sample(bench: Any, name: str, T: int, N: int, I: int, H: int, dtype: Any = np.float32) -> list[Any]:  # noqa: E741
    rows = LAYERS[name] * H
    states, biases = (2, 1) if name == "lstm" else (1, 2)
    weights = [bench.normal(rows, I, dtype=dtype), bench.normal(rows, H, dtype=dtype)]
    return [
        bench.normal(T, N, I, dtype=dtype), *(bench.normal(N, H, dtype=dtype) for _ in range(states)), *weights,
        *(bench.normal(rows, dtype=dtype) for _ in range(biases)),
    ]  # fmt: skip


def both_ways(entry: ModuleType, name: str, arguments: Any, dys: Any, lengths: Any, bf16: bool) -> tuple[Any, ...]:
    """Outputs and gradients of a layer, and its cache."""
    *outputs, cache = getattr(entry, f"{name}_forward")(*arguments, lengths, bf16)
    return (*outputs, *getattr(entry, f"{name}_backward")(*dys, cache)), cache


def compare(bench: Any, name: str, arguments: list[Any], lengths: Any, bf16: bool, tolerance: float) -> None:
    N, H = arguments[1].shape
    y = bench.normal(*arguments[0].shape[:-1], H, dtype=arguments[0].dtype)
    dys = [y, *(bench.normal(N, H, dtype=y.dtype) for _ in range(2 if name == "lstm" else 1))]
    want, _ = both_ways(cpu, name, arguments, dys, lengths, bf16)
    got, _ = both_ways(kernels, name, bench.to(arguments), bench.to(dys), lengths, bf16)
    for k, (a, b) in enumerate(zip(bench.back(got), want, strict=True)):
        bench.close(a, b, tolerance, f"result {k}")


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("name", LAYERS)
def test_like_the_cpu(bench: Any, name: str, bf16: bool, lengths: Any, packed: bool) -> None:
    arguments = sample(bench, name, 5, 4, 7, 9)
    if packed:
        lengths = np.full(4, 5) if lengths is None else lengths
        arguments[0] = arguments[0][token_places(lengths)]
    compare(bench, name, arguments, lengths, bf16, BF16 if bf16 else FLOAT32)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (0, 3, 4, 5), (3, 0, 4, 5), (2, 3, 0, 5), (6, 17, 5, 33)])
def test_odd_shapes(bench: Any, name: str, shape: tuple) -> None:
    compare(bench, name, sample(bench, name, *shape), None, False, FLOAT32)


@pytest.mark.parametrize("name", LAYERS)
def test_without_biases_and_with_gradients_missing(bench: Any, name: str) -> None:
    count = 5 if name == "lstm" else 4
    arguments = sample(bench, name, 4, 3, 5, 6)[:count] + [None] * (1 if name == "lstm" else 2)
    for which in range(3 if name == "lstm" else 2):
        dys: list[Any] = [None] * (3 if name == "lstm" else 2)
        dys[which] = bench.normal(4, 3, 6) if which == 0 else bench.normal(3, 6)
        want, _ = both_ways(cpu, name, arguments, dys, None, False)
        got, _ = both_ways(kernels, name, bench.to(arguments), bench.to(dys), None, False)
        for a, b in zip(bench.back(got), want, strict=True):
            bench.close(a, b, FLOAT32)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("name", LAYERS)
def test_float64_is_the_oracle(bench: Any, name: str, lengths: Any) -> None:
    arguments = sample(bench, name, 5, 4, 3, 6, np.float64)
    dys = [bench.normal(*shape, dtype=np.float64) for shape in ((5, 4, 6), (4, 6), (4, 6))]
    dys = dys[: 3 if name == "lstm" else 2]
    want, _ = both_ways(reference, name, arguments, dys, lengths, False)
    got, _ = both_ways(kernels, name, bench.to(arguments), bench.to(dys), lengths, False)
    for a, b in zip(bench.back(got), want, strict=True):
        bench.close(a, b, 1e-12)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_small_batch(bench: Any, data: st.DataObject) -> None:
    T, N, I, H = (data.draw(st.integers(1, most)) for most in (6, 6, 5, 9))  # noqa: E741
    lengths = np.array(data.draw(st.lists(st.integers(0, T), min_size=N, max_size=N)))
    name = data.draw(st.sampled_from(sorted(LAYERS)))
    compare(bench, name, sample(bench, name, T, N, I, H), lengths, False, FLOAT32)
