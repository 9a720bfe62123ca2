"""Sentence vectors: what they are for every encoder, that a sentence has the same in any company, and the command."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import seq2seq.encode as command
from minigrad import Tensor, no_grad
from minigrad.nn.utils.rnn import pack_padded_sequence
from seq2seq import Translator
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import TextSource
from seq2seq.sources.rows import RowSide
from seq2seq.text.side import TextSide
from seq2seq.text.tokenizers import SpaceTokenizer
from seq2seq.text.vocabulary import Vocabulary
from tests.seq2seq.pairs import representative_pairs

WORDS = [f"w{number}" for number in range(9)]
SENTENCES = ["w1 w2 w3", "w4", "", "w5 w6 w7 w8 w1 w0 w3", "w2 w2", "w8 w3 w4", "w1 w0"]


@pytest.fixture
def translator(fitting_options: Callable) -> Callable[..., Translator]:
    """translator(encoder, decoder): of an untrained model on text."""

    def make(encoder: str = "lstm", decoder: str = "lstm", **settings: Any) -> Translator:
        options = fitting_options(encoder, decoder, embedding_size=6, hidden_size=6, dropout=0.0)
        config = Config(encoder=encoder, decoder=decoder, **{**options, "init_range": 0.7, **settings})
        side = TextSide(SpaceTokenizer(), Vocabulary(WORDS))
        model = build_model(side.num_inputs, side.num_inputs, config)
        return Translator(model, SimpleNamespace(source=side), config)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(("encoder", "decoder"), representative_pairs())
def test_a_vector_is_the_last_state_or_the_mean_of_the_outputs_in_any_company(translator, encoder, decoder) -> None:
    ours = translator(encoder, decoder)
    found = ours.encode(SENTENCES)
    assert (found.shape, found.dtype) == ((len(SENTENCES), ours.model.encoder.vector_size), np.float32)
    expected = np.stack([by_hand(ours, sentence) for sentence in SENTENCES])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    alone = np.concatenate([ours.encode([sentence]) for sentence in SENTENCES])
    assert alone.tobytes() == found.tobytes()
    order = [4, 0, 6, 2, 5, 1, 3]
    assert ours.encode([SENTENCES[i] for i in order], batch_size=2).tobytes() == found[order].tobytes()


def by_hand(translator: Translator, sentence: str) -> np.ndarray:
    """The vector of a sentence by itself, by the encoder's forward."""
    model: Seq2Seq = translator.model.eval()
    inputs, lengths = model.source.collate([translator.codec.source.encode([sentence])[0]])
    with no_grad():
        memory = model.encoder(pack_padded_sequence(Tensor(inputs), lengths))
    return memory.states[0].numpy()[-1, 0] if memory.states else memory.outputs.numpy()[:, 0].mean(0)


@pytest.mark.parametrize(("encoder", "decoder"), [("vector", "lstm"), ("bilstm", "attention"), ("gru", "transformer")])
def test_rows_of_numbers_have_vectors_too(encoder: str, decoder: str) -> None:
    heads = {"num_heads": 2} if decoder == "transformer" else {}
    config = Config(source="frames", encoder=encoder, decoder=decoder, hidden_size=6, num_layers=1, **heads)
    side = RowSide(np.full(4, 0.5, np.float32), np.full(4, 2.0, np.float32))
    ours = Translator(build_model(4, 9, config), SimpleNamespace(source=side), config)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    examples = [rng.standard_normal((length, 4), np.float32) for length in (3, 1, 6, 2)]
    found = ours.encode(examples)
    assert found.shape == (4, 6)
    assert len(np.unique(found, axis=0)) == 4
    assert found.tobytes() == np.concatenate([ours.encode([one]) for one in examples]).tobytes()


