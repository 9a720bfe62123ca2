"""What a name that is not here is answered with: whether PyTorch has it, and what comes nearest.

The error is what Python would raise, an AttributeError or an ImportError, so ``hasattr``, ``getattr`` with a default,
copying and pickling go on as ever. Its text is made when somebody reads it, and only then is the table of PyTorch's
names read (``torch_names.txt``, written by ``tests/golden/make_torch_names.py``).

``python -m minigrad.missing FILE.py`` says the same of every name in a script, before it runs.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = (
    "minigrad", "minigrad.nn", "minigrad.nn.functional", "minigrad.nn.init", "minigrad.nn.utils",
    "minigrad.nn.utils.rnn", "minigrad.optim", "minigrad.optim.lr_scheduler", "minigrad.autograd", "minigrad.cuda",
    "minigrad.random", "minigrad.backends", "minigrad.utils", "minigrad.utils.data",
)  # fmt: skip
CLOSE = 0.78  # how alike a misspelt name must be: two letters out of order in five


class MissingNameError(AttributeError):
    """A name that is not here.

    Args:
        text: what Python says of it.
        space: PyTorch's name of the namespace, "torch.nn" or "torch.Tensor".
        missing: the name.
        owner: what was asked for it.
    """

    def __init__(self, text: str, space: str, missing: str, owner: Any) -> None:
        super().__init__(text)
        self._text, self._space, self._missing, self._owner = text, space, missing, owner
        self.name = missing  # and no ``obj``, which keeps Python from a second guess

    def __str__(self) -> str:
        said = hint(self._space, self._missing, self._owner)
        return f"{self._text}: {said}" if said else self._text

    def __reduce__(self) -> Any:
        return AttributeError, (str(self),)


def for_module(module: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module."""

    def __getattr__(name: str) -> Any:  # noqa: N807
        text = f"module {module!r} has no attribute {name!r}"
        if name.startswith("_"):
            raise AttributeError(text)
        raise MissingNameError(text, _torch_name(module), name, sys.modules.get(module))

    return __getattr__


def of_object(owner: Any, space: str, name: str) -> AttributeError:
    """The error for an attribute that an object (a Tensor, a Module) has not."""
    text = f"{type(owner).__name__!r} object has no attribute {name!r}"
    if name.startswith("_") or hasattr(type(owner), name):  # a property of its own that failed
        return AttributeError(text)
    return MissingNameError(text, space, name, owner)


def tensor_attribute(self: Any, name: str) -> Any:
    """``Tensor.__getattr__``."""
    raise of_object(self, "torch.Tensor", name)


def hint(space: str, name: str, owner: Any) -> str:
    """What to say of ``name``, which the namespace ``space`` has not; "" where there is nothing to say."""
    near, theirs = _nearest(space, name, owner), in_torch(space, name)
    if theirs == _short(space, name) or (theirs and near is None):
        return f"PyTorch has {theirs}, minigrad does not yet" + (f"; nearest: {near}" if near else "")
    if near:
        return f"did you mean {near}?"
    return "PyTorch has no such name either" if space != "torch.nn.Module" else ""


def in_torch(space: str, name: str) -> str | None:
    """Where PyTorch has the name: in this namespace, or else in another one."""
    table = _torch_names()
    if name in table.get(space, ()) or f"{space}.{name}" in table["modules"]:
        return _short(space, name)
    if space in ("torch.Tensor", "torch.nn.Module"):
        return None
    return next((_short(other, name) for other, names in table.items() if other != "modules" and name in names), None)


def _nearest(space: str, name: str, owner: Any) -> str | None:
    """How to do without; or where the same name is; or which name of the owner is written like it."""
    from difflib import get_close_matches

    from minigrad.replacements import REPLACEMENTS

    if name in REPLACEMENTS:
        return REPLACEMENTS[name]
    if space != "torch.nn.Module" and (same := _same_elsewhere(name)):
        return same
    own = _offered(owner) if isinstance(owner, ModuleType) else [each for each in dir(owner) if each[0] != "_"]
    close = get_close_matches(_folded(name), map(_folded, own), 1, CLOSE)
    found = next((each for each in own if close and _folded(each) == close[0]), None)
    return _short(space, found) if found and isinstance(owner, ModuleType) else found


def _same_elsewhere(name: str) -> str | None:
    """Where else this name is, else where it is in another spelling: ``nn.ELU`` is ``nn.functional.elu`` here."""
    everywhere = [(module, each) for module in MODULES for each in _offered(sys.modules.get(module))]
    for alike in (str, _folded):
        for module, each in everywhere:
            if alike(each) == alike(name) and not isinstance(getattr(sys.modules[module], each), ModuleType):
                return _short(_torch_name(module), each)
    return None


def _folded(name: str) -> str:
    return name.casefold().replace("_", "")


def _short(space: str, name: str) -> str:
    """``nn.Linear``, but ``torch.cat``."""
    return f"{space}.{name}" if space == "torch" else f"{space}.{name}".removeprefix("torch.")


def _torch_name(module: str) -> str:
    return module.replace("minigrad", "torch", 1)


def _offered(module: Any) -> list[str]:
    """The names that a module offers, not those that it has imported for itself."""
    found = {} if module is None else vars(module)
    return [name for name in found.get("__all__", found) if not name.startswith("_") and _is_own(found[name])]


def _is_own(value: Any) -> bool:
    where = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "minigrad")
    return str(where).split(".")[0] in ("minigrad", "kernels", "numpy")


@functools.cache
def _torch_names() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (Path(__file__).parents[1] / "torch_names.txt").read_text(encoding="utf-8").splitlines()[1:]:
        if line.startswith("["):
            names = found.setdefault(line.strip("[]"), set())
        else:
            names.update(line.split())
    return found


class Finder:
    """Comes last in ``sys.meta_path``: the imports from minigrad that nobody else has found."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError with a hint; it has no ``name``, or ``from`` would take its text away again."""
        parent, _, name = fullname.rpartition(".")
        if parent.split(".")[0] != "minigrad" or name.startswith("_"):
            return
        text = f"cannot import {name!r} from {parent!r}"
        raise ModuleNotFoundError(f"{text}: {hint(_torch_name(parent), name, sys.modules.get(parent))}")


def install_finder() -> None:
    """Have ``import`` ask ``Finder`` too."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
