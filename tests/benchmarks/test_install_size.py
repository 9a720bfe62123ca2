"""The sizes of an installation are those of what is installed, and what is missing is said."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import install_size
import pytest

ROOT = Path(__file__).parents[2]


def test_the_core_is_small_and_extras_come_on_top() -> None:
    found = install_size.measured()
    core = found["core"]["packages"]
    assert {"numpy", "numba", "llvmlite", "safetensors"} < set(core)
    assert not {"pytest", "ruff", "torch", "minigrad-seq2seq"} & set(core)
    assert found["core"]["megabytes"] - core["numpy"] < 260
    for table in found["extras"].values():
        assert not set(table["packages"]) & set(core)
        assert table["megabytes"] == pytest.approx(sum(table["packages"].values()), abs=0.1)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = set(found["extras"]) | set(found["left_out"])
    assert told <= set(declared) - set(install_size.NOT_FOR_USERS)  # an older installation may know fewer


def test_files_are_counted_without_bytecode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("a.py", 100), ("a.pyc", 1000), ("b.so", 50)):
        (tmp_path / name).write_bytes(b"x" * count)
    info = tmp_path / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nRequires-Dist: no-such-thing\n")
    (info / "RECORD").write_text("a.py,,\na.pyc,,\nb.so,,\ngone.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert install_size.size("thing") == 150
    with pytest.raises(metadata.PackageNotFoundError):
        install_size.needed("thing")
