"""The benchmark of a large corpus generates what it says, and reads the memory of a process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import large_corpus
import pytest


def test_pairs_are_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_corpus, "CHUNK", 300)
    large_corpus.generate(tmp_path / "c.tsv", 1000)
    pairs = [line.split("\t") for line in (tmp_path / "c.tsv").read_text().splitlines()]
    assert len(pairs) == 1000
    assert all(src.split()[::-1] == trg.replace("v", "w").split() for src, trg in pairs)
    assert {len(src.split()) for src, _ in pairs} == {*range(3, 8)}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_read() -> None:
    assert large_corpus.memory_of(os.getpid())["VmRSS"] > 1 << 20
    assert large_corpus.memory_of(2**22 + 1) == {}
