"""A model as ONNX graphs: by onnxruntime, with the search that docs/shipping.md shows, they find the engine's words."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.shipping import decode, model_file, onnx_model
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID
from tests.seq2seq.tiny_translators import SENTENCES, SIZES, cases, translator, translator_of

DOCS = (Path(__file__).parents[3] / "docs" / "shipping.md").read_text(encoding="utf-8").partition("## ONNX")[2]


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """What the example of the documentation defines: run and greedy."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    found: dict[str, Any] = {}
    code = re.findall("```python\n(.*?)```", DOCS, re.DOTALL)[0]
    exec(code.partition("\ntokens = ")[0], found)
    return found


def written(ours: Translator, folder: Path) -> tuple[Path, Path]:
    """The folder of graphs, and the model file."""
    graphs, file = folder / "m.onnx", folder / "m.seq2seq"
    onnx_model.write(graphs, ours.model, ours.codec, ours.settings)
    model_file.write(file, ours.model, ours.codec, ours.settings)
    return graphs, file


def padded(rows: list[Any]) -> np.ndarray:
    """Ids or rows of several lengths, with padding that must not matter."""
    most = max(map(len, rows))
    return np.array(
        [np.pad(row, [(0, most - len(row))] + [(0, 0)] * (np.ndim(row) - 1), constant_values=1) for row in rows]
    )


def log_probs_of(documented: dict[str, Any], graphs: Path, inputs: dict[str, Any], ids: np.ndarray) -> np.ndarray:
    """(steps, batch, V): log p of every next token where the ids are given."""
    import onnxruntime

    encoder, step = (onnxruntime.InferenceSession(graphs / f"{name}.onnx") for name in ("encoder", "step"))
    kept, found = inputs | documented["run"](encoder, inputs), []
    for token in np.column_stack([np.full(len(ids), SOS_ID), ids[:, :-1]]).T:
        stepped = documented["run"](step, kept | {"token": token})
        found.append(stepped["log_probs"])
        kept |= {name.removeprefix("next_"): part for name, part in stepped.items()}
    return np.array(found)


@pytest.mark.parametrize(("encoder", "decoder", "variant"), cases())
def test_graphs_find_what_the_engine_finds(
    documented: dict[str, Any], tmp_path: Path, encoder: str, decoder: str, variant: str
) -> None:
    ours = translator_of(encoder, decoder, variant)
    if ours is None:
        pytest.skip("these options do not fit each other")
    graphs, file = written(ours, tmp_path)
    text = tmp_path / "text"
    text.write_text("\n".join(SENTENCES), encoding="utf-8")
    config, told, weights = decode.read(str(file))
    given, tokens = zip(*decode.sources(str(text), config, told), strict=True)
    words = told["trg_vocabulary"]["tokens"]
    copies = [decode.copies_of(*both, len(words)) for both in zip(given, tokens, strict=True)]
    inputs = {"tokens": padded(given), "lengths": np.array([len(row) for row in given]), "copies": padded(copies)}
    ids = documented["greedy"](graphs, inputs, told["max_output_length"])
    spelt = [[*words, *read] for read in tokens]
    found = [[spelt[n][token] for token in _until_end(row)] for n, row in enumerate(ids)]
    assert list(map(" ".join, found)) == ours.translate(SENTENCES)
    logs = log_probs_of(documented, graphs, inputs, ids)
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    for n in range(len(SENTENCES)):
        asked = given[n], copies[n], _until_end(ids[n])
        exact, rounded = p_of(decode.Model(config, wide), *asked), p_of(decode.Model(config, weights), *asked)
        seen, of_graphs = exact > 0, logs[: len(exact), n, : exact.shape[1]]
        # Normalised layers of nearly equal numbers enlarge what float32 rounds: decode.py's own distance says how much.
        atol = 1e-5 + 4 * np.abs(np.log(rounded[seen]) - np.log(exact[seen])).max()
        np.testing.assert_allclose(of_graphs[seen], np.log(exact[seen]), atol=min(atol, 1e-3), rtol=1e-5)
        assert np.isneginf(of_graphs[~seen]).all()


