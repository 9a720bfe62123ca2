"""The tutorials' scripts at their own sizes: that the scripts know the options, and what is kept of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tables
import tutorials

from minigrad.missing.script import missing_names

SMALL = "--pairs 48 --embed-size 8 --num-hiddens 10 --epochs 2 --batch-size 8"
FOLDER = tutorials.ROOT / "docs" / "examples"


def test_there_is_one_for_every_script() -> None:
    assert set(tutorials.TUTORIALS) == {path.stem for path in FOLDER.glob("*.py")} - {"pairs"}


@pytest.mark.parametrize("name", tutorials.TUTORIALS)
def test_a_script_knows_its_options(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    known = (FOLDER / "pairs.py").read_text(encoding="utf-8")
    for option in (word for word in tutorials.TUTORIALS[name].options.split() if word.startswith("--")):
        assert f" {option[2:].replace('-', '_')}=" in source or f'"{option}"' in known, option
    assert missing_names(source) == []


@pytest.mark.parametrize("name", tutorials.TUTORIALS)
def test_every_epoch_prints_the_loss_that_is_kept(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tutorials.TUTORIALS[name]._replace(options="--pairs 48 --epochs 2 --batch-size 16")
    monkeypatch.setitem(tutorials.TUTORIALS, name, small)
    assert len(tutorials.run(name, tmp_path, 1)["losses"]) == 2


def test_a_run_is_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tutorials.TUTORIALS["bahdanau_decoder"]._replace(options=SMALL)
    monkeypatch.setattr(tutorials, "TUTORIALS", {"bahdanau_decoder": short})
    monkeypatch.setattr(tutorials, "RESULTS", tmp_path / "tutorials")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    folder = str(tmp_path / "tutorials")
    monkeypatch.setattr("sys.argv", ["t", "--data-dir", str(tmp_path), "--threads", "1", "--json-dir", folder])
    tutorials.main()
    kept = json.loads((tmp_path / "tutorials" / "bahdanau_decoder.json").read_text())
    assert (kept["options"], kept["threads"], len(kept["losses"])) == (SMALL, 1, 2)
    ((script, published, here, _),) = tutorials.rows()
    assert (script, published.split()[0]) == ("`bahdanau_decoder.py`", "0.2")
    assert here == f"**{kept['losses'][-1]:.3f}** after 2 epochs"
    monkeypatch.setattr("sys.argv", ["t", "bert", "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit, match="NAME is bert; expected some of bahdanau_decoder"):
        tutorials.main()


def test_a_script_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="characters: exit code 1 after 0 losses"):
        tutorials.run("characters", tmp_path, 1)
