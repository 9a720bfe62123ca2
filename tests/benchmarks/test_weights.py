"""What fewer bits change: the figures of a small run, and the table made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tables
import weights

import seq2seq


def test_every_form_is_written_searched_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: tmp_path / f"{name}.tsv" for name in ("data", "valid", "test")}
    for path in files.values():
        path.write_text("a b c\tc b a\nb a\ta b\n" * 4)
    sizes = {"embedding_size": 4, "hidden_size": 4, "num_layers": 1, "max_steps": 1, "min_freq": 1}
    words = {"src_tokenizer": "space", "trg_tokenizer": "space"}
    seq2seq.train_run(run_dir=tmp_path / "run", **files, **sizes, **words)
    path = tmp_path / "weights.json"
    options = f"{tmp_path}/run --data-dir {tmp_path} --split valid --threads 1 --told Small --json {path}"
    monkeypatch.setattr("sys.argv", ["weights.py", *options.split()])
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    weights.main()
    forms = json.loads(path.read_text())["forms"]
    assert list(forms) == ["full", "f16", "int8"]
    assert all(set(row["bleu"]) == {"1", "5"} for row in forms.values())
    assert forms["full"]["bytes"] > forms["f16"]["bytes"]
    lines = weights.table().splitlines()
    assert lines[0] == "Small, `python benchmarks/weights.py`:"
    assert lines[4].startswith("| `full` | 0.0 MB | 1.00 | ")
