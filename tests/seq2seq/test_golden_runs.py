"""Short runs give the figures that are stored: losses, weights, translations and scores, to the bit."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import platform
import runpy
from pathlib import Path
from typing import Any

import pytest
from numba.core import codegen

GOLDEN = runpy.run_path(str(Path(__file__).parents[1] / "golden" / "golden_runs.py"))
STORED: dict[str, Any] = json.loads(GOLDEN["PATH"].read_text(encoding="utf-8"))
HAS_AVX2 = platform.machine() in ("x86_64", "AMD64") and {"+avx2", "+fma"} <= set(
    codegen.get_host_cpu_features().split(",")
)

pytestmark = pytest.mark.skipif(not HAS_AVX2, reason="the figures are of a processor with AVX2 and FMA")


@functools.cache
def found(group: str) -> dict[str, Any]:
    """The figures of a group of runs, computed together: starting takes longer than training."""
    corpora = GOLDEN["OF_CORPORA"]
    names = [name for name in GOLDEN["RUNS"] if (name in corpora) == (group == "corpora")]
    result: dict[str, Any] = GOLDEN["run_all"](names)
    return result


def test_every_run_is_stored() -> None:
    assert STORED.keys() == {*GOLDEN["RUNS"]}


@pytest.mark.parametrize("name", [name for name in GOLDEN["RUNS"] if name not in GOLDEN["OF_CORPORA"]])
def test_a_run(name: str) -> None:
    assert found("plain")[name] == STORED[name]


@pytest.mark.data
@pytest.mark.skipif("MINIGRAD_DATA_DIR" not in os.environ, reason="no corpora")
@pytest.mark.skipif(importlib.util.find_spec("spacy") is None, reason="the tokens are spaCy's")
@pytest.mark.parametrize("name", GOLDEN["OF_CORPORA"])
def test_a_run_on_a_corpus(name: str) -> None:
    assert found("corpora")[name] == STORED[name]
