"""Studies: what is kept of runs that differ in one setting, and the tables made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import studies
import yaml

from seq2seq.run.settings import parse
from seq2seq.training.schedules import teacher_forcing_ratio

TINY = {"embedding_size": 4, "hidden_size": 4, "num_layers": 1, "max_steps": 1, "min_freq": 1}
CELLS = {"as it is": {}, "with 50 %": {"dropout": 0.5}}
STUDY = {"about": "What it does", "published": "none", "seeds": [1, 2], "figures": ["ppl_forced"], "cells": CELLS}


def test_every_study_has_settings_that_train_takes(tmp_path: Path) -> None:
    """And each figure is one that its table can tell."""
    for name in studies.names():
        chosen = studies.study(name)
        for own in chosen.cells.values():
            path = tmp_path / "settings.yaml"
            path.write_text(yaml.safe_dump(chosen.settings | own))
            config = parse(["--config", str(path)])
            assert 0.0 <= teacher_forcing_ratio(config, 10_000) <= 1.0
    with pytest.raises(SystemExit, match="study is 'x'; expected one of forcing"):
        studies.study("x")


def test_cells_are_run_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A word picks cells; what was kept of others stays."""
    for name in ("FOLDER", "RESULTS"):
        monkeypatch.setattr(studies, name, tmp_path / "studies")
    (tmp_path / "studies").mkdir()
    files = {name: str(tmp_path / f"{name}.tsv") for name in ("data", "valid", "test")}
    for path in files.values():
        Path(path).write_text("a b c\tc b a\nb a\ta b\n" * 4)
    settings = TINY | files | {"src_tokenizer": "space", "trg_tokenizer": "space"}
    (tmp_path / "studies" / "s.yaml").write_text(yaml.safe_dump(STUDY | {"settings": settings}, sort_keys=False))
    for word in ("as it", "50"):
        monkeypatch.setattr("sys.argv", ["studies.py", "s", "--runs", str(tmp_path / "runs"), "--cells", word])
        studies.main()
    cells = json.loads((tmp_path / "studies" / "s.json").read_text())["cells"]
    assert cells["with 50 %"]["settings"] == {**settings, "dropout": 0.5}
    for folder, cell in (("as-it-is", "as it is"), ("with-50", "with 50 %")):
        values = [json.loads((tmp_path / f"runs/s/{folder}/seed-{k}.json").read_text())["ppl_forced"] for k in (1, 2)]
        assert cells[cell]["figures"]["ppl_forced"]["values"] == values
    ((text, (head, first, second)),) = studies.tables(tmp_path)
    assert text.startswith("**What it does.** Published: none. `python benchmarks/studies.py s ")
    assert head == ("", "ppl_forced", "seeds", "parameters", "trained")
    figure = cells["as it is"]["figures"]["ppl_forced"]
    assert first[:3] == ("as it is", f"{figure['mean']:.2f} ± {figure['std']:.2f}", "1, 2")
    assert second[0] == "with 50 %"
