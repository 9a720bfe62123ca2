"""A model in one file: what it holds, what is refused, and that the reader of plain NumPy finds the engine's words."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad.serialization import arrays_from_bytes, save, to_chunks
from seq2seq.decoding.translator import Translator
from seq2seq.models.model import build_model
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.shipping import decode, model_file, quantise
from seq2seq.sources.rows import RowSide
from seq2seq.text.codec import TextCodec
from seq2seq.text.side import TextSide, opened
from seq2seq.text.tokenizers import SpaceTokenizer, build_tokenizer, tokenizer_from_config
from seq2seq.text.vocabulary import Vocabulary
from tests.seq2seq.pairs import options_that_fit, representative_pairs

WORDS = [f"w{number}" for number in range(12)]
SIZES = {"embedding_size": 8, "hidden_size": 12}
SENTENCES = ["w1 w2 w3", "w0", "w5 w5 w9 w2 w11 w4 w7", "w3 w8", "unseen w1 other unseen"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "between": {
        "num_layers": 3, "residual": True, "layer_norm": True, "decoder_residual": True, "decoder_layer_norm": True,
        "pyramid": 1, "bridge": True, "norm_first": False, "activation": "relu", "learned_positions": 40,
        "truncate_source": 4,
    },
    "turned": {
        "num_layers": 2, "cell": "cho-gru", "attention": "additive", "input_feeding": True, "coverage": True,
        "bridge": True, "reverse_source": True,
    },
    "scaled": {"num_layers": 1, "cell": "gru", "attention": "scaled"},
}  # fmt: skip


def translator(encoder: str, decoder: str, source: str = "text", **settings: Any) -> Translator:
    """A tiny model with weights large enough to have opinions, and a text for it."""
    config = Config(source=source, encoder=encoder, decoder=decoder, init_range=0.8, **settings)
    known = Vocabulary(WORDS)
    text = TextSide(SpaceTokenizer(), opened(known) if decoder == "pointer-generator" else known)
    rows = RowSide(np.linspace(-1, 1, 5, dtype=np.float32), np.linspace(0.5, 2, 5, dtype=np.float32))
    side = TextSide(text.tokenizer, text.vocabulary, settings.get("truncate_source", 0)) if source == "text" else rows
    codec = TextCodec(side, text, 9)
    model = build_model(side.num_inputs, len(text.vocabulary), config).eval()
    return Translator(model, codec, config)


def words_of(path: Path, sentences: list[str], **search: Any) -> list[str]:
    """As decode.py prints them."""
    source = path.with_name("source.txt")
    source.write_text("".join(f"{sentence}\n" for sentence in sentences), encoding="utf-8")
    return list(decode.translations(str(path), str(source), **search))


def cases() -> list[Any]:
    """Every registered part in a pair that fits, as it is and with what its options change."""
    found = []
    for encoder, decoder in representative_pairs():
        for variant, settings in VARIANTS.items():
            found.append(pytest.param(encoder, decoder, settings, id=f"{encoder}-{decoder}-{variant}"))
    return found


@pytest.mark.parametrize(("encoder", "decoder", "wanted"), cases())
def test_the_reader_finds_what_the_engine_finds(tmp_path: Path, encoder: str, decoder: str, wanted: dict) -> None:
    fitting = options_that_fit(encoder, decoder) or {}
    try:
        ours = translator(encoder, decoder, **fitting | _known(encoder, decoder, SIZES | wanted))
    except UserError:
        pytest.skip("these options do not fit each other")
    path = tmp_path / "model.seq2seq"
    model_file.write(path, ours.model, ours.codec, ours.settings)
    for beam in (1, 3):
        assert words_of(path, SENTENCES, beam=beam) == ours.translate(SENTENCES, beam_size=beam)


def _known(encoder: str, decoder: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that these parts have."""
    known = registry.options_of({"source": "text", "encoder": encoder, "decoder": decoder})
    if decoder == "pointer-generator":
        wanted = wanted | {"pyramid": 0}  # it copies what stands at a position
    return {name: value for name, value in wanted.items() if name in known}


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_the_reader_reads_vectors_and_frames(tmp_path: Path, form: str) -> None:
    decoder, source = ("attention", "frames") if form == "npz" else ("lstm", "vectors")
    encoder, tall = ("vector", False) if form == "npy" else ("bilstm", True)
    fitting = options_that_fit(encoder, decoder, source) or {}
    ours = translator(encoder, decoder, source, **fitting | _known(encoder, decoder, SIZES))
    path, rng = tmp_path / "model.seq2seq", np.random.default_rng(1)
    rows = [rng.normal(size=(3 + number if tall else 1, 5)).astype(np.float32) for number in range(4)]
    model_file.write(path, ours.model, ours.codec, ours.settings)
    given = tmp_path / f"source.{form}"
    if tall:
        np.savez(given, *rows)
    else:
        np.save(given, np.concatenate(rows))
    assert list(decode.translations(str(path), str(given))) == ours.translate(rows)


@pytest.mark.parametrize("name", ["word", "space", "char", "sentencepiece"])
def test_the_reader_splits_and_joins_as_the_engine_does(name: str) -> None:
    lines = ["Well-known, isn't it?", "  Two  blanks \u2581 and Marks!", 'He said: "don\'t" (twice).']
    for backend in ("moses", "spacy") if name == "word" else ("",):
        if backend == "spacy":
            pytest.importorskip("spacy")
        config = build_tokenizer(name, "en", lines * 9, lower=True, vocab_size=60).to_config()
        config |= {"backend": backend} if backend else {}
        ours, (split, join) = tokenizer_from_config(config), decode.tokenizer(config)
        for line in lines:
            tokens = ours.tokenize(line)
            assert list(split(line)) == tokens
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
    refused = run("export", trained_run, "--to", trained_run / "config.json")
    assert (refused.code, "is a file of the run" in refused.err) == (2, True)
    assert "--to" in run("export", trained_run).err
    assert "expected the folder of a run" in run("translate", model, "--accept-changes", "--input", source).err
