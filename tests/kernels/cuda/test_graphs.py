"""Graphs of loops over time steps: launched with the numbers of each call, and only on the memory of the call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import cpu
from kernels.cuda.recurrent import lstm_stepwise
from kernels.cuda.runtime import geometry, graphs, launcher
from kernels.cuda.runtime.switches import switched, switches
from kernels.packing import pack_lengths


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Graphs on, and none kept from another test."""
    graphs._graphs.clear()
    with switched(step_graphs=True):
        yield
    graphs._graphs.clear()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to graphs."""
    events: list[str] = []
    captured = graphs._captured

    def capture(device: Any, work: Any) -> Any:
        events.append("captured")
        return captured(device, work)

    monkeypatch.setattr(graphs, "_captured", capture)
    return events


class Doubling:
    """Work that doubles an array, four launches of its own."""

    def __init__(self, bench: Any) -> None:
        self.x = bench.to(np.ones(5, np.float32))
        self.two = bench.to(np.array(2, np.float32))
        self.made = 0

    def __call__(self) -> None:
        self.made += 1
        for _ in range(4):
            launcher.module("runtime/convert").scale_by(geometry.convert(5), (self.x, self.two, np.uint64(5)))


def test_the_first_call_launches_the_second_captures(bench: Any, counted: list[str]) -> None:
    work = Doubling(bench)
    for call, (made, captures) in enumerate([(1, 0), (2, 1), (2, 1), (2, 1)]):
        work.x.fill(call + 1)
        graphs.run(work, 4, "doubling", graphs.address(work.x))
        assert work.x.tolist() == [16 * (call + 1)] * 5
        assert (work.made, len(counted)) == (made, captures)


def test_other_keys_short_loops_and_the_switch(bench: Any, counted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    work = Doubling(bench)
    for call in range(3):
        graphs.run(work, 4, "doubling", call)
        graphs.run(work, graphs.LEAST_STEPS - 1, "short")
    kernels.allow_tf32(True)
    try:
        graphs.run(work, 4, "doubling", 0)
    finally:
        kernels.allow_tf32(False)
    with switched(step_graphs=False):
        graphs.run(work, 4, "doubling", 0)
    assert (work.made, counted) == (8, [])


def test_only_the_last_keys_are_kept(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "KEPT", 3)
    work = Doubling(bench)
    for call in [0, 1, 2, 3, 3]:
        graphs.run(work, 4, call)
    assert [key[-1] for key in graphs._graphs] == [1, 2, 3]


def test_a_capture_around_records_the_launches(bench: Any, counted: list[str]) -> None:
    work, stream = Doubling(bench), bench.cupy.cuda.Stream(non_blocking=True)
    graphs.run(work, 4, "doubling")
    work.x.fill(1)
    with stream:
        stream.begin_capture()
        for _ in range(2):
            graphs.run(work, 4, "doubling")
        graph = stream.end_capture()
    assert work.x.tolist() == [1] * 5
    graph.launch()
    assert work.x.tolist() == [256] * 5
    assert counted == []


def test_layers_go_on_where_nothing_can_be_captured(bench: Any) -> None:
    def work() -> None:
        made.append(1)
        if bench.cupy.cuda.get_current_stream().is_capturing():
            raise RuntimeError("not permitted")

    made: list[int] = []
    graphs.run(work, 4, "key")
    with pytest.warns(UserWarning, match=r"no CUDA graph could be made \(not permitted\)"):
        graphs.run(work, 4, "key")
    graphs.run(work, 4, "key")
    assert len(made) == 4
    assert not switches.step_graphs
    assert not bench.cupy.cuda.get_current_stream().is_capturing()


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
def test_a_layer_on_the_same_memory(bench: Any, counted: list[str], bf16: bool) -> None:
    """Its buffers are kept here, as a training loop gets them back from the pool; the numbers change."""
    packing = pack_lengths(np.array([5, 3, 6, 0]))
    arrays = [bench.normal(*shape) for shape in ((4, 9), (4, 9), (36, 7), (36, 9), (36,))]
    h0, c0, *weights = bench.to(arrays)
    run = lstm_stepwise.start(None, h0, c0, lstm_stepwise.LSTMWeights(*weights, bf16), packing)
    cache, tolerance = run.cache, 1e-2 if bf16 else 5e-6
    for _ in range(3):
        x = bench.normal(14, 7)
        cache.x[...] = bench.to(x)
        run.advance()
        want = cpu.lstm_forward(x, *arrays, packing, bf16)
        bench.close(bench.back(run.finish()[0]), want[0], tolerance)
    assert counted == ["captured"]


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_graphs_change_no_bit(bench: Any, name: str) -> None:
    """Forwards and backwards, with arrays that come and go; results are copied at once."""
    states, biases = (2, 1) if name == "lstm" else (1, 2)
    rows = 9 * (4 if name == "lstm" else 3)
    weights = [bench.normal(rows, 7), bench.normal(rows, 9), *[bench.normal(rows) for _ in range(biases)]]
    device = bench.to([*[bench.normal(4, 9) for _ in range(states)], *weights])
    inputs, packing = [bench.normal(14, 7) for _ in range(5)], pack_lengths(np.array([5, 3, 6, 0]))

    def run() -> list[bytes]:
        results = []
        for x in inputs:
            *outputs, cache = getattr(kernels, f"{name}_forward")(bench.to(x), *device, packing)
            gradients = getattr(kernels, f"{name}_backward")(*outputs, cache)
            results += [array.tobytes() for array in (*outputs, *gradients)]
            del outputs, cache, gradients
        return results

    in_graphs = run()
    with switched(step_graphs=False):
        assert run() == in_graphs
