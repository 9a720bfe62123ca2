"""Devices: the host, and one GPU through CuPy.

A tensor lies where its array lies. Operands of an op lie together, save numbers and host tensors without dimensions,
which go along with any device, as in PyTorch. A process uses one GPU, the first that it names.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

import kernels
from kernels import devices

CUDA_LIBRARIES = "'nvidia-cublas>=13,<14' 'nvidia-cuda-nvrtc>=13,<14' 'nvidia-cuda-runtime>=13,<14'"
INSTALL_CUPY = f"pip install 'cupy-cuda13x>=14' {CUDA_LIBRARIES}"  # works in any folder; pyproject.toml says the same


class device:  # noqa: N801  (PyTorch's name)
    """Where tensors are: ``device("cpu")``, ``device("cuda")``, ``device("cuda", 0)``; equal to its string."""

    __slots__ = ("index", "type")

    def __init__(self, name: str | device | int, index: int | None = None) -> None:
        if not isinstance(name, str | device | int) or isinstance(name, bool):
            raise TypeError(f"device: got a value of type {type(name).__name__}; expected 'cpu' or 'cuda'")
        text = f"cuda:{name}" if isinstance(name, int) else str(name)
        self.type, _, number = text.partition(":")
        if self.type not in ("cpu", "cuda") or (number and not number.isdigit()):
            raise ValueError(f"device: got {text!r}; expected 'cpu' or 'cuda'")
        self.index = int(number) if number else index

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device | str) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


Where = str | device | int | None
CPU = device("cpu")


class _Use:
    """``started``: whether tensors on a GPU have been made, so that ops have to look where their operands lie."""

    started = False
    index: int | None = None  # of the GPU that this process uses


use = _Use()


class _Here(threading.local):
    """Of one thread: the GPU on which CuPy makes its arrays, as far as it is known."""

    index: int | None = None


_here = _Here()


def _choose_here() -> None:
    """Have this thread, which may be a new one, make its arrays on the GPU of the process."""
    if use.index is not None and _here.index != use.index:
        devices.select(use.index)
        _here.index = use.index


def resolve(where: Where) -> device:
    """The device itself, with its number; None is the host.

    Raises:
        RuntimeError: there is no such device; says what is missing.
    """
    asked = CPU if where is None else device(where)
    if asked.type == "cpu":
        return CPU
    if use.index is None:
        _open(asked)
    _choose_here()
    if asked.index not in (None, use.index):
        raise RuntimeError(
            f"device {str(asked)!r} is not available: this process uses cuda:{use.index}, and one GPU is all"
        )
    return device("cuda", use.index)


def _open(asked: device) -> None:
    """Choose the GPU of this process."""
    missing = devices.missing()
    if missing is not None:
        hint = f"; {INSTALL_CUPY}" if missing.startswith("CuPy is not") else ""
        raise RuntimeError(f"device {str(asked)!r} is not available: {missing}{hint}")
    count = devices.count()
    if asked.index is not None and asked.index >= count:
        raise RuntimeError(f"device {str(asked)!r} is not available: CuPy finds {count} GPU{'s' * (count > 1)}")
    if asked.index is not None:
        devices.select(asked.index)
    use.index, use.started = devices.current(), True


def device_of(array: Any) -> device:
    """Where an array lies."""
    return device("cuda", kernels.device_of(array)) if kernels.on_device(array) else CPU


def moved(array: Any, where: device) -> Any:
    """The array itself if it lies there, else a copy of it there."""
    return kernels.to_host(array) if where.type == "cpu" else kernels.to_device(array)


def two_devices(user: str, *found: device) -> RuntimeError:
    """The error for operands on two devices."""
    names = " and ".join(map(str, found))
    return RuntimeError(
        f"{user}: expected all tensors to be on the same device, but found at least two devices, {names}"
    )


def together(user: str, arrays: list[Any]) -> list[Any]:
    """The arrays if all lie on one device; beside arrays on a GPU, those of the host without dimensions as numbers.

    Args:
        user: who asks, for the error.
        arrays: what is no array (None, a constant) is left alone.

    Raises:
        RuntimeError: two devices.
    """
    on_gpu = next((array for array in arrays if kernels.on_device(array)), None)
    if on_gpu is None:
        return arrays
    _choose_here()
    for array in arrays:
        if isinstance(array, np.ndarray) and array.ndim:
            raise two_devices(user, device_of(on_gpu), CPU)
    return [array[()] if isinstance(array, np.ndarray) else array for array in arrays]