def p_of(reader: decode.Model, given: Any, copies: Any, ids: list[int]) -> np.ndarray:
    """(steps, V): p of every next token of one sentence by decode.py, where the ids are given."""
    reader.copies = copies
    state, found = reader.start(given), []
    for token in [SOS_ID, *ids[:-1]]:
        p, state = reader.step(np.array([token]), state)
        found.append(p[0])
    return np.array(found)


def _until_end(ids: np.ndarray) -> list[int]:
    listed: list[int] = ids.tolist()
    return listed[: listed.index(EOS_ID)] if EOS_ID in listed else listed


@pytest.mark.parametrize(("encoder", "decoder"), [("lstm", "attention"), ("lstm", "bahdanau"), ("transformer",) * 2])
def test_alignments_are_the_engines(documented: dict[str, Any], tmp_path: Path, encoder: str, decoder: str) -> None:
    ours = translator_of(encoder, decoder)
    assert ours is not None
    graphs, _ = written(ours, tmp_path)
    import onnx
    import onnxruntime

    for name in ("encoder", "step"):
        onnx.checker.check_model(graphs / f"{name}.onnx", full_check=True)
    first, step = (onnxruntime.InferenceSession(graphs / f"{name}.onnx") for name in ("encoder", "step"))
    ((best,),) = ours.search(SENTENCES[2:3], alignment=True)
    known = ours.codec.source.vocabulary
    tokens = np.array([[SOS_ID, *known.encode(SENTENCES[2].split()), EOS_ID]])
    kept = documented["run"](first, {"tokens": tokens, "lengths": np.array([tokens.shape[1]])})
    for before, expected in zip([SOS_ID, *best.ids], best.alignment, strict=False):
        found = documented["run"](step, kept | {"token": np.array([before])})
        np.testing.assert_allclose(found["alignment"][0, 1:-1], expected, atol=1e-6)
        kept |= {name.removeprefix("next_"): part for name, part in found.items()}


@pytest.mark.parametrize(
    ("encoder", "decoder", "source"), [("vector", "lstm", "vectors"), ("bilstm", "attention", "frames")]
)
def test_graphs_read_rows(documented: dict[str, Any], tmp_path: Path, encoder: str, decoder: str, source: str) -> None:
    ours, rng = translator_of(encoder, decoder, source=source), np.random.default_rng(1)
    assert ours is not None
    rows = [rng.normal(size=(1 if source == "vectors" else 3 + n, 5)).astype(np.float32) for n in range(3)]
    graphs, _ = written(ours, tmp_path)
    inputs = {"rows": padded(rows), "lengths": np.array(list(map(len, rows)))}
    ids = documented["greedy"](graphs, inputs, ours.codec.max_output_length)
    assert [ours.codec.decode(_until_end(row)) for row in ids] == ours.translate(rows)


def test_the_command_makes_a_new_folder(documented: dict[str, Any], train: Any, run: Any, tmp_path: Path) -> None:
    trained, graphs = train("run", "--epochs", 1), tmp_path / "graphs.onnx"
    assert "weights is int8; expected full" in run("export", trained, "--to", graphs, "--weights", "int8").err
    assert not graphs.exists()
    told = run("export", trained, "--to", graphs)
    assert (told.code, told.err) == (0, "")
    assert sorted(path.name for path in graphs.iterdir()) == ["encoder.onnx", "model.json", "step.onnx"]
    size = sum(path.stat().st_size for path in graphs.iterdir())
    assert told.out.startswith(f"{graphs}: {size:,} bytes, weights full")
    stored = json.loads((graphs / "model.json").read_text(encoding="utf-8"))
    ours = Translator.load(trained)
    assert stored["text"] == ours.codec.to_dict()
    assert stored["text"]["trg_vocabulary"]["tokens"][PAD_ID] == "<pad>"
    assert "File exists; expected the name of a new folder" in run("export", trained, "--to", graphs).err
    assert "No such file" in run("export", trained, "--to", tmp_path / "no" / "graphs.onnx").err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_library_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    ours = translator("lstm", "lstm", **SIZES, num_layers=1)
    with pytest.raises(UserError, match=r"written with onnx, which is not installed; pip install 'onnx>="):
        onnx_model.write(tmp_path / "m.onnx", ours.model, ours.codec, ours.settings)
    assert list(tmp_path.iterdir()) == []
