"""CUDA sources beside those of kernels/cuda: the parts' own, the simulator's self-test, and changed copies."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernels.cuda import SOURCE_FOLDER
from kernels.cuda.runtime import launcher

HERE = Path(__file__).parent
SIMULATOR_FOLDER = HERE.parents[1] / "tests" / "cuda_sim"
RECURRENT = re.compile(r"recurrent/(?:recurrent\.cuh|lstm_(?:for|back)ward\w*\.cu)")
INSTANCE, WIDTH = re.compile(r"^LSTM_\w+\(.*\d.*\)\n", re.MULTILINE), re.compile(r"\b\d{2,4}\b")
GRID_SYNC = re.compile(r"#define USE_GRID_SYNC\n")


def load(path: Path) -> Any:
    """The kernels of a .cu file; if it asks for a barrier of the grid, with the headers of a CUDA toolkit."""
    return launcher.module(path, toolkit_options() if GRID_SYNC.search(path.read_text(encoding="utf-8")) else ())


def toolkit_options() -> tuple[str, ...]:
    """Where NVRTC finds the headers of a CUDA toolkit, if this machine has one."""
    compiler = shutil.which("nvcc")
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    homes += [Path(compiler).resolve().parents[1]] if compiler else []
    packages = importlib.util.find_spec("nvidia")  # as pip installs them
    homes += [found for place in getattr(packages, "submodule_search_locations", ()) for found in Path(place).glob("*")]
    for home in homes:
        folder = home / "include"
        if (folder / "cooperative_groups.h").exists():
            return tuple(f"-I{part}" for part in (folder, folder / "cccl") if part.exists())
    return ()


def changed(folder: Path, edits: Sequence[tuple[str, str]], H: int) -> Path:
    """A copy of all sources in ``folder``, the recurrent ones with edits, and with kernels for one H only.

    Args:
        folder: is made.
        edits: (regular expression, replacement), tried on every recurrent source.
        H: what other widths would cost is compiling.

    Raises:
        ValueError: an expression that matches nothing: the sources have changed.
    """
    paths = [path for path in SOURCE_FOLDER.rglob("*.cu*") if path.is_file()]
    texts = {path.relative_to(SOURCE_FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    recurrent = [name for name in texts if RECURRENT.fullmatch(name)]
    for old, new in edits:
        counts = 0
        for name in recurrent:
            texts[name], count = re.subn(old, new, texts[name])
            counts += count
        if counts == 0:
            raise ValueError(f"no recurrent source has anything like {old!r} any more")
    for name, text in texts.items():
        if name in recurrent:
            text = INSTANCE.sub(lambda match: match[0] if str(H) in WIDTH.findall(match[0]) else "", text)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
