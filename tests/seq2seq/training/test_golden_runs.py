"""Short runs give the figures that are stored: losses, weights, translations and scores, to the bit."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from numba.core import codegen

GOLDEN = runpy.run_path(str(Path(__file__).parents[2] / "golden" / "golden_runs.py"))
STORED: dict[str, Any] = json.loads(GOLDEN["PATH"].read_text(encoding="utf-8"))
HAS_AVX2 = platform.machine() in ("x86_64", "AMD64") and {"+avx2", "+fma"} <= set(
    codegen.get_host_cpu_features().split(",")
)

GROUPS: dict[str, list[str]] = {
    "plain": [name for name in GOLDEN["RUNS"] if name not in GOLDEN["OF_CORPORA"]],
    "corpora": [*GOLDEN["OF_CORPORA"]],
    "device": [*GOLDEN["ON_DEVICE"]],
}

pytestmark = pytest.mark.skipif(not HAS_AVX2, reason="the figures are of a processor with AVX2 and FMA")


def check(group: str) -> None:
    """A group is computed together, and is one test: to start takes longer than to train."""
    assert GOLDEN["run_all"](GROUPS[group]) == {name: STORED[name] for name in GROUPS[group]}


def test_every_run_is_stored() -> None:
    assert STORED.keys() == {*GOLDEN["RUNS"], *GOLDEN["ON_DEVICE"]}


def test_the_runs() -> None:
    check("plain")


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("g++") is None, reason="no simulator of a device")
def test_the_runs_on_a_device() -> None:
    """Also where there is a GPU: its sums have another order than the simulator's."""
    check("device")


@pytest.mark.data
@pytest.mark.skipif("MINIGRAD_DATA_DIR" not in os.environ, reason="no corpora")
@pytest.mark.skipif(importlib.util.find_spec("spacy") is None, reason="the tokens are spaCy's")
def test_the_runs_on_corpora() -> None:
    check("corpora")
