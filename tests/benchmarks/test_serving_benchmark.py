"""The benchmark of the server runs in small, proves the words equal, and writes its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_latencies_are_written(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    path = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "serving.py"), "--clients", "1,3", "--requests", "4"]
    result = subprocess.run([*command, "--json", str(path)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads(path.read_text(encoding="utf-8"))
    assert figures["processor"]["name"]
    assert {*figures["servers"]} == {"batched", "naive"}
    for rows in figures["servers"].values():
        assert {*rows} == {"1", "3"}
        for row in rows.values():
            assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
            assert row["requests_per_second"] > 0
