"""A model in one file: what it holds, what is refused, and that the reader of plain NumPy finds the engine's words."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minigrad.serialization import arrays_from_bytes, save, to_chunks
from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.shipping import decode, folding, model_file, quantise, reader
from seq2seq.text.tokenizers import build_tokenizer, tokenizer_from_config
from tests.seq2seq.tiny_translators import SENTENCES, SIZES, WORDS, cases, translator, translator_of


def reader_of(path: Path) -> Any:
    """decode.py as it is shipped beside a model file, loaded."""
    program = path.with_name("decode.py")
    program.write_text(reader.for_model(path.read_bytes()))
    assert len(program.read_text().splitlines()) <= 250
    spec = importlib.util.spec_from_file_location("shipped_reader", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("encoder", "decoder", "variant"), cases())
def test_the_reader_finds_what_the_engine_finds(tmp_path: Path, encoder: str, decoder: str, variant: str) -> None:
    ours = translator_of(encoder, decoder, variant)
    if ours is None:
        pytest.skip("these options do not fit each other")
    path = tmp_path / "model.seq2seq"
    model_file.write(path, ours.model, ours.codec, ours.settings)
    source = tmp_path / "source.txt"
    source.write_text("".join(f"{sentence}\n" for sentence in SENTENCES), encoding="utf-8")
    shipped = reader_of(path)
    for beam in (1, 3):
        assert list(shipped.translations(str(path), str(source), beam)) == ours.translate(SENTENCES, beam_size=beam)


LONGEST = ("transformer", "bahdanau", "turned"), ("bilstm", "transformer", "turned")


@pytest.mark.parametrize("case", LONGEST)
def test_the_longest_readers_are_short(tmp_path: Path, case: tuple[str, str, str]) -> None:
    """With the tokenizer that takes most lines, in int8; every other pair of parts takes fewer."""
    ours = translator_of(*case)
    assert ours is not None
    config = {"name": "word", "language": "en", "backend": "spacy", "lower": True}
    codec = SimpleNamespace(to_dict=lambda: ours.codec.to_dict() | {"src_tokenizer": config, "trg_tokenizer": config})
    path: Any = tmp_path / "model.seq2seq"
    model_file.write(path, ours.model, codec, ours.settings, "int8")  # type: ignore[arg-type]
    program = reader.for_model(path.read_bytes())
    assert len(program.splitlines()) <= 250
    assert max(map(len, program.splitlines())) <= 120
    compile(program, "decode.py", "exec")


def test_a_reader_reads_what_it_was_written_for(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.seq2seq", "other.seq2seq")]
    for path, decoder in zip(paths, ("lstm", "attention"), strict=True):
        ours = translator("lstm", decoder, **SIZES, num_layers=1)
        model_file.write(path, ours.model, ours.codec, ours.settings)
    shipped = reader_of(paths[0])
    with pytest.raises(SystemExit, match="another model than the one that this program was written for"):
        shipped.read(str(paths[1]))


PROGRAM = """\
import json
import re
import sys

TABLE = {"a": len, "b": min}


class C:
    def __init__(self, c):
        self.c, self.d = c, 0
        self.kind = c["kind"]

    def f(self, x):
        # said of the choice
        if self.kind == "a" and x:
            y = TABLE[self.kind](x)
        elif self.kind == "b":
            y = g(x)
        else:
            y = (1 if self.kind.startswith("c") else x) + 3
        return y
        return json


def g(x):
    return re.escape(x)


C({}).f(sys)
"""
LEFT = {
    "a": """\
import sys


class C:
    def __init__(self, c):
        self.c, self.d = c, 0

    def f(self, x):
        # said of the choice
        if x:
            y = len(x)
        else:
            y = x + 3
        return y


C({}).f(sys)
""",
    "b": """\
import re
import sys


class C:
    def __init__(self, c):
        self.c, self.d = c, 0

    def f(self, x):
        # said of the choice
        y = g(x)
        return y


def g(x):
    return re.escape(x)


C({}).f(sys)
""",
    "c": """\
import sys


class C:
    def __init__(self, c):
        self.c, self.d = c, 0

    def f(self, x):
        # said of the choice
        y = 1 + 3
        return y


