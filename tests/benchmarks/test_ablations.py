"""Ours without a trick for speed computes the same, and really goes without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import ablations
import layers
import numpy as np
import pytest
from peers import ablated, minigrad
from peers.loops import Loop, LoopTask, Slices, SliceTask
from peers.problem import Task

ROOT = Path(__file__).parents[2]
TASK = Task(vocab_sizes=(60, 50), embedding_size=8, hidden_size=16, dropout=0.0)


class Here:
    """A worker in this process."""

    def __init__(self, name: str, peer: Any) -> None:
        self.name, self.peer = name, peer

    def call(self, method: str, *arguments: Any, times: int = 1) -> tuple[float, Any]:
        return 1.0, [getattr(self.peer, method)(*arguments) for _ in range(times)][-1]


def both(without: str, **changes: Any) -> Any:
    return Here("minigrad", minigrad.Peer(TASK, "fp32", 1)), Here(
        f"without {without}", ablated.Peer(TASK, "fp32", 1, without)
    )


@pytest.mark.parametrize("without", ablated.WITHOUT)
def test_results_are_the_same_to_the_bit(without: str) -> None:
    ablations.verify(both(without), ablations.calls(TASK, without, 4))


def test_another_result_is_found() -> None:
    pair, asked = both("lazy rows"), ablations.calls(TASK, "lazy rows", 4)
    weight: Any = pair[1].peer.model.decoder.fc_out.weight
    weight.data[0, 0] += 1e-3
    with pytest.raises(AssertionError, match="without lazy rows: step gives"):
        ablations.verify(pair, asked)
    weight.data[0, 0] += 1e-3
    with pytest.raises(AssertionError, match="without lazy rows has other weights: encoder"):
        ablations.verify(pair, [])


def test_tables_have_other_gradients_or_nothing_to_catch_up_with() -> None:
    for without, by_rows, lags in (("", True, True), ("lazy rows", True, False), ("gradients by rows", False, False)):
        peer = ablated.Peer(TASK, "fp32", 1, without)
        (call, *_) = ablations.calls(TASK, without, 1)
        peer.step(*call.arguments)
        peer.step(*call.arguments)
        weight: Any = peer.model.encoder.embedding.weight
        assert hasattr(weight.grad, "rows") is by_rows, without
        assert (weight.pending is not None) is lags, without


@pytest.mark.parametrize(
    ("loop", "task", "lacking", "gradient"),
    [
        (Loop, LoopTask(3, 4, 5, 6), "gradients that wait", "d0"),
        (Slices, SliceTask(4, 3, 2), "gradients of parts", "dx"),
    ],
)
def test_a_loop_computes_the_same_without_its_trick(loop: Any, task: Any, lacking: str, gradient: str) -> None:
    right, found = (loop(task, "fp32", 1, without).results() for without in ("", lacking))
    layers.check("minigrad", layers.worst(found, right))
    right[gradient] = right[gradient] * 1.1
    with pytest.raises(AssertionError, match="errors of"):
        layers.check("minigrad", layers.worst(found, right))


def test_a_loop_goes_without_what_it_is_to_lack() -> None:
    """In a process of its own, where nothing else has loaded the kernels."""
    program = """
from kernels import threads
from peers.loops import Loop, LoopTask
loop = Loop(LoopTask(2, 3, 4, 5), "fp32", 2, "threads that stand by")
loop.step()
assert type(threads._Settings.standby) is threads.Standby, threads._Settings.standby
assert loop._as_used(loop.output.weight).is_leaf
gone = Loop(LoopTask(2, 3, 4, 5), "fp32", 1, "gradients that wait")
assert not gone._as_used(gone.output.weight).is_leaf
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_what_is_earned() -> None:
    class Clock(Here):
        def call(self, method: str, *arguments: Any, times: int = 1) -> tuple[float, Any]:
            return self.peer, None

    pair: Any = [Clock("minigrad", 2.0), Clock("other", 3.0)]
    found = ablations.measure(pair, [ablations.Call("step", (), 1)], 3)
    assert found["earns"] == {"low": 1.5, "median": 1.5, "high": 1.5}
    assert np.isclose(found["without_us"]["median"], 3e6)


def test_the_script_writes_its_figures(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "ablations.py"), "--quick", "--rounds", "2", "--threads", "1"]
    command += ["--only", "weights kept prepacked,gradients that wait", "--json", str(path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(path.read_text())["ablations"]
    assert len(found) == 2
    assert all(figures["earns"]["median"] > 0 for figures in found.values())
