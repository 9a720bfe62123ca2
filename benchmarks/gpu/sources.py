"""CUDA sources beside those of kernels/cuda: the parts' own, the simulator's self-test, and changed copies."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from kernels.cuda import SOURCE_FOLDER, launcher

HERE = Path(__file__).parent
SIMULATOR_FOLDER = HERE.parents[1] / "tests" / "cuda_sim"
GRID_SYNC = re.compile(r"#define USE_GRID_SYNC\n")


def load(path: Path) -> Any:
    """The kernels of a .cu file; if it asks for a barrier of the grid, with the headers of a CUDA toolkit."""
    return launcher.module(path, toolkit_options() if GRID_SYNC.search(path.read_text(encoding="utf-8")) else ())


def toolkit_options() -> tuple[str, ...]:
    """Where NVRTC finds the headers of a CUDA toolkit, if this machine has one."""
    compiler = shutil.which("nvcc")
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), compiler and Path(compiler).resolve().parents[1]]
    for home in filter(None, homes):
        folder = Path(home) / "include"
        if (folder / "cooperative_groups.h").exists():
            return tuple(f"-I{part}" for part in (folder, folder / "cccl") if part.exists())
    return ()


def changed(folder: Path, edits: list[tuple[str, str, str]]) -> Path:
    """A copy of all sources in ``folder`` with edits (file, regular expression, replacement), each of which must match.

    Raises:
        ValueError: an expression that matches nothing: the sources have changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*SOURCE_FOLDER.glob("*.cu"), *SOURCE_FOLDER.glob("*.cuh")):
        shutil.copy(path, folder)
    for name, old, new in edits:
        text, count = re.subn(old, new, (folder / name).read_text(encoding="utf-8"))
        if count == 0:
            raise ValueError(f"{name} has nothing like {old!r} any more")
        (folder / name).write_text(text, encoding="utf-8")
    return folder
