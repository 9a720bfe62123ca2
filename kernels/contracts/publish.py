"""A backend's functions, gathered from its files by the table of entries."""

from importlib import import_module
from inspect import isfunction, signature
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

from kernels.contracts.entry import ENTRIES


def publish(package: str, path: list[str], oracle: ModuleType | None = None) -> dict[str, Any]:
    """For each entry the function of its name and arguments that a file of the package defines.

    Args:
        package: name of the backend, `__name__` there.
        path: where its files lie, `__path__` there.
        oracle: computes the entries whose stub says `by_reference`; None where every entry has a function here.

    Raises:
        ImportError: an entry that neither a file defines nor the oracle computes.
    """
    functions = {name: getattr(oracle, name) for name, made in ENTRIES.items() if oracle and made.by_reference}
    for found in walk_packages(path, f"{package}."):
        offered = vars(import_module(found.name))
        functions |= {name: offered[name] for name in ENTRIES if _implements(offered.get(name), found.name, name)}
    missing = ENTRIES.keys() - functions.keys()
    if missing:
        raise ImportError(f"{package} lacks {', '.join(sorted(missing))}")
    return functions


def _implements(item: Any, module: str, name: str) -> bool:
    """Whether an item of a module is its own, and has the arguments of the entry."""
    if not isfunction(item) or item.__module__ != module:
        return False
    return [*signature(item).parameters] == [argument.name for argument in ENTRIES[name].arguments]
