"""The sandbox of the random tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kernels.cpu.jit import CACHE_FOLDER

FOLDER = str(Path(__file__).parent)
if FOLDER not in sys.path:
    sys.path.append(FOLDER)

from bounded import run_here  # noqa: E402
from sandbox import TINY, Sandbox  # noqa: E402

# Trainings of the kinds that rounds draw: what they would wait for is compiled before.
KINDS = ([], ["--precision", "fp64", "--num-layers", "2"], ["--reverse-source", "--label-smoothing", "0.1"])


@pytest.fixture(scope="session")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    folder = tmp_path_factory.mktemp("fuzz")
    sandbox = Sandbox(folder / "sandbox")
    for number, words in enumerate(KINDS):
        data, run = sandbox.work / "digits.tsv", folder / f"run-{number}"
        outcome = run_here("train", ["--data", str(data), "--run-dir", str(run), *TINY, *words], limit=250)
        assert outcome.code == 0, outcome.err
    return sandbox


@pytest.fixture
def sandbox(_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox as it was made, and this process in its folder ``work``, without a network."""
    _sandbox.reset()
    monkeypatch.chdir(_sandbox.work)
    if CACHE_FOLDER is not None:  # what is compiled lies where it lay before
        monkeypatch.setenv("NUMBA_CACHE_DIR", CACHE_FOLDER)
    monkeypatch.setenv("HOME", str(_sandbox.root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(_sandbox.root / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return _sandbox
