"""Devices. This version computes on the CPU; asking for another device is one clear error."""

from __future__ import annotations


class device:  # noqa: N801  (PyTorch's name)
    """A place for tensors: ``device("cpu")``; equal to its string."""

    __slots__ = ("index", "type")

    def __init__(self, name: str | device, index: int | None = None) -> None:
        text = str(name)
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


CPU = device("cpu")


def require_cpu(where: str | device | None) -> None:
    """Raise where a tensor is asked for on a device that this version has no kernels for."""
    if where is not None and device(where).type != "cpu":
        raise RuntimeError(f"device {str(where)!r} is not available: this version of minigrad computes on the CPU only")
