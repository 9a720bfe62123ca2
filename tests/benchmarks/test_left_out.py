"""Peers that cannot run here: a race says why, and goes on without them.

A stand-in for PyTorch, first on the path, does as it is told where a worker imports it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import racing
from peers import worker

ROOT = Path(__file__).parents[2]
ENDS = {
    "raises": ("raise ImportError('no torch for this processor')", "ImportError: no torch for this processor"),
    "exits": ("import os; os._exit(3)", "its process ended with exit code 3"),
    "leaves": ("import sys; sys.exit(4)", "its process ended with exit code 4"),
    "illegal": ("import os; os.kill(os.getpid(), 4)", "its process was ended by SIGILL"),
    "kills": ("import os; os.kill(os.getpid(), 11)", "its process was ended by SIGSEGV"),
}


@pytest.fixture
def torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source of what workers import for PyTorch."""
    (tmp_path / "torch").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "torch" / "__init__.py"


@pytest.mark.parametrize("kind", ENDS)
def test_how_a_process_ended_is_told(kind: str, torch: Path) -> None:
    source, reason = ENDS[kind]
    torch.write_text(source)
    with racing.open_workers(["pytorch"], 1, None) as workers:
        for _ in range(2):  # another process by then
            with pytest.raises(RuntimeError, match=re.escape(f"pytorch: step: {reason}")):
                workers["pytorch"].call("step")
        assert workers["pytorch"].call("peak_memory")[1] > 1


def test_one_that_hangs_is_ended(torch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.write_text("import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)")
    monkeypatch.setattr(worker, "LIMIT", 1.5)
    with racing.open_workers(["pytorch"], 1, None) as workers:
        process = workers["pytorch"]._process
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"^pytorch: step: no answer within 1\.5 s$"):
                workers["pytorch"].call("step")
        assert process is not None
        assert process.poll() == -9


SCRIPTS = [("decoding", "illegal"), ("scaling", "kills")]  # the others are as the first


@pytest.mark.parametrize(("script", "kind"), SCRIPTS)
def test_a_race_goes_on(script: str, kind: str, torch: Path, tmp_path: Path) -> None:
    source, reason = ENDS[kind]
    torch.write_text(source)
    path = tmp_path / "figures.json"
    options = ["--quick", "--rounds", "2", "--threads", "1", "--variants", "minigrad,pytorch", "--json", str(path)]
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "left out: pytorch: " in ended.stdout
    result = json.loads(path.read_text())
    if script == "scaling":
        assert reason in result["left_out"]["pytorch"]
        assert all(point["us"].keys() == {"minigrad"} for sweep in result["sweeps"].values() for point in sweep)
        return
    assert re.search(rf"pytorch +left out .*{re.escape(reason)}", ended.stdout)
    for race in result["races"].values():
        assert reason in race["left_out"]["pytorch"]
        assert race["variants"].keys() == {"minigrad"}
        assert race["ratios"] == {"minigrad": {}}