C({}).f(sys)
""",
}


@pytest.mark.parametrize("kind", LEFT)
def test_what_is_known_is_folded_and_the_rest_is_left(kind: str) -> None:
    assert folding.folded(PROGRAM, {"c": {"kind": kind}}) == LEFT[kind]


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_the_reader_reads_vectors_and_frames(tmp_path: Path, form: str) -> None:
    decoder, source = ("attention", "frames") if form == "npz" else ("lstm", "vectors")
    encoder, tall = ("vector", False) if form == "npy" else ("bilstm", True)
    ours = translator_of(encoder, decoder, source=source)
    assert ours is not None
    path, rng = tmp_path / "model.seq2seq", np.random.default_rng(1)
    rows = [rng.normal(size=(3 + number if tall else 1, 5)).astype(np.float32) for number in range(4)]
    model_file.write(path, ours.model, ours.codec, ours.settings)
    given = tmp_path / f"source.{form}"
    if tall:
        np.savez(given, *rows)
    else:
        np.save(given, np.concatenate(rows))
    assert list(reader_of(path).translations(str(path), str(given))) == ours.translate(rows)


@pytest.mark.parametrize("name", ["word", "space", "char", "sentencepiece"])
def test_the_reader_splits_and_joins_as_the_engine_does(name: str) -> None:
    lines = ["Well-known, isn't it?", "  Two  blanks \u2581 and Marks!", 'He said: "don\'t" (twice).']
    for backend in ("moses", "spacy") if name == "word" else ("",):
        if backend == "spacy":
            pytest.importorskip("spacy")
        config = build_tokenizer(name, "en", lines * 9, lower=True, vocab_size=60).to_config()
        config |= {"backend": backend} if backend else {}
        ours, (split, join) = tokenizer_from_config(config), decode.TOKENIZERS[name](config)
        for line in lines:
            tokens = ours.tokenize(line)
            assert list(split(line.lower())) == tokens
            assert join(tokens) == ours.detokenize(tokens)


def test_a_file_is_the_model_to_the_bit_and_names_no_folder(tmp_path: Path) -> None:
    places = {"data": f"{tmp_path}/a.de,{tmp_path}/a.en", "run_dir": str(tmp_path), "data_dir": str(tmp_path)}
    ours = translator("lstm", "lstm", **SIZES, num_layers=1, **places)
    path = tmp_path / "model.seq2seq"
    model_file.write(path, ours.model, ours.codec, ours.settings)
    assert str(tmp_path).encode() not in path.read_bytes()
    found = Translator.load(path)
    for name, tensor in ours.model.state_dict().items():
        np.testing.assert_array_equal(found.model.state_dict()[name].array, tensor.array)
    assert found.translate(SENTENCES) == ours.translate(SENTENCES)


@pytest.mark.parametrize(("form", "share"), [("f16", 0.5), ("int8", 0.25)])
def test_fewer_bits_are_the_nearest_numbers(tmp_path: Path, form: str, share: float) -> None:
    rng = np.random.default_rng(0)
    weights = {"m": rng.normal(size=(7, 400)).astype(np.float32), "v": rng.normal(size=5).astype(np.float32)}
    weights["m"][3] = 0
    arrays = quantise.quantised(weights, form)
    assert sum(array.nbytes for array in arrays.values()) < share * weights["m"].nbytes + 100
    back = quantise.restored(arrays, np.float32)
    np.testing.assert_array_equal(back["v"], weights["v"])
    step = np.abs(weights["m"]).max(1, keepdims=True) / 127 if form == "int8" else np.abs(weights["m"]) / 1024
    assert (np.abs(back["m"] - weights["m"]) <= 0.501 * step).all()


@pytest.mark.parametrize("pair", [("lstm", "lstm"), ("bilstm", "attention"), ("transformer", "transformer")])
def test_fewer_bits_are_searched_as_what_they_stand_for(tmp_path: Path, pair: tuple[str, str]) -> None:
    """Whether the search is compiled for them, or goes on in float32."""
    ours = translator_of(*pair)
    assert ours is not None
    path = tmp_path / "model.seq2seq"
    model_file.write(path, ours.model, ours.codec, ours.settings, "int8")
    both = [Translator.load(path, precision=precision).search(SENTENCES, 3) for precision in ("int8", "fp32")]
    for (found,), (expected,) in zip(*both, strict=True):
        assert found.ids == expected.ids
        assert found.log_prob == pytest.approx(expected.log_prob, rel=1e-4)


def test_matrices_in_fewer_bits_are_float32_when_somebody_reads_them(tmp_path: Path) -> None:
    ours = translator("lstm", "lstm", **SIZES, num_layers=1)
    path = tmp_path / "model.seq2seq"
    model_file.write(path, ours.model, ours.codec, ours.settings, "int8")
    expected, found = model_file.read(path).weights, Translator.load(path)
    found.translate(SENTENCES, beam_size=3)
    parameters: dict[str, Any] = dict(found.model.named_parameters())
    kept = {name for name, parameter in parameters.items() if any(parameter.raw_array().strides)}
    assert {name for name, array in expected.items() if array.ndim == 2} - kept == {
        "encoder.rnn.weight_ih_l0", "encoder.rnn.weight_hh_l0", "decoder.embedding.weight", "decoder.rnn.weight_ih_l0",
        "decoder.rnn.weight_hh_l0", "decoder.fc_out.weight",
    }  # fmt: skip
    for name, parameter in parameters.items():
        assert (parameter.shape, parameter.dtype) == (expected[name].shape, np.float32)
        np.testing.assert_array_equal(parameter.array, expected[name])
        assert parameter.raw_array() is parameter.array


def test_numbers_beyond_float16_are_refused() -> None:
    with pytest.raises(ValueError, match="m has numbers beyond 65504; expected the form full or int8"):
        quantise.quantised({"m": np.full((2, 2), 1e5, np.float32)}, "f16")


HOSTILE: dict[str, tuple[Any, str]] = {
    "a list": ([1], "foreign file"),
    "another format": ({"format": "x"}, "foreign file"),
    "more": ({"format": model_file.FORMAT, "form": "full", "config": {}, "text": {}, "code": 1}, "other parts"),
    "settings": ({"format": model_file.FORMAT, "form": "full", "config": {"lr": "x"}, "text": {}}, "lr is 'x'"),
    "text": ({"format": model_file.FORMAT, "form": "full", "config": {}, "text": {}}, "the keys src_tokenizer"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_other_files_are_refused(tmp_path: Path, case: str) -> None:
    content, message = HOSTILE[case]
    path = tmp_path / "model.seq2seq"
    save(content, path)
    with pytest.raises(UserError, match=message) as caught:
        Translator.load(path)
    assert str(path) in str(caught.value)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    ours = translator("lstm", "lstm", **SIZES, num_layers=1)
    path = tmp_path / "model.seq2seq"
    model_file.write(path, ours.model, ours.codec, ours.settings, "int8")
    content = arrays_from_bytes(path.read_bytes())
    matrix = "encoder.rnn.weight_ih_l0"
    changes = {
        "no scales": ({matrix + quantise.SCALE: None}, f"{matrix} is int8; expected a matrix with a scale"),
        "scales alone": ({matrix: None}, "belongs to no matrix"),
        "another shape": ({"decoder.fc_out.bias": np.zeros(3, np.float32)}, r"has shape \(3,\)"),
        "NaN": ({"decoder.fc_out.bias": np.full(len(WORDS) + 4, np.nan, np.float32)}, "NaN"),
        "integers": ({"decoder.fc_out.bias": np.zeros(16, np.int64)}, "no array of floating numbers"),
    }
    for change, message in changes.values():
        broken = {name: value for name, value in (content | change).items() if value is not None}
        path.write_bytes(b"".join(to_chunks(broken, halves=True)))
        with pytest.raises(UserError, match=message):
            Translator.load(path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"broken or foreign model file: .*changed since"):
        Translator.load(path)
    with pytest.raises(SystemExit, match="changed since it was written"):
        decode.read(str(path))


def test_a_command_reads_a_model_file_once(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = translator("lstm", "lstm", **SIZES, num_layers=1)
    path, pairs, reads = tmp_path / "m.seq2seq", tmp_path / "pairs.tsv", list[Path]()
    model_file.write(path, ours.model, ours.codec, ours.settings)
    pairs.write_text("w1 w2\tw2 w1\n")
    once = model_file.read
    monkeypatch.setattr(model_file, "read", lambda path: reads.append(path) or once(path))
    for command in (["evaluate", path], ["compare", path, path, "--metrics", "chrf", "--resamples", 10]):
        told = run(*command, "--test", pairs)
        assert told.code == 0, told.err
    assert reads == [path, path]  # of one that is named twice too


def test_the_commands(train: Any, tmp_path: Path, run: Any) -> None:
    """Export, then translate and decode.py with what was written."""
    trained_run = train("run", "--epochs", 1)
    model, reader = tmp_path / "m.seq2seq", tmp_path / "decode.py"
    told = run("export", trained_run, "--to", model, "--reader", reader, "--weights", "int8", "--compare", "valid")
    assert told.code == 0, told.err
    assert re.search(
        r"bytes, weights int8; in the run they are .*\nBLEU of valid, greedy: .* in the run, .* in the file", told.out
    )
    source = tmp_path / "source.txt"
    source.write_text("3 1 4\n\n1 5 9 2\n")
    translated = run("translate", model, "--input", source)
    assert translated.code == 0, translated.err
    read = subprocess.run(
        [sys.executable, reader, model, "--input", source], capture_output=True, text=True, check=True
    )
    assert read.stdout == translated.out
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("3 1 4\t4 1 3\n1 5 9 2\t2 9 5 1\n")
    assert run("evaluate", model, "--test", pairs).code == run("score", model, "--data", pairs).code == 0
    assert run("encode", model, source, "--output", tmp_path / "vectors.npy").code == 0
    together = run("compare", model, trained_run, "--test", pairs, "--metrics", "chrf", "--resamples", 10)
    assert together.code == 0, together.err
    refused = run("export", trained_run, "--to", trained_run / "config.json")
    assert (refused.code, "is a file that is read" in refused.err) == (2, True)
    assert "--to" in run("export", trained_run).err
    assert "expected the folder of a run" in run("translate", model, "--accept-changes", "--input", source).err