def test_the_vector_of_an_lstm_is_that_of_pytorch(translator) -> None:
    torch = pytest.importorskip("torch")
    ours = translator("lstm", "lstm", num_layers=2)
    weights = {name: torch.from_numpy(tensor.numpy()) for name, tensor in ours.model.encoder.state_dict().items()}
    lstm = torch.nn.LSTM(6, 6, 2)
    lstm.load_state_dict({name[4:]: tensor for name, tensor in weights.items() if name.startswith("rnn.")})
    ids, _ = TextSource().collate([ours.codec.source.encode([SENTENCES[3]])[0]])
    with torch.no_grad():
        _, (h, _) = lstm(weights["embedding.weight"][torch.from_numpy(ids)])
    np.testing.assert_allclose(ours.encode([SENTENCES[3]])[0], h[-1, 0].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(("encoder", "decoder"), [("lstm", "lstm"), ("transformer", "transformer")])
def test_a_device_makes_the_same_vectors(translator, encoder: str, decoder: str) -> None:
    here, there = translator(encoder, decoder), translator(encoder, decoder, device="cuda")
    np.testing.assert_allclose(there.encode(SENTENCES), here.encode(SENTENCES), rtol=1e-4, atol=1e-5)


def test_nothing_has_no_vector_and_an_ensemble_none_either(translator) -> None:
    ours = translator()
    assert ours.encode([]).shape == (0, 6)
    ours.models = ours.models * 2
    with pytest.raises(UserError, match="encode: there are 2 runs together; expected one"):
        ours.encode(SENTENCES)


@pytest.mark.parametrize(("sentences", "batch_size"), [("one string", 1), ([3], 1), (["w1"], 0), (["w1"], "2")])
def test_wrong_arguments_are_refused(translator, sentences, batch_size) -> None:
    with pytest.raises(UserError, match=r"^(encode|batch_size)"):
        translator().encode(sentences, batch_size)


# --- the command ------------------------------------------------------------------------------------------------------
@pytest.fixture
def folder(train) -> Path:
    return train("run", "--epochs", 1, "--max-steps", 1)


def test_the_command_writes_the_vectors_of_a_file(run, folder, tmp_path, monkeypatch) -> None:
    lines = ["3 1 4", "", "1 5", "9 2 6 5 3", "5", "8 9 7 9"]
    text, output = "".join(f"{line}\n" for line in lines).encode(), tmp_path / "vectors.npy"
    (tmp_path / "new.txt.gz").write_bytes(gzip.compress(text))
    monkeypatch.setattr(command, "_TOGETHER", 4)  # which are not all
    assert run("encode", folder, tmp_path / "new.txt.gz", "--output", output, "--batch-size", 2).code == 0
    expected = Translator.load(folder).encode(lines)
    found = np.load(output)
    assert (found.dtype, found.tobytes()) == (np.float32, expected.tobytes())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"8 9 7 9\n")))
    assert run("encode", folder, "-", "--output", output).code == 0
    assert np.load(output).tobytes() == expected[-1:].tobytes()
    (tmp_path / "empty").write_text("")
    assert run("encode", folder, tmp_path / "empty", "--output", output).code == 0
    assert np.load(output).shape == (0, expected.shape[1])


def test_bad_input_is_one_line(refused, folder, tmp_path) -> None:
    new, output = tmp_path / "new.txt", tmp_path / "vectors.npy"
    refused(f"{new}: no such file", "encode", folder, new, "--output", output)
    new.write_text("what is this\n")
    refused(f"{new}: none of its 3 words is in the source vocabulary", "encode", folder, new, "--output", output)
    refused("output is missing; expected --output FILE.npy", "encode", folder, new)
    refused("output is -; expected --output FILE.npy", "encode", folder, new, "--output", "-")
    refused(f"output {folder / 'text.json'}: is a file", "encode", folder, new, "--output", folder / "text.json")
    new.write_bytes(b"3 1\n\xff\n")
    refused(f"{new}:2: invalid UTF-8", "encode", folder, new, "--output", output)
