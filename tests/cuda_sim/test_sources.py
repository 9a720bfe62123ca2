"""The CUDA sources by their text: what the simulator cannot run is not used, and a wheel carries them all."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest
from harness import MACHINE, SIMULATOR_FOLDER, sources

ROOT = Path(__file__).parents[2]
SOURCES = sources()
FORBIDDEN = re.compile(r"__shared__|<<<|#include <|\basm\b|__\w+_sync\b|\batomic\w+|__\w+_(?:rn|rz)\b|__ldg")
KERNELS = re.compile(r"^\s*KERNEL\(\w+", re.MULTILINE)


def code(source: str) -> str:
    """Without comments."""
    return re.sub(r"//.*", "", SOURCES[source])


@pytest.mark.parametrize("source", sorted(SOURCES.keys() - {MACHINE}))
def test_only_wrappers_are_used(source: str) -> None:
    assert FORBIDDEN.findall(code(source)) == []


def test_the_check_can_fail() -> None:
    assert len(FORBIDDEN.findall(code(MACHINE))) > 10


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_says_what_it_is(source: str) -> None:
    """A head of comments, and no line too long for a screen."""
    lines = SOURCES[source].splitlines()
    assert lines[0].startswith("// ")
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []


def test_a_wheel_carries_every_source() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["kernels"]
    names = [f"cuda/{source}" for source in SOURCES]
    assert len(names) > 10
    assert [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


def test_both_machines_offer_the_same_wrappers() -> None:
    """Every function of the GPU's half of device.cuh has a body for the simulator."""
    name = re.compile(r"^DEVICE (?!.*;$)[\w ]*?(\w+)\(", re.MULTILINE)
    gpu = code(MACHINE).partition("#else")[2].partition("\n#endif  \n")[0]
    simulated = (SIMULATOR_FOLDER / "device.hpp").read_text()
    wanted = {function for function in name.findall(gpu) if function != "given_up"}
    assert len(wanted) > 15
    assert [function for function in sorted(wanted) if not re.search(rf"\b{function}\(", simulated)] == []
