"""Without CuPy or without a GPU: one clear line where a GPU is asked for, and everything else as ever."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from kernels import devices

ASKING = {
    "to": lambda: mg.zeros(2).to("cuda"),
    "cuda": lambda: mg.zeros(2).cuda(),
    "zeros": lambda: mg.zeros(2, device="cuda:0"),
    "tensor": lambda: mg.tensor([1.0], device=mg.device("cuda")),
    "Module.to": lambda: mg.nn.Linear(2, 2).to("cuda"),
    "Module.cuda": lambda: mg.nn.Linear(2, 2).cuda(),
    "layer": lambda: mg.nn.Linear(2, 2, device="cuda"),
}


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)


def cupy_that_finds(monkeypatch: pytest.MonkeyPatch, count: Any) -> None:
    """A CuPy whose driver counts so many GPUs, or raises."""

    def get_device_count() -> int:
        if isinstance(count, Exception):
            raise count
        return count

    cupy: Any = ModuleType("cupy")
    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.runtime = ModuleType("cupy.cuda.runtime")
    cupy.cuda.runtime.getDeviceCount = get_device_count
    monkeypatch.setitem(sys.modules, "cupy", cupy)


@pytest.mark.usefixtures("no_cupy")
@pytest.mark.parametrize("name", ASKING)
def test_without_cupy(name: str) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    *libraries, _ = project["optional-dependencies"]["gpu"]  # without NumPy, which is there
    command = re.escape(f"pip install {' '.join(map(repr, libraries))}")
    with pytest.raises(RuntimeError, match=rf"^device 'cuda(:0)?' is not available: CuPy is not installed; {command}$"):
        ASKING[name]()


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy_that_finds(monkeypatch, RuntimeError("cudaErrorInsufficientDriver: the driver is too old\nand more"))
    message = (
        r"^device 'cuda' is not available: CuPy finds no GPU \(cudaErrorInsufficientDriver: the driver is too old\)$"
    )
    with pytest.raises(RuntimeError, match=message):
        mg.zeros(2).to("cuda")
    assert not mg.cuda.is_available()


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy_that_finds(monkeypatch, 0)
    with pytest.raises(RuntimeError, match=r"^device 'cuda' is not available: CuPy finds no GPU$"):
        mg.zeros(2).cuda()


def test_a_number_that_no_gpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy_that_finds(monkeypatch, 2)
    with pytest.raises(RuntimeError, match=r"^device 'cuda:2' is not available: CuPy finds 2 GPUs$"):
        mg.zeros(2, device="cuda:2")


def test_a_cupy_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('libcudart.so is missing')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RuntimeError, match=r"is not available: CuPy cannot be imported \(libcudart.so is missing\)$"):
        mg.zeros(2).cuda()


@pytest.mark.usefixtures("no_cupy")
def test_a_refused_move_changes_nothing() -> None:
    layer = mg.nn.Linear(2, 2)
    arrays = [param.array for param in layer.parameters()]
    with pytest.raises(RuntimeError, match="is not available"):
        layer.to("cuda", mg.float64)
    assert all(param.array is array for param, array in zip(layer.parameters(), arrays, strict=True))


@pytest.mark.usefixtures("no_cupy")
def test_questions_are_answered() -> None:
    assert not mg.cuda.is_available()
    assert mg.cuda.device_count() == 0
    assert mg.cuda.memory_allocated() == mg.cuda.max_memory_allocated() == mg.cuda.memory_reserved() == 0
    mg.cuda.synchronize()
    mg.cuda.empty_cache()
    with pytest.raises(RuntimeError, match="is not available"):
        mg.cuda.get_device_name()


@pytest.mark.usefixtures("no_cupy")
def test_the_host_needs_none() -> None:
    x = mg.zeros(2, 3, device="cpu")
    assert x.to("cpu") is x
    assert x.cpu() is x
    assert mg.device("cuda:1").index == 1
    assert mg.device(1) == "cuda:1"
    assert np.array_equal(mg.full((2,), 3, device=mg.device("cpu")).numpy(), [3, 3])
