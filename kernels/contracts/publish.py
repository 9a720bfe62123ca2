"""A backend's functions, gathered from its files by the table of entries."""

from importlib import import_module
from inspect import isfunction, signature
from pkgutil import walk_packages
from typing import Any

from kernels.contracts.entry import ENTRIES


def publish(package: str, path: list[str], others: dict[str, Any] | None = None) -> dict[str, Any]:
    """For each entry the function of its name and arguments that a file of the package defines.

    Args:
        package: name of the backend, `__name__` there.
        path: where its files lie, `__path__` there.
        others: functions of entries that no file defines.

    Raises:
        ImportError: an entry that no file defines.
    """
    functions = dict(others or {})
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
