"""Weights that layers share: one parameter, one gradient, one place in the file; and what cannot share them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import optim
from seq2seq import Translator
from seq2seq.gradcheck import check_model
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from tests.seq2seq.checkpoints import assert_same_checkpoint, stored
from tests.seq2seq.pairs import ONE_EACH

WORDS = 13
DECODERS = registry.names("decoder")
TIED = {"decoder": {"tie_weights": "decoder"}, "all": {"tie_weights": "all", "share_vocab": True}}


def tied(kind: str, **settings: Any) -> Seq2Seq:
    sizes = {"embedding_size": 6, "hidden_size": 6, "num_layers": 1, "dropout": 0.0, "init_range": 0.8}
    return build_model(WORDS, WORDS, Config(**{**sizes, **TIED.get(kind, {}), **settings}))


@pytest.mark.parametrize("kind", TIED)
def test_a_shared_tensor_is_one_parameter(kind: str) -> None:
    model, apart = tied(kind), tied("none")
    table = model.decoder.output.weight
    assert table is model.decoder.embedding.weight
    assert (table is model.encoder.embedding.weight) == (kind == "all")
    parameters = [parameter for parameter in model.parameters() if parameter is table]
    assert len(parameters) == 1
    less = sum(p.numel() for p in apart.parameters()) - sum(p.numel() for p in model.parameters())
    assert less == (1 if kind == "decoder" else 2) * WORDS * 6
    names = [name for name, tensor in model.state_dict(keep_vars=True).items() if tensor is table]
    assert len(names) == (2 if kind == "decoder" else 3), "under each of its names, as in PyTorch"


@pytest.mark.parametrize("kind", TIED)
def test_its_gradient_is_the_sum_of_those_of_all_its_uses(kind: str, draw_batch: Callable) -> None:
    """Of a model whose layers have equal weights of their own."""
    model, apart, batch = tied(kind, precision="fp64"), tied("none", precision="fp64"), draw_batch(2)
    apart.load_state_dict(model.state_dict())
    for one in (model, apart):
        one.loss(batch).backward()
    parts = [apart.decoder.output, apart.decoder.embedding, *([apart.encoder.embedding] if kind == "all" else [])]
    total = sum(part.weight.grad.array for part in parts)
    np.testing.assert_allclose(model.decoder.output.weight.grad.array, total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", TIED)
def test_loss_and_gradients_are_pytorchs(kind: str, draw_batch: Callable) -> None:
    torch = pytest.importorskip("torch")
    from tests.seq2seq.models.torch_twin import TorchTwin

    twin = TorchTwin(tied(kind, precision="fp64"), draw_batch(1))
    states = twin.encode()
    y, _ = twin.recurrent(torch.nn.LSTM, "decoder.rnn")(twin.embed("decoder", twin.trg_input), states)
    twin.compare(y)


@pytest.mark.parametrize("kind", TIED)
@pytest.mark.parametrize("decoder", DECODERS)
def test_gradients_of_every_decoder_that_can(kind: str, decoder: str, fitting_options: Callable) -> None:
    options = {"embedding_size": 6, "hidden_size": 6, "decoder": decoder, **fitting_options("lstm", decoder)}
    try:
        report = check_model(Config(**{**options, **TIED[kind]}), 4, ONE_EACH)
    except UserError as error:
        assert "numbers, those of the output layer" in str(error)  # noqa: PT017  (either is right)
    else:
        assert report, str(report)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tie_weights": "all"}, "tie_weights is 'all'; expected --share-vocab too"),
        (
            {"tie_weights": "decoder", "embedding_size": 5},
            "tie_weights is 'decoder'; the words of decoder lstm have 5 numbers, those of the output layer 6; expected "
            "equal sizes, as by --embedding-size 6",
        ),
    ],
)
def test_what_cannot_share(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tied("none", **settings)


@pytest.mark.parametrize("kind", TIED)
def test_a_run_keeps_it_once_and_goes_on_exactly(train, run, kind: str, tmp_path: Path) -> None:
    options = ["--tie-weights", kind, "--share-vocab", "--embedding-size", 12, "--epochs", 2]
    whole, parts = train("whole", *options), train("parts", *options, "--max-steps", 7)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 18).code == 0
    assert_same_checkpoint(whole, parts, "last", "model", "optimizer")
    model = Translator.load(whole).model
    assert model.decoder.embedding.weight is model.decoder.output.weight
    weights = stored(whole, "best")["model"]
    count = json.loads((whole / "manifest.json").read_text())["num_parameters"]
    assert sum(tensor.numel() for tensor in weights.values()) == count == sum(p.numel() for p in model.parameters())
    (tmp_path / "new").write_text("3 1 4\n1 5 9 2\n")
    for beam_size in (1, 3):
        assert run("translate", whole, "--input", tmp_path / "new", "--beam-size", beam_size).out.count("\n") == 2


def test_a_tied_model_trains_on_a_device_as_here(cuda, draw_batch: Callable) -> None:
    batch, weights = draw_batch(1), []
    for device in ("cpu", "cuda"):
        model = tied("all", device=device).train()
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (model.loss(batch) / batch.num_trg_tokens).backward()
            optimizer.step_clipped(1.0)
        assert model.decoder.output.weight is model.encoder.embedding.weight
        weights.append(model.decoder.output.weight.detach().cpu().numpy())
    np.testing.assert_allclose(*weights, rtol=0, atol=1e-4)


def test_it_learns_to_reverse_digits(run, tmp_path: Path, reversed_digits: Callable) -> None:
    """With what a small model of shared weights is usually trained with."""
    pairs = reversed_digits(3800)
    for name, part in (("train", pairs[:3500]), ("test", pairs[3500:])):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{src}\t{trg}\n" for src, trg in part))
    sizes = ["--embedding-size", 64, "--hidden-size", 64, "--num-layers", 1, "--dropout", 0, "--init-range", 0.2]
    text = ["--src-tokenizer", "space", "--trg-tokenizer", "space", "--min-freq", 1, "--share-vocab"]
    paths = ["--data", tmp_path / "train.tsv", "--test", tmp_path / "test.tsv", "--run-dir", tmp_path / "run"]
    updates = ["--batch-tokens", 480, "--accumulate", 2, "--lr", 0.01, "--lr-schedule", "inverse-sqrt"]
    updates += ["--warmup-steps", 100, "--ema-decay", 0.9, "--teacher-forcing-ratio", 1, "--epochs", 14]
    result = run("train", *paths, *text, *sizes, *updates, "--tie-weights", "all", "--best-metric", "exact_match")
    assert result.code == 0, result.err
    assert run("evaluate", tmp_path / "run", "--json", tmp_path / "scores.json").code == 0
    assert json.loads((tmp_path / "scores.json").read_text())["exact_match"] >= 95


def test_a_shared_vocabulary_has_the_words_of_both_sides(train, corpus: Path) -> None:
    corpus.write_text("".join(f"a b {i}\tc b {i % 3}\n" for i in range(30)))
    text = json.loads((train("run", "--max-steps", 1, "--share-vocab") / "text.json").read_text())
    assert text["src_vocabulary"] == text["trg_vocabulary"]
    assert {"a", "b", "c"} <= set(json.dumps(text["src_vocabulary"]).replace('"', " ").replace(",", " ").split())


def test_subwords_of_a_shared_vocabulary_are_of_one_model(train) -> None:
    options = ["--src-tokenizer", "sentencepiece", "--trg-tokenizer", "sentencepiece", "--share-vocab"]
    text = json.loads((train("run", "--max-steps", 1, *options) / "text.json").read_text())
    assert text["src_tokenizer"] == text["trg_tokenizer"]
