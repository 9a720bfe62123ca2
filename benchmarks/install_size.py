"""What an installation takes on disk: the core, and what each extra brings besides.

    python benchmarks/install_size.py [--json benchmarks/results/install_size.json]

Sizes are those of the files that the installed packages list, without compiled bytecode, which may be made or not. A
package that several need is counted once, for the core where that needs it. An extra whose packages are not all
installed here is left out, by name.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "minigrad-seq2seq"
NOT_FOR_USERS = ("test", "dev", "docs", "benchmarks")


def needed(package: str, extra: str = "") -> set[str]:
    """All that a package needs with one of its extras, whatever that needs too; itself is not among it.

    Raises:
        metadata.PackageNotFoundError: one of them is not installed.
    """
    found: set[str] = set()
    waiting = list(_named(package, extra))
    while waiting:
        name, extras = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [pair for each in extras or {""} for pair in _named(name, each)]
    return found - {canonicalize_name(PROJECT)}


def _named(package: str, extra: str) -> Iterator[tuple[str, set[str]]]:
    """What a package names for this Python and system, with the extras of each."""
    for text in metadata.requires(package) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield canonicalize_name(requirement.name), requirement.extras


def size(package: str) -> int:
    """Bytes of the files that it lists."""
    files = metadata.files(package) or []
    paths = (Path(str(file.locate())) for file in files if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file())


def measured() -> dict[str, Any]:
    """Megabytes of the core's packages and of those that extras add, and which extras are not all here."""
    core = needed(PROJECT)
    found: dict[str, Any] = {"core": _table(core), "extras": {}, "left_out": {}}
    for extra in metadata.metadata(PROJECT).get_all("Provides-Extra") or ():
        if extra not in NOT_FOR_USERS:
            try:
                found["extras"][extra] = _table(needed(PROJECT, extra) - core)
            except metadata.PackageNotFoundError as error:
                found["left_out"][extra] = f"{error.name} is not installed"
    return found


def _table(packages: set[str]) -> dict[str, Any]:
    """Of some packages, the largest first."""
    sizes = {name: round(size(name) / 1e6, 1) for name in packages}
    largest = dict(sorted(sizes.items(), key=lambda item: -item[1]))
    return {"megabytes": round(sum(sizes.values()), 1), "packages": largest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}", **measured()}
    without_numpy = found["core"]["megabytes"] - found["core"]["packages"]["numpy"]
    found["core"]["megabytes_without_numpy"] = round(without_numpy, 1)
    print(f"core: {found['core']['megabytes']} MB, without NumPy {without_numpy:.1f} MB")
    for name, table in found["extras"].items():
        print(f"[{name}] adds {table['megabytes']} MB: {', '.join(list(table['packages'])[:4])}")
    for name, reason in found["left_out"].items():
        print(f"[{name}] left out: {reason}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
