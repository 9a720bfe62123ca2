"""The scripts import one another from their own folder, as when they are run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = str(Path(__file__).parents[2] / "benchmarks")
if FOLDER not in sys.path:
    sys.path.append(FOLDER)


@pytest.fixture
def gpu(cuda: ModuleType) -> Iterator[Any]:
    """Imports modules of benchmarks/gpu beside the device, or the stand-in."""

    def load(name: str) -> Any:
        return importlib.import_module(f"gpu.{name}")

    yield load
    for name in [name for name in sys.modules if name.split(".")[0] == "gpu"]:
        del sys.modules[name]
