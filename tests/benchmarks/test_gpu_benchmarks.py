"""What the questions to a GPU rest on, in the simulator: a wrong value is not timed, and errors leave the rest."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import layers
import numpy as np
import pytest
import racing
from gpu import device_tests
from peers import ablated
from peers.layers import LayerTask
from peers.problem import Task
from workloads import like_multi30k

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on PATH")
@pytest.mark.parametrize("source", sorted((ROOT / "benchmarks" / "gpu").glob("*.cu")), ids=lambda path: path.stem)
def test_sources_compile_without_spills(source: Path, tmp_path: Path) -> None:
    command = ["nvcc", "-cubin", "-std=c++17", "-arch=sm_90", f"-I{ROOT / 'kernels' / 'cuda'}"]
    command += ["-Xptxas", "--warn-on-spills,-Werror", str(source), "-o", str(tmp_path / "out.cubin")]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr


@pytest.fixture
def torch() -> ModuleType:
    """Asked for before the device: what it imports, its optimisers only later, looks for CuPy, not for the stand-in."""
    found: ModuleType = pytest.importorskip("torch")
    importlib.import_module("torch._dynamo")
    return found


def test_a_broken_peer_is_a_missing_one(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = gpu("peers.device")
    (tmp_path / "torch.py").write_text("raise ImportError('no such\\nlibrary')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert device.why_no_torch() == "PyTorch cannot be imported: no such library"
    assert device.reference() == "minigrad-cpu"
    with pytest.raises(RuntimeError, match="PyTorch cannot be imported"):
        device.Here("pytorch", Task()).call("step")


def test_a_peer_that_fails_is_left_out(gpu: Any) -> None:
    """And ours, too; what others do is worth knowing."""
    device = gpu("peers.device")

    class Fails:
        def call(self) -> None:
            raise RuntimeError("no kernel\nfor this")

    class Works:
        def call(self) -> int:
            return 1

    def here(name: str, peer: Any) -> Any:
        made = device.Here(name, None)
        made._peer = peer
        return made

    contestants = {
        name: here(name, Fails() if name == "minigrad" else Works()) for name in ("minigrad", "pytorch", "jax")
    }
    found = racing.race(contestants, [racing.Call("call", (), 1, 0)], 2, strict=False)
    assert found["left_out"] == {"minigrad": "no kernel for this"}
    assert found["variants"].keys() == {"pytorch", "jax"}
    assert contestants["jax"].call("peak_memory")[1] >= 0
    with pytest.raises(RuntimeError, match="no kernel"):
        racing.race({"minigrad": here("minigrad", Fails())}, [racing.Call("call", (), 1, 0)], 2)


@pytest.mark.parametrize("ragged", [False, True])
def test_both_libraries_have_one_layer(torch: ModuleType, ragged: bool) -> None:
    """The same weights and inputs; and in inference the mode for it: in training cuDNN writes what a backward needs."""
    from peers import minigrad, pytorch

    task = LayerTask(2, 8, 3, 4, ragged)
    ours, theirs = (peer.Layer(task, "fp64", 1) for peer in (minigrad, pytorch))
    right = theirs.results()
    assert max(layers.worst(ours.results(), right)) < 1e-12
    for layer in (ours, theirs):
        layer.forward()
        assert not layer.module.training
        layer.both()
        assert layer.module.training


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_peers_graph_is_its_step(torch: ModuleType, optimizer: str) -> None:
    from peers import pytorch

    task = Task(vocab_sizes=(30, 20), embedding_size=6, hidden_size=8, dropout=0.0, optimizer=optimizer)
    batches = [*like_multi30k(2, 4, task.vocab_sizes), *like_multi30k(1, 3, task.vocab_sizes)]
    losses = []
    for graphed in (False, True):
        peer = pytorch.Peer(task, "fp32", 1, graphed=graphed)
        losses.append([peer.step(batch, None) for batch in batches * 2])
        losses[-1].append(pytorch.Peer(task, "fp32", 1, like=peer).step(batches[0], None))
    np.testing.assert_allclose(losses[1][:-1], losses[0][:-1], rtol=1e-4)
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_wrong_layers_are_not_timed(value: float) -> None:
    right = {"y": np.ones(4), "dx": np.ones(4)}
    errors = layers.worst({"y": np.ones(4), "dx": np.array([1, 1, 1, value])}, right)
    assert errors[0] == 0
    assert not errors[1] < 0.2
    with pytest.raises(AssertionError, match="errors of 0 and "):
        layers.check("minigrad-bf16", errors)
    layers.check("minigrad", (1e-5, 1e-4))


def test_rows_of_layers_have_names_of_their_own() -> None:
    for quick in (False, True):
        for made in (layers.rows(quick), layers.rows_of_processor(quick)):
            assert len({layers.title(row) for row in made}) == len(made)
    assert layers.title(layers.rows(False)[1]) == "2 layers H=512 N=128 T=50, packed, forward and backward, bf16"
    assert layers.contestants("fp16") == ["minigrad-bf16", "minigrad-graph-bf16", "pytorch-fp16", "pytorch-graph-fp16"]


def test_every_stage_is_still_in_the_sources(tmp_path: Path) -> None:
    whole = (ablated.SOURCE_FOLDER / "recurrent/lstm_forward.cu").read_text()
    for number, (name, edits) in enumerate(ablated.STAGES.items()):
        text = (ablated.cut(tmp_path / str(number), edits, 512) / "recurrent/lstm_forward.cu").read_text()
        assert ", 512)\n" in text, name
        assert len(text) < len(whole)
    with pytest.raises(ValueError, match="anything like"):
        ablated.cut(tmp_path / "none", {"no such text": ""}, 512)


def test_device_tests_are_chosen_and_counted(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef cuda(): return 1\n"
        "def test_right(cuda): assert cuda == 1\n"
        "def test_wrong(cuda): assert cuda == 2\n"
        "@pytest.mark.skip(reason='no')\ndef test_not(cuda): pass\n"
        "def test_other(): assert False\n"
    )
    command = [*device_tests.command(1000.0, ()), "-o", "addopts=", "--rootdir", str(tmp_path), str(tmp_path)]
    around = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks"), "COLUMNS": "200"}
    said = subprocess.run(command, env=around, cwd=tmp_path, capture_output=True, text=True).stdout
    rows: dict[str, dict[str, Any]] = {"tests": {}}
    for line in said.splitlines():
        device_tests.note(line, rows)
    assert rows == {
        "tests": {"passed": 1, "failed": 1, "skipped": 1},
        "failed: test_some.py::test_wrong": {"error": "assert 1 == 2"},
    }
    device_tests.note("[gw1] [ 12%] PASSED tests/test_x.py::test_y", rows)
    assert rows["tests"]["passed"] == 2
