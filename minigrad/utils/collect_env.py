"""``python -m minigrad.utils.collect_env``: what a bug report needs to know of this machine.

It names no person, no machine and no folder, but that where compiled kernels are kept.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import kernels
from minigrad import cuda
from minigrad.creation import tensor

DISTRIBUTION = "minigrad-seq2seq"
_VARIABLES = ("NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "CUDA_", "CUPY_", "MINIGRAD_", "XDG_CACHE_HOME")


def get_pretty_env_info() -> str:
    """The report, a line for each thing."""
    return "\n".join(f"{name + ':':14}{value}" for name, value in entries())


def entries() -> Iterator[tuple[str, str]]:
    """The report: a name, and what was found."""
    yield "python", f"{platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}"
    yield "processor", ", ".join([processor(), *kernels.processor_features()])
    yield "threads", f"{kernels.get_num_threads()} of {os.cpu_count()} processors"
    yield "packages", ", ".join(f"{name} {version}" for name, version in sorted(_packages()))
    folder, count = kernels.compiled_kernels()
    yield "kernels", f"{count} compiled, in {folder}" if folder else "compiled in every process: no folder to keep them"
    yield "gpu", cuda.get_device_name() if cuda.is_available() else "none that CuPy can use"
    given = sorted(name for name in os.environ if name.startswith(_VARIABLES))
    yield "environment", ", ".join(f"{name}={os.environ[name]}" for name in given) or "nothing that matters here"
    yield "a product", "right" if _product_is_right() else "WRONG: please report this"


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _packages() -> Iterator[tuple[str, str]]:
    """This one, what it needs, and what it can make use of, where it is installed."""
    try:
        needed = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from its sources
        needed = []
    names = {"numpy", "numba", *(requirement.split(";")[0].split("[")[0] for requirement in needed)}
    for name in {DISTRIBUTION, *(name.split(">")[0].split("=")[0].strip() for name in names)}:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _product_is_right() -> bool:
    """As a sign that kernels compile and run."""
    found: list[list[float]] = (tensor([[1.0, 2.0], [3.0, 4.0]]) @ tensor([[5.0, 6.0], [7.0, 8.0]])).tolist()
    return found == [[19.0, 22.0], [43.0, 50.0]]


if __name__ == "__main__":
    print(get_pretty_env_info())
