"""What the questions to a GPU rest on, in the simulator: a wrong value is not timed, the report tells."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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


@pytest.fixture
def part(gpu: Any, tmp_path: Path) -> Any:
    return gpu("part").Part("some", "What it asks.", [str(tmp_path), "--seconds", "1000", "--small"])


def test_what_was_found_is_kept(gpu: Any, part: Any, tmp_path: Path) -> None:
    def fails() -> dict[str, Any]:
        raise RuntimeError("no such\nluck")

    part.attempt({"row": 1}, lambda: {"us": 2.0})
    assert json.loads((tmp_path / "some.json").read_text())["status"] == "running"
    part.attempt({"row": 2}, fails)
    found = json.loads((tmp_path / "some.json").read_text())
    assert found["rows"] == [{"row": 1, "us": 2.0}, {"row": 2, "error": "RuntimeError: no such luck"}]


def test_no_row_begins_when_time_is_up(gpu: Any, tmp_path: Path) -> None:
    late = gpu("part").Part("late", "What it asks.", [str(tmp_path), "--seconds", "0"])
    assert list(late.each("rows", [1, 2, 3])) == []
    assert late.result["notes"] == ["time was up: 3 of 3 rows left out"]


def test_a_second_visit_goes_on(gpu: Any, tmp_path: Path) -> None:
    """Rows that were begun are not begun again, and what they found stays."""

    def visit(seconds: str, rows: int) -> Any:
        part = gpu("part").Part("some", "What it asks.", [str(tmp_path), "--seconds", seconds])
        for row in part.each("rows", [1, 2, 3]):
            if row > rows:
                break  # it hung, and was ended
            part.attempt({"row": row}, dict)
        return part

    visit("1000", 1)
    assert visit("0", 3).result["notes"] == ["time was up: 1 of 3 rows left out"]
    (tmp_path / "other.json").write_text(json.dumps({"begun": {}, "rows": [1], "small": False}))
    gpu("part").Part("other", "What it asks.", [str(tmp_path)])
    assert json.loads((tmp_path / "other-1.json").read_text())["rows"] == [1]
    last = visit("1000", 3)
    assert last.result["rows"] == [{"row": 1}, {"row": 3}]
    assert last.result["notes"] == []
    assert list(last.each("others", [4])) == [4]


def test_clusters_are_told(gpu: Any) -> None:
    """What the driver is given lies as in cuda.h; the report has a line for its answer."""
    clusters = gpu("clusters")
    offsets = [getattr(clusters.Config, name).offset for name, _ in clusters.Config._fields_]
    assert offsets == [0, 12, 24, 32, 40, 48]
    assert clusters.Attribute.value.offset == 8
    rows = [{"what": "clusters of 8 blocks", "clusters": 16}, {"what": "clusters of 16 blocks", "error": "no"}]
    (table,) = gpu("report").of_part_ceilings({"ceilings": {"rows": rows}})
    assert "| clusters of 8 blocks |  |  | 16 clusters |" in table


def test_a_broken_peer_is_a_missing_one(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = gpu("device")
    (tmp_path / "torch.py").write_text("raise ImportError('no such\\nlibrary')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(device, "HAS_TORCH", True)
    device._torch.cache_clear()
    assert device.torch() is None
    assert device.why_no_torch() == "PyTorch cannot be imported: no such library"
    device._torch.cache_clear()


def test_a_peer_that_fails_is_left_out(gpu: Any) -> None:
    timing = gpu("timing")

    def fails() -> None:
        raise RuntimeError("no kernel\nfor this")

    def race(**functions: Any) -> dict[str, Any]:
        timed = {name: timing.timed(name, function) for name, function in functions.items()}
        return timing.race(timed, [timing.Call("call", (), 1)])

    found = race(minigrad=lambda: None, pytorch=fails, jax=lambda: None)
    assert found["left_out"] == {"pytorch": "no kernel for this"}
    assert found["variants"].keys() == {"minigrad", "jax"}
    assert found["variants"]["jax"]["wall_us"]["median"] > 0
    with pytest.raises(RuntimeError, match="no kernel"):
        race(minigrad=fails, pytorch=lambda: None)


def test_inference_is_in_the_mode_for_it(torch: ModuleType, gpu: Any) -> None:
    """In training cuDNN writes what a backward needs; and its backward wants that."""
    layers = gpu("layers")
    inputs, networks = layers.Inputs(2, 3, 64, False), layers.Networks(1, 64)
    for layer in (networks.peer("fp32", inputs), networks.ours("fp32", inputs)):
        layer.step(False)()
        assert not layer._module.training
        layer.step(True)()
        assert layer._module.training
        layer.step(False)
        layer.results()
        assert layer._module.training


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_peers_graph_is_its_step(torch: ModuleType, gpu: Any, optimizer: str) -> None:
    import numpy as np
    from peers.problem import Task
    from workloads import like_multi30k

    task = Task(vocab_sizes=(30, 20), embedding_size=6, hidden_size=8, dropout=0.0, optimizer=optimizer)
    batches = [*like_multi30k(2, 4, task.vocab_sizes), *like_multi30k(1, 3, task.vocab_sizes)]
    losses = []
    for graphed in (False, True):
        peer = gpu("peer_graphs").Peer(task, 1)
        peer.use("fp32", graphed=graphed)
        losses.append([peer.step(batch, None) for batch in batches * 2])
        peer.use("fp32")
        losses[-1].append(peer.step(batches[0], None))
        peer.drop_graphs()
    np.testing.assert_allclose(losses[1][:-1], losses[0][:-1], rtol=1e-4)
    assert np.isfinite(losses).all()


def test_a_failing_part_says_why(gpu: Any, tmp_path: Path) -> None:
    def main(part: Any) -> None:
        raise ValueError("not today")

    assert gpu("part").run("some", "What it asks.", main, [str(tmp_path)]) == 1
    assert json.loads((tmp_path / "some.json").read_text())["status"] == "failed: ValueError: not today"


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_wrong_layers_are_not_timed(gpu: Any, value: float) -> None:
    import numpy as np

    lstm = gpu("lstm")
    right = {"y": np.ones(4), "dx": np.ones(4)}
    errors = lstm.worst({"y": np.ones(4), "dx": np.array([1, 1, 1, value])}, right)
    assert errors["outputs"] == 0
    assert not errors["gradients"] < 0.2
    assert not lstm.accepted(errors, lstm.TOLERANCE["bf16"])
    assert lstm.accepted({"outputs": 1e-5, "gradients": 1e-4}, lstm.TOLERANCE["fp32"])


def test_the_grid_is_whole(gpu: Any) -> None:
    lstm = gpu("lstm")
    cases = lstm.FIRST + lstm.grid()
    assert len(cases) == len(set(cases)) == 4 * 3 * 5 * 6 * 2 * 2
    assert all(case.N == 128 for case in cases[:20])


def test_every_stage_is_still_in_the_sources(gpu: Any, tmp_path: Path) -> None:
    ablations, sources = gpu("ablations"), gpu("sources")
    for number, (name, edits) in enumerate(ablations.STAGES.items()):
        folder = sources.changed(tmp_path / str(number), edits, 512)
        text = (folder / "recurrent/lstm_forward.cu").read_text()
        assert ", 512)\n" in text, name
        assert len(text) < len((sources.SOURCE_FOLDER / "recurrent/lstm_forward.cu").read_text())
    with pytest.raises(ValueError, match="anything like"):
        sources.changed(tmp_path / "none", [("no such text", "")], 512)


def test_goals_are_judged_by_their_rows(gpu: Any, tmp_path: Path) -> None:
    report = gpu("report")

    def row(ratio: float, ours: bool = True, **case: Any) -> dict[str, Any]:
        medians = {"pytorch": 100 * ratio} | ({"minigrad": 100.0, "minigrad-graph": 50.0} if ours else {})
        race = {"variants": {name: {"us": {"median": us, "low": us, "high": us}} for name, us in medians.items()}}
        usual = {"precision": "bf16", "layers": 1, "H": 512, "N": 128, "T": 25, "ragged": False, "left_out": {}}
        return {**usual, **case, "forward": race, "forward+backward": race}

    rows = [
        row(2.5), row(1.5, layers=2), row(9.0, precision="fp32"), row(1.1, precision="fp16"), row(4.0, N=8),
        {**row(1.0, ours=False, T=50), "left_out": {"minigrad": "wrong result: errors of 1 and 2"}},
        {**row(7.0), "error": "lost"},
    ]  # fmt: skip
    file = {"status": "complete", "device": "a GPU", "simulated": False, "seconds": 1.0, "notes": ["a note"]}
    (tmp_path / "lstm.json").write_text(json.dumps({**file, "rows": rows}))
    (tmp_path / "decoding.log").write_text("Traceback\nKeyError: 3\n")
    text = "\n".join(report.sections(tmp_path, report.read(tmp_path)))
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("|")}
    both = "| 2 | 1.50 to 2.50, middle 2.50 | 1 of 2 | 3.00 to 5.00, middle 5.00 | 2 of 2 |"
    assert both in lines[report.GOALS[0][0]]
    assert "| 1 | 1.10 to 1.10, middle 1.10 | 1 of 1 |" in lines[report.GOALS[2][0]]
    assert "1 of 1" in lines["nn.LSTM, N <= 8"]
    assert "not measured" in lines["the same at H=1024"]
    assert "- bf16 1 512 128 50 : WRONG: minigrad left out: wrong result: errors of 1 and 2" in text
    assert "- a note" in text
    assert "no figures: KeyError: 3" in text


def test_floors_of_the_tutorials_step(gpu: Any) -> None:
    floors = gpu("floors")
    row = {"precision": "bf16", "flops": 199e9, "layer_steps": 100, "update_bytes": 290e6}
    assert floors.training_step(row, floors.rates(None)) == pytest.approx(252 + 120 + 67, abs=1)
    lstm = {"precision": "bf16", "layers": 1, "H": 512, "N": 128, "T": 25, "ragged": False}
    assert floors.lstm(lstm, floors.rates(None)) == pytest.approx(3 * 25 * 128 * 8 * 512 * 1024 / 790e6 + 30)


def test_device_tests_are_chosen_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef cuda(): return 1\n"
        "def test_right(cuda): assert cuda == 1\n"
        "def test_wrong(cuda): assert cuda == 2\n"
        "def test_other(): assert False\n"
    )
    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "gpu.only_cuda", "--device-results", str(results)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
    subprocess.run([*command, "--rootdir", str(tmp_path), str(tmp_path)], env=environment, capture_output=True)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert lines[0] == {"collected": 2}
    assert [(line["test"], line["outcome"]) for line in lines[1:]] == [
        ("test_some.py::test_right", "passed"), ("test_some.py::test_wrong", "failed"),
    ]  # fmt: skip
    assert "assert 1 == 2" in lines[2]["error"]
