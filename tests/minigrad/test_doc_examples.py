"""The scripts of docs/examples: each runs here and, its import lines changed, in PyTorch; its loss falls."""

from __future__ import annotations

import gzip
import random
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import minigrad
from minigrad.missing.script import missing_names

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
SMALL = {
    "translation_from_scratch": "--pairs 48 --hidden-size 12 --epochs 4 --batch-size 8 --lr 0.02",
    "lstm_translator": "--pairs 60 --emb-dim 8 --hid-dim 10 --epochs 3 --batch-size 10 --lr 0.02",
    "gru_context": "--pairs 60 --emb-dim 8 --hid-dim 10 --epochs 3 --batch-size 10 --lr 0.02",
    "packed_attention": "--pairs 48 --emb-dim 8 --hid-dim 10 --epochs 3 --batch-size 8 --lr 0.02",
    "transformer_translation": "--pairs 48 --emb-size 8 --nhead 2 --ffn-hid-dim 12 --epochs 3 --batch-size 8 --lr 0.01",
    "bahdanau_decoder": "--pairs 48 --embed-size 8 --num-hiddens 10 --epochs 3 --batch-size 8 --lr 0.02",
    "characters": "--pairs 100 --latent-dim 12 --epochs 3 --batch-size 8 --lr 0.01",
}
IMPORTS = [
    (re.compile(r"^import minigrad as torch$", re.MULTILINE), "import torch"),
    (re.compile(r"^import minigrad\.(\S+ as F)$", re.MULTILINE), r"import torch.\1"),
    (re.compile(r"^from minigrad((?:\.\w+)*) import ", re.MULTILINE), r"from torch\1 import "),
]


def for_torch(source: str) -> str:
    """The script with its import lines changed."""
    for pattern, replacement in IMPORTS:
        source = pattern.sub(replacement, source)
    return source


def loaded(name: str, source: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, str(FOLDER / f"{name}.py"), "exec"), vars(module))
    return module


@pytest.fixture(autouse=True)
def _beside_pairs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the script were started: its folder is where imports are looked for. No random numbers are left behind."""
    monkeypatch.syspath_prepend(str(FOLDER))
    ours, python = minigrad.random.get_state(), random.getstate()
    yield
    minigrad.random.set_state(ours)
    random.setstate(python)
    sys.modules.pop("pairs", None)


def source_of(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def test_every_script_has_a_case_and_a_row() -> None:
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"pairs"}
    assert scripts == set(SMALL)
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", index)
    assert [link for link in links if not (FOLDER / link).exists()] == []
    assert scripts <= {Path(link).stem for link in links}


@pytest.mark.parametrize("name", SMALL)
def test_a_script_runs_and_its_loss_falls(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    losses = loaded(name, source_of(name)).main(SMALL[name].split())
    assert losses[-1] < 0.9 * losses[0]
    assert len(capsys.readouterr().out.splitlines()) > len(losses)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # PyTorch would rather have batch_first
@pytest.mark.parametrize("name", SMALL)
def test_only_the_imports_differ_from_pytorch(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    changed = for_torch(source_of(name))
    assert missing_names(changed) == missing_names(source_of(name)) == []
    assert "minigrad" not in changed.partition('"""\n')[2]
    pytest.importorskip("torch")
    losses = loaded(name, changed).main(SMALL[name].split())
    assert losses[-1] < 0.9 * losses[0]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The same pairs in the forms that the examples read."""
    lines = [("Go on!", "¡Sigue!"), ("I see a dog.", "Veo un perro."), ("You see it.", "Lo ves.")] * 8
    table = "".join(f"{english}\t{spanish}\tCC-BY 2.0\n" for english, spanish in lines)
    (tmp_path / "pairs.tsv").write_text(table, encoding="utf-8")
    with gzip.open(tmp_path / "pairs.tsv.gz", "wt", encoding="utf-8") as file:
        file.write(table)
    with zipfile.ZipFile(tmp_path / "spa-eng.zip", "w") as archive:
        archive.writestr("spa-eng/_about.txt", "About")
        archive.writestr("spa-eng/spa.txt", table)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.en").write_text("".join(f"{english}\n" for english, _ in lines), encoding="utf-8")
    with gzip.open(folder / "train.es.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"{spanish}\n" for _, spanish in lines)
    return {path.name: path for path in tmp_path.iterdir()}


def test_pairs_are_read_in_every_form(files: dict[str, Path]) -> None:
    pairs = loaded("pairs", source_of("pairs"))
    found = [pairs.read_pairs(path, ("en", "es")) for path in files.values()]
    assert all(each == found[0] for each in found)
    assert found[0][1] == ("I see a dog.", "Veo un perro.")
    with pytest.raises(SystemExit, match="no sentence pairs"):
        pairs.read_pairs(files["folder"], ("en", "fr"))
    with pytest.raises(SystemExit, match="error: nowhere: no such file or folder"):
        pairs.read_pairs("nowhere")


def test_a_script_reads_what_it_is_given(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    options: list[Any] = ["--data", str(files["spa-eng.zip"]), "--pairs", "24", "--epochs", "2", "--hidden-size", "8"]
    loaded("translation_from_scratch", source_of("translation_from_scratch")).main(options)
    assert "24 pairs, " in capsys.readouterr().out


def test_made_sentences_are_grammatical() -> None:
    pairs = loaded("pairs", source_of("pairs"))
    made = dict(pairs.made_pairs(40_000, seed=3))
    assert made["he sees the red dog ."] == "er sieht den roten hund ."
    assert made["today you like a small house ."] == "heute magst du ein kleines haus ."
    assert made["she hears a good cat ."] == "sie hört eine gute katze ."
    assert pairs.plain_letters("¡Adiós, niño!") == "adios nino !"
