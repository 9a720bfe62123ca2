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
    """Imports modules of the benchmarks beside the device, or the stand-in."""
    yield importlib.import_module
    for name in [name for name in sys.modules if name.split(".")[0] == "gpu" or name == "peers.device"]:
        del sys.modules[name]
        if name == "peers.device":
            delattr(sys.modules["peers"], "device")
