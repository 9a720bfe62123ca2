"""Writes ``minigrad/torch_names.txt``: which public names PyTorch has in which namespace. Names, and nothing else.

python tests/golden/make_torch_names.py [file]

What a namespace holds depends on what has been imported, so it needs an interpreter of its own.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import textwrap
import types
from pathlib import Path

TARGET = Path(__file__).parents[2] / "minigrad" / "torch_names.txt"
NAMESPACES = (
    "torch", "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.nn.utils.rnn", "torch.optim",
    "torch.optim.lr_scheduler", "torch.autograd", "torch.cuda", "torch.random", "torch.backends",
    "torch.utils.data", "torch.Tensor", "torch.nn.Module",
)  # fmt: skip
FOREIGN = {"typing", "typing_extensions", "collections", "functools", "itertools", "warnings", "contextlib", "bisect"}


def public_names(namespace: str) -> set[str]:
    """What ``__all__`` lists, and what else is there without an underscore and is PyTorch's own."""
    owner = namespace_of(namespace)
    listed = {name for name in getattr(owner, "__all__", ()) if not name.startswith("_")}
    return listed | {name for name in dir(owner) if not name.startswith("_") and is_own(getattr(owner, name, None))}


def namespace_of(namespace: str) -> object:
    parent, _, name = namespace.rpartition(".")
    return getattr(importlib.import_module(parent), name) if name[0].isupper() else importlib.import_module(namespace)


def is_own(value: object) -> bool:
    if isinstance(value, types.ModuleType):
        return value.__name__.startswith("torch.")
    return str(getattr(value, "__module__", "torch")).split(".")[0] not in FOREIGN and not isinstance(value, bool)


def submodules() -> set[str]:
    """Packages of the first and second level, by name."""
    found = set()
    for name in ("torch", "torch.utils", "torch.nn", "torch.optim", "torch.autograd", "torch.cuda"):
        package = importlib.import_module(name)
        found |= {f"{name}.{each}" for _, each, _ in pkgutil.iter_modules(package.__path__) if each[0] != "_"}
    return found


def main() -> None:
    import torch

    version = ".".join(torch.__version__.split(".")[:2])
    lines = [f"# Public names of PyTorch {version}, written by tests/golden/make_torch_names.py."]
    for title, names in [*((each, public_names(each)) for each in NAMESPACES), ("modules", submodules())]:
        lines += [f"[{title}]", *textwrap.wrap(" ".join(sorted(names)), 118, break_long_words=False)]
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
