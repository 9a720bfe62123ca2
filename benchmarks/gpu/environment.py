"""What the figures were made on: device, driver, clocks, versions; and what is missing, with what that leaves out.

python -m gpu.environment OUT
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import cupy
from cupy.cuda import nvrtc

from gpu import device, part, sources

PACKAGES = (
    "numpy", "numba", "llvmlite", "cupy-cuda13x", "cupy-cuda12x", "torch", "triton", "nvidia-cublas",
    "nvidia-cudnn-cu13", "cuda-pathfinder", "pytest", "pytest-timeout", "hypothesis", "safetensors",
)  # fmt: skip
LEFT_OUT = {  # package, and what cannot be done without it
    "torch": "every comparison with cuDNN, the products of the ceilings, names and times of single kernels",
    "numba": "tests that compare with the CPU's kernels",
    "pytest": "the tests on the device",
    "hypothesis": "those tests that draw their shapes",
    "safetensors": "tests of checkpoints",
    "tqdm": "tests of training runs",
    "yaml": "tests that read settings from files",
}
CLOCKS = (
    "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu,ecc.mode.current"
)


def versions() -> dict[str, str]:
    """Of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def libraries() -> dict[str, Any]:
    """Versions as the libraries themselves tell them."""
    found: dict[str, Any] = {"nvrtc": list(nvrtc.getVersion()), "toolkit": list(sources.toolkit_options())}
    if not device.SIMULATED:
        found["driver"] = cupy.cuda.runtime.driverGetVersion()
        found["runtime"] = cupy.cuda.runtime.runtimeGetVersion()
    if (torch := device.torch()) is not None:
        found["torch's CUDA"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
        found["cudnn allows tf32 unless told otherwise"] = torch.backends.cudnn.allow_tf32
    return found


def properties() -> dict[str, Any]:
    """Of the device, as far as a kernel's author asks."""
    if device.SIMULATED:
        return {}
    known = cupy.cuda.runtime.getDeviceProperties(0)
    names = (
        "major", "minor", "multiProcessorCount", "totalGlobalMem", "l2CacheSize", "sharedMemPerBlockOptin",
        "sharedMemPerMultiprocessor", "regsPerMultiprocessor", "cooperativeLaunch",
    )  # fmt: skip
    return {name: known[name] for name in names if name in known}


def clocks() -> dict[str, str]:
    """As nvidia-smi reads them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    command = [tool, f"--query-gpu={CLOCKS}", "--format=csv,noheader", "--id=0"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    return dict(zip(CLOCKS.split(","), (field.strip() for field in output.split(",")), strict=False))


def compilers() -> dict[str, str]:
    """First lines of what the compilers on this machine say of themselves."""
    found = {}
    for name in ("g++", "nvcc"):
        if tool := shutil.which(name):
            lines = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=20).stdout.splitlines()
            found[name] = lines[0 if name == "g++" else -1] if lines else ""
    return found


def commit() -> dict[str, str]:
    """Of the sources, where they lie in a repository."""
    git = shutil.which("git")
    if git is None:
        return {}
    result = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, cwd=sources.HERE, timeout=20)
    return {"commit": result.stdout.strip()}


def main(figures: part.Part) -> None:
    """One row per question."""
    asked: dict[str, Callable[[], dict[str, Any]]] = {
        "properties": properties, "clocks": clocks, "versions": versions, "libraries": libraries,
        "compilers": compilers, "sources": commit,
    }  # fmt: skip
    for what, ask in asked.items():
        row = figures.attempt({"what": what}, ask)
        print(f"{what}: {', '.join(f'{key} {value}' for key, value in row.items() if key != 'what')}", flush=True)
    figures.result["cores"] = os.cpu_count()
    for package, lost in LEFT_OUT.items():
        if importlib.util.find_spec(package) is None:
            figures.note(f"{package} is not installed; left out: {lost}")


if __name__ == "__main__":
    sys.exit(part.run("environment", __doc__, main))
