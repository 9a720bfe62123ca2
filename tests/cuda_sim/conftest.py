"""The rig that every test of a kernel gets, and one clear reason to skip them where there is no compiler."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

FOLDER = str(Path(__file__).parent)
if FOLDER not in sys.path:
    sys.path.append(FOLDER)

from harness import Rig  # noqa: E402


@pytest.fixture(scope="session")
def rig() -> Rig:
    """The kernels as they are, under all schedules."""
    if sys.platform != "linux" or shutil.which("g++") is None:
        pytest.skip("the simulator that runs CUDA kernels on the processor needs Linux and g++")
    return Rig()
