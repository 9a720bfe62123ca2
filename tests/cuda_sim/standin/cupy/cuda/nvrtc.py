"""cupy.cuda.nvrtc of the stand-in: its compiler is g++ with the simulator, its cubin a shared library."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

SIMULATOR_FOLDER = Path(__file__).parents[3]


class NVRTCError(RuntimeError):
    """The compiler refused a program."""


class _Program:
    def __init__(self, source: str, name: str, headers: dict[str, bytes]) -> None:
        self.source, self.name, self.headers, self.log = source, name, headers, ""
        self.library: Path | None = None


_programs: dict[int, _Program] = {}
_numbers = itertools.count(1)


@cache
def harness() -> ModuleType:
    """tests/cuda_sim/harness.py, which knows how to build for the simulator."""
    if "harness" in sys.modules:
        return sys.modules["harness"]
    spec = importlib.util.spec_from_file_location("cuda_sim_harness", SIMULATOR_FOLDER / "harness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def getVersion() -> tuple[int, int]:
    """Another one whenever the simulator or the way to build with it changes."""
    texts = [path.read_bytes() for path in sorted(SIMULATOR_FOLDER.glob("*.[hc]pp"))]
    flags = repr((harness().FLAGS, harness().EXTRA_FLAGS)).encode()
    return 0, int(hashlib.sha256(b"\0".join([*texts, flags])).hexdigest()[:8], 16)


def getSupportedArchs() -> tuple[int, ...]:
    return 75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121


def createProgram(src: str, name: str, headers: Any, include_names: Any) -> int:
    for item in (*headers, *include_names):
        if not isinstance(item, bytes):
            raise TypeError(f"expected bytes, {type(item).__name__} found")
    number = next(_numbers)
    names = [name.decode() for name in include_names]
    _programs[number] = _Program(src, name, dict(zip(names, headers, strict=True)))
    return number


def compileProgram(prog: int, options: tuple[str, ...]) -> None:
    program = _programs[prog]
    if "-std=c++17" not in options or not any(option.startswith("-arch=sm_") for option in options):
        raise NVRTCError(f"NVRTC_ERROR_INVALID_OPTION (5): {options}")
    texts, own = harness().sources(), harness().SOURCE_FOLDER
    headers = {name: text.encode() for name, text in texts.items() if name.endswith(".cuh")}
    original = next((name for name, text in texts.items() if text == program.source), None)
    defines = [option for option in options if option.startswith("-D")]
    if not defines and headers == program.headers and original is not None:
        program.library = harness().build(own / original)  # as the tests of the kernels themselves build it
    else:
        program.library = _build(program, defines)


def _build(program: _Program, defines: list[str]) -> Path:
    folder = Path(tempfile.mkdtemp())
    for name, text in {**program.headers, program.name: program.source.encode()}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(text)
    library = folder / "program.so"
    command = harness().command(folder / program.name, folder, defines)
    result = subprocess.run([*command, "-o", str(library)], capture_output=True, text=True)
    program.log = result.stderr
    if result.returncode:
        raise NVRTCError("NVRTC_ERROR_COMPILATION (6)")
    return library


def getProgramLog(prog: int) -> str:
    return _programs[prog].log


def getCUBIN(prog: int) -> bytes:
    library = _programs[prog].library
    assert library is not None, "not compiled"
    return library.read_bytes()


def destroyProgram(prog: int) -> None:
    del _programs[prog]
