"""LSTM and GRU layers on the device against those of the CPU and, in float64, against the oracle.

Tolerances, relative to the largest element. float32: sums of up to a hundred products in another order and the
device's own exp, each a few units of 2^-24. bf16: an operand that the CPU rounds up and the device rounds down, since
they differ in the last bit of float32 before, is off by 2^-8 of itself; few are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kernels
from kernels import cpu, reference
from kernels.cuda.recurrent import lstm_persistent
from kernels.cuda.runtime import launcher
from kernels.cuda.runtime.switches import switched
from kernels.packing import Packing, equal_lengths
from tests.kernels.conftest import counts_of, pack, packing_of

FLOAT32, TF32, BF16 = 5e-6, 2e-3, 1e-2
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


def both_ways(entry: ModuleType, name: str, arguments: Any, dys: Any, packing: Packing, bf16: bool) -> tuple[Any, ...]:
    """Outputs and gradients of a layer, and its cache."""
    *outputs, cache = getattr(entry, f"{name}_forward")(*arguments, packing, bf16)
    return (*outputs, *getattr(entry, f"{name}_backward")(*dys, cache)), cache


def packed(arguments: list[Any], lengths: Any) -> tuple[list[Any], Packing]:
    """Arguments of a layer, x packed, and how."""
    x, *others = arguments
    return [pack(x, counts_of(x, lengths)), *others], packing_of(x, lengths)


def compare(bench: Any, name: str, padded: list[Any], lengths: Any, bf16: bool, tolerance: float) -> None:
    arguments, packing = packed(padded, lengths)
    N, H = arguments[1].shape
    y = bench.normal(packing.num_tokens, H, dtype=arguments[0].dtype)
    dys = [y, *(bench.normal(N, H, dtype=y.dtype) for _ in range(2 if name == "lstm" else 1))]
    want, _ = both_ways(cpu, name, arguments, dys, packing, bf16)
    got, _ = both_ways(kernels, name, bench.to(arguments), bench.to(dys), packing, bf16)
    for k, (a, b) in enumerate(zip(bench.back(got), want, strict=True)):
        bench.close(a, b, tolerance, f"result {k}")


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("name", LAYERS)
def test_like_the_cpu(bench: Any, name: str, bf16: bool, lengths: Any) -> None:
    compare(bench, name, sample(bench, name, 5, 4, 7, 9), lengths, bf16, BF16 if bf16 else FLOAT32)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (0, 3, 4, 5), (3, 0, 4, 5), (2, 3, 0, 5), (6, 17, 5, 33)])
def test_odd_shapes(bench: Any, name: str, shape: tuple) -> None:
    compare(bench, name, sample(bench, name, *shape), None, False, FLOAT32)


@pytest.mark.parametrize("name", LAYERS)
def test_without_biases_and_with_gradients_missing(bench: Any, name: str) -> None:
    count = 5 if name == "lstm" else 4
    arguments, packing = packed(sample(bench, name, 4, 3, 5, 6)[:count], None)
    arguments += [None] * (1 if name == "lstm" else 2)
    for which in range(3 if name == "lstm" else 2):
        dys: list[Any] = [None] * (3 if name == "lstm" else 2)
        dys[which] = bench.normal(12, 6) if which == 0 else bench.normal(3, 6)
        want, _ = both_ways(cpu, name, arguments, dys, packing, False)
        got, _ = both_ways(kernels, name, bench.to(arguments), bench.to(dys), packing, False)
        for a, b in zip(bench.back(got), want, strict=True):
            bench.close(a, b, FLOAT32)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("name", LAYERS)
def test_float64_is_the_oracle(bench: Any, name: str, lengths: Any) -> None:
    arguments, packing = packed(sample(bench, name, 5, 4, 3, 6, np.float64), lengths)
    dys = [bench.normal(*shape, dtype=np.float64) for shape in ((packing.num_tokens, 6), (4, 6), (4, 6))]
    dys = dys[: 3 if name == "lstm" else 2]
    want, _ = both_ways(reference, name, arguments, dys, packing, False)
    got, _ = both_ways(kernels, name, bench.to(arguments), bench.to(dys), packing, False)
    for a, b in zip(bench.back(got), want, strict=True):
        bench.close(a, b, 1e-12)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_states_alone_have_the_same_bits(bench: Any, bf16: bool, lengths: Any) -> None:
    arguments, packing = packed(sample(bench, "lstm", 5, 4, 7, 9), lengths)
    x, h0, c0, *weights = bench.to(arguments)
    *want, _ = kernels.lstm_forward(x, h0, c0, *weights, packing, bf16)
    prepacked = kernels.prepack_lstm(*weights, bf16)
    assert prepacked.input_size == 7
    for a, b in zip(kernels.lstm_states(x, h0, c0, prepacked, packing), want, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("lengths", [None, np.array([3, 5, 0, 5])], ids=["without padding", "some"])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_some_steps_at_a_time(bench: Any, dtype: Any, bf16: bool, lengths: Any) -> None:
    """Steps 0, then 1 and 2, then the others; forwards, and backwards from the cache that was filled."""
    (x, *others), packing = packed(sample(bench, "lstm", 5, 4, 7, 9, dtype), lengths)
    host = cpu if dtype == np.float32 else reference
    *want, cache = host.lstm_forward(x, *others, packing, bf16)
    run = kernels.incremental_lstm_start(*bench.to(others), packing, bf16)
    ys = by_steps(bench.to(x), packing, [0, 1, 3, 5], run)
    *got, device_cache = kernels.incremental_lstm_finish(run)
    tolerance = BF16 if bf16 else FLOAT32
    for a, b in zip(bench.back([np.concatenate(ys), *got]), [want[0], *want], strict=True):
        bench.close(a, b, tolerance)
    dy = bench.normal(*want[0].shape, dtype=dtype)
    found = bench.back(kernels.lstm_backward(bench.to(dy), None, None, device_cache))
    for a, b in zip(found, host.lstm_backward(dy, None, None, cache), strict=True):
        bench.close(a, b, tolerance)


def by_steps(x: Any, packing: Packing, cuts: list[int], run: Any) -> list[Any]:
    """The y of each call, from cut to cut."""
    ends = [packing.tokens_before(cut) for cut in cuts]
    between = zip(cuts, itertools.pairwise(ends), strict=False)
    return [kernels.incremental_lstm_step(x[a:b], cut, run) for cut, (a, b) in between]


def test_a_cache_may_be_consumed(bench: Any) -> None:
    arguments, packing = packed(sample(bench, "lstm", 5, 4, 7, 9), None)
    dy = bench.to(bench.normal(20, 9))
    *_, cache = kernels.lstm_forward(*bench.to(arguments), packing)
    first, second, third = (kernels.lstm_backward(dy, None, None, cache, consume) for consume in (False, False, True))
    for a, b, c in zip(first, second, third, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()


@pytest.fixture(params=["persistent", "marked", "in parts", "stepwise", "without room"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, cuda: Any) -> Iterator[str]:
    """How a bf16 layer is computed."""
    if request.param in ("in parts", "without room"):
        most = 1 if request.param == "in parts" else 0  # groups of rows
        monkeypatch.setattr(launcher.Kernel, "fits", lambda _, launch: not launch.cooperative or launch.grid[1] <= most)
    with switched(persistent=request.param != "stepwise", marked=request.param == "marked"):
        yield request.param


@pytest.mark.parametrize("shape", [(4, 5, 6, 64), (3, 19, 8, 70), (1, 1, 1, 1), (2, 33, 5, 20)])
def test_bf16_in_every_way(bench: Any, way: str, shape: tuple) -> None:
    T, N = shape[:2]
    lengths = bench.rng.integers(0, T + 1, N)
    arguments = sample(bench, "lstm", *shape)
    arguments[4:6] = [0.3 * weight for weight in arguments[4:6]]
    ragged, packing = packed(arguments, lengths)
    used = isinstance(kernels.lstm_forward(*bench.to(ragged), packing, True)[3], lstm_persistent.Cache)
    assert used == (way in ("persistent", "marked", "in parts") and lengths.any())
    for counts in (lengths, None):
        compare(bench, "lstm", arguments, counts, True, BF16)


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
@pytest.mark.parametrize("H", [64, 70])
def test_steps_have_the_bits_of_the_whole(bench: Any, way: str, precision: str, H: int) -> None:
    """Some steps are a launch of the rows that are alive then, and leave what the backward of a whole layer needs."""
    T, N = 6, 35
    lengths = np.random.default_rng(1).integers(0, T + 1, N)
    arguments, packing = packed(sample(bench, "lstm", T, N, 5, H), lengths)
    x, *others = bench.to(arguments)
    dy, rounded = bench.to(bench.normal(packing.num_tokens, H)), precision == "bf16"
    kernels.allow_tf32(not rounded)
    want, _ = both_ways(kernels, "lstm", [x, *others], [dy, None, None], packing, rounded)
    run = kernels.incremental_lstm_start(*others, packing, rounded)
    assert isinstance(run, lstm_persistent.Run) == (way in ("persistent", "marked", "in parts"))
    ys = by_steps(x, packing, [0, 1, 2, 5, T], run)
    y, *states, cache = kernels.incremental_lstm_finish(run)
    got = bench.back([y, *states, *kernels.lstm_backward(dy, None, None, cache)])
    tolerance = {"bf16": BF16, "tf32": TF32}[precision]
    for k, (a, b) in enumerate(zip(got, bench.back(want), strict=True)):
        if isinstance(run, lstm_persistent.Run):
            assert a.tobytes() == b.tobytes(), k
        bench.close(a, b, tolerance, f"result {k}")
    assert np.concatenate(bench.back(ys)).tobytes() == got[0].tobytes()


def test_two_runs_are_equal_to_the_bit(bench: Any, way: str) -> None:
    lengths = np.array([4, 1, 3])
    arguments, packing = packed(sample(bench, "lstm", 4, 3, 5, 64), lengths)
    arguments, dy = bench.to(arguments), bench.to(bench.normal(packing.num_tokens, 64))
    runs = [both_ways(kernels, "lstm", arguments, [dy, None, None], packing, True)[0] for _ in range(2)]
    assert [a.tobytes() for a in runs[0]] == [a.tobytes() for a in runs[1]]


@pytest.mark.parametrize("shape", [(4, 5, 6, 64), (3, 19, 8, 70), (2, 33, 5, 20)])
def test_tf32_in_every_way(bench: Any, way: str, shape: tuple) -> None:
    """Operands keep ten bits of their fraction: each is off by up to 2^-11 of itself."""
    T, N = shape[:2]
    lengths = bench.rng.integers(0, T + 1, N)
    arguments = sample(bench, "lstm", *shape)
    arguments[4:6] = [0.3 * weight for weight in arguments[4:6]]
    kernels.allow_tf32(True)
    try:
        ragged, packing = packed(arguments, lengths)
        used = isinstance(kernels.lstm_forward(*bench.to(ragged), packing)[3], lstm_persistent.Cache)
        assert used == (way in ("persistent", "marked", "in parts"))
        for counts in (lengths, None):
            compare(bench, "lstm", arguments, counts, False, TF32)
    finally:
        kernels.allow_tf32(False)


@pytest.mark.parametrize(("H", "tf32"), [(520, False), (300, True)])
def test_wide_layers(bench: Any, H: int, tf32: bool) -> None:
    arguments = sample(bench, "lstm", 2, 3, 4, H)
    arguments[4] = 0.1 * arguments[4]
    kernels.allow_tf32(tf32)
    try:
        ragged, packing = packed(arguments, np.array([2, 0, 1]))
        cache = kernels.lstm_forward(*bench.to(ragged), packing, not tf32)[3]
        assert cache.plan[2].name == "lstm_forward_wide"
        assert cache.plan[3].name == "lstm_backward_wide"
        compare(bench, "lstm", arguments, np.array([2, 0, 1]), not tf32, TF32 if tf32 else BF16)
    finally:
        kernels.allow_tf32(False)


def test_a_layer_too_wide_takes_a_step_at_a_time(bench: Any) -> None:
    packing = equal_lengths(2, 3)
    assert lstm_persistent.plan(packing, 1024, True) is not None
    assert lstm_persistent.plan(packing, 1025, True) is None
    assert lstm_persistent.plan(packing, 64, False) is None  # float32, and TF32 is not allowed


def test_a_lost_block_is_an_error(bench: Any) -> None:
    launcher.error_word().fill(1)
    arguments, packing = packed(sample(bench, "lstm", 2, 3, 4, 5), None)
    y, *_ = kernels.lstm_forward(*bench.to(arguments), packing, True)
    with pytest.raises(RuntimeError, match="a block that never ran"):
        kernels.to_host(y)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_small_batch(bench: Any, data: st.DataObject) -> None:
    T, N, I, H = (data.draw(st.integers(1, most)) for most in (6, 6, 5, 9))  # noqa: E741
    lengths = np.array(data.draw(st.lists(st.integers(0, T), min_size=N, max_size=N)))
    name = data.draw(st.sampled_from(sorted(LAYERS)))
    compare(bench, name, sample(bench, name, T, N, I, H), lengths, False, FLOAT32)
