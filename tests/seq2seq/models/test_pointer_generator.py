"""The pointer-generator decoder: what it gives a word against PyTorch, words that only the source knows, and a task
that cannot be done without copying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor
from seq2seq import train
from seq2seq.decoding.translator import Translator
from seq2seq.models import copying
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import EncodedSplit, Ragged
from seq2seq.sources.text import TextOptions, TextSource
from seq2seq.text.vocabulary import EOS_ID, SOS_ID, UNK_ID, OpenVocabulary

V = 9  # words of the vocabulary; ids from there on are words that it lacks
PAIRS = EncodedSplit(
    Ragged([[4, 30, 5, 30], [6], [31, 7, 8], [40, 41, 40]]),
    Ragged([[30, 4, 4], [6, 31, 6], [], [41, 40, 5, 40, 8]]),  # 31 is no word of the second source
)
SETTINGS = {
    "encoder": "bilstm", "decoder": "pointer-generator", "share_vocab": True, "embedding_size": 5, "hidden_size": 6,
    "num_layers": 1, "dropout": 0.0, "init_range": 0.8, "precision": "fp64",
}  # fmt: skip


def build(**settings: Any) -> Seq2Seq:
    return build_model(V, V, Config(**{**SETTINGS, **settings}))


def test_ids_within_a_pair() -> None:
    source = np.array([SOS_ID, 30, 5, 31, 30, EOS_ID])
    assert copying.copy_ids(source[:, None], V)[:, 0].tolist() == [SOS_ID, V + 1, 5, V + 3, V + 1, EOS_ID]
    assert copying.known(source, V).tolist() == [SOS_ID, UNK_ID, 5, UNK_ID, UNK_ID, EOS_ID]
    assert [copying.within_pair(word, source, V) for word in (4, 30, 31, 32)] == [4, V + 1, V + 3, UNK_ID]
    assert copying.of_run([4, V + 3, V + 1], source, V) == (4, 31, 30)


def test_a_batch_keeps_copies_where_they_are_wanted() -> None:
    model = build()
    batch, copies = copying.within_pairs(model.source.batch(PAIRS, range(4)), V)
    assert batch.src.max() < V > batch.trg_input.max()
    assert batch.trg_output[:4, 0].tolist() == [V + 2, 4, 4, EOS_ID]
    assert batch.trg_output[:4, 1].tolist() == [6, UNK_ID, 6, EOS_ID]
    assert batch.trg_output[:6, 3].tolist() == [V + 2, V + 1, 5, V + 1, 8, EOS_ID]
    assert copies[:, 0].tolist() == [SOS_ID, 4, V + 2, 5, V + 2, EOS_ID]


@pytest.mark.parametrize("options", [{}, {"attention": "additive", "coverage": True, "coverage_loss": 0.7}])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_loss_and_gradients_are_those_of_pytorch(options: dict[str, Any], label_smoothing: float) -> None:
    """From the features on, word by word and place by place, as equation 9 is written."""
    torch = pytest.importorskip("torch")
    model = build(**options).train()
    packed = model.pack(model.source.batch(PAIRS, range(4)))
    memory = model.remember(packed)
    never = np.zeros(len(packed.given.batch_sizes), bool)
    features = model.decoder.sequence(packed.given, model.start(memory), memory, never).detach()
    features.requires_grad = True
    targets = packed.given._replace(data=packed.targets)
    loss = model.decoder.loss(features, targets, memory, label_smoothing, model.output_dropout)
    loss.backward()

    given = torch.tensor(features.detach().numpy(), requires_grad=True)
    weight, bias = (torch.tensor(p.array, requires_grad=True) for p in model.decoder.output.parameters())
    total = torch.zeros((), dtype=torch.float64)
    seen: dict[int, Any] = {}
    sizes = packed.given.batch_sizes.array
    pairs = np.concatenate([packed.given.sorted_indices.array[:size] for size in sizes])
    for row, pair in enumerate(pairs):
        written, gate, alignment = given[row, :6], torch.sigmoid(given[row, 6]), given[row, 7:]
        logits = weight @ written + bias
        words, target = torch.softmax(logits, 0), int(packed.targets.array[row])
        p = gate * words[target] if target < V else torch.zeros((), dtype=torch.float64)
        for s in range(len(alignment)):
            if memory.copies[s, pair] == target:
                p = p + (1 - gate) * alignment[s]
        total = total - (1 - label_smoothing) * torch.log(p)
        total = total - label_smoothing * torch.log_softmax(logits, 0).mean()
        if "coverage_loss" in options:
            before = seen.get(pair, torch.zeros_like(alignment))
            total = total + options["coverage_loss"] * torch.minimum(alignment, before).sum()
            seen[pair] = before + alignment
    total.backward()
    assert loss.item() == pytest.approx(total.item(), rel=1e-12)
    real = features.detach().numpy() != 0  # past a source all weights are 0: of equal ones the smaller is anybody's
    np.testing.assert_allclose(features.grad.numpy()[real], given.grad.numpy()[real], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.decoder.output.weight.grad.numpy(), weight.grad, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.decoder.output.bias.grad.numpy(), bias.grad, rtol=1e-9, atol=1e-12)


def test_the_probabilities_of_a_step_add_up_to_one_and_are_those_of_the_loss() -> None:
    model = build().eval()
    packed = model.pack(model.source.batch(PAIRS, range(4)))
    memory = model.remember(packed)
    features, _ = model.decoder.step(Tensor(np.full(4, SOS_ID)), model.start(memory), memory)
    log_probs = model.decoder.log_probs(features, memory.copies)
    assert log_probs.shape == (4, V + 6)
    np.testing.assert_allclose(np.exp(log_probs.array).sum(1), 1, rtol=1e-12)
    assert np.isneginf(log_probs.array[1, V:]).all(), "this source has no word that the vocabulary lacks"
    firsts = packed.given._replace(data=Tensor(np.array([V + 2, 6, EOS_ID, V + 2])), batch_sizes=Tensor(np.array([4])))
    order = packed.given.sorted_indices.array
    firsts = firsts._replace(data=Tensor(firsts.data.array[order]))
    loss = model.decoder.loss(Tensor(features.array[order]), firsts, memory, 0.0, model.output_dropout)
    chosen = log_probs.array[np.arange(4), [V + 2, 6, EOS_ID, V + 2]]
    assert loss.item() == pytest.approx(-chosen.sum(), rel=1e-12)


def test_an_open_vocabulary_knows_every_word() -> None:
    vocabulary = OpenVocabulary(["a", "b"])
    assert vocabulary.encode(["b", "x", "<unk>", "x", "a"]) == [5, 6, 7, 6, 4]
    assert vocabulary.decode([6, 4, 7, EOS_ID, 6]) == ["x", "a", "<unk>"]
    assert (len(vocabulary), "x" in vocabulary) == (6, False)
    assert "x" not in vocabulary.to_json()
    with pytest.raises(IndexError):
        vocabulary.decode([8])


def write_calls(folder: Path, count: int) -> Path:
    """Sentences in which somebody is called a name that occurs nowhere else; the target is the name, between words."""
    rng, lines = np.random.default_rng(0), []
    for number in range(count):
        before, after = (" ".join(rng.choice(["red", "blue", "old", "new"], rng.integers(0, 3))) for _ in range(2))
        lines.append(f"{before} called n{number} {after}\tthe name n{number} indeed")
    path = folder / "calls.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt to copy names."""
    folder = tmp_path_factory.mktemp("copying")
    arguments: list[Any] = [
        "--run-dir", folder / "run", "--data", write_calls(folder, 500), "--encoder", "bilstm",
        "--decoder", "pointer-generator", "--share-vocab", "--attention", "additive", "--coverage",
        "--coverage-loss", 0.1, "--embedding-size", 16, "--hidden-size", 24, "--num-layers", 1, "--dropout", 0,
        "--lr", 0.01, "--batch-size", 16, "--epochs", 4, "--min-freq", 3,
        "--src-tokenizer", "space", "--trg-tokenizer", "space",
    ]  # fmt: skip
    assert train.main(list(map(str, arguments))) == 0
    return folder / "run"


def test_words_are_copied_that_no_vocabulary_has(caller: Path) -> None:
    translator = Translator.load(caller)
    sentences = ["old called Zoë blue", "called x-17", "red new called 4711 red"]
    expected = [f"the name {name} indeed" for name in ("Zoë", "x-17", "4711")]
    assert translator.translate(sentences) == expected
    assert translator.translate(sentences, beam_size=3) == expected
    assert translator.translate(sentences, prefixes=["the name Zoë", "", "the"]) == expected
    again, never = translator.score([sentences[0]] * 2, [expected[0], "the name Zoe indeed"])
    assert again.tokens == ("the", "name", "Zoë", "indeed", "<eos>")
    assert again.log_prob > -0.5
    assert never.log_prob < -3
    with pytest.raises(UserError, match=r"forbidden_words: 'Zoë' is not in the target vocabulary"):
        translator.translate(sentences, forbidden_words=["Zoë"])


def test_two_runs_that_copy_translate_together(caller: Path) -> None:
    both = Translator.ensemble([Translator.load(caller), Translator.load(caller, "last")])
    assert both.translate(["old called Zoë blue"]) == ["the name Zoë indeed"]


def test_runs_that_read_their_sources_in_other_ways_do_not_copy_together(caller: Path) -> None:
    """One's third position is another's second."""
    one, other = Translator.load(caller), Translator.load(caller)
    other.model.source = TextSource(TextOptions(reverse_source=True))
    with pytest.raises(UserError, match="translator 2 copies from sources that are read in another way"):
        Translator.ensemble([one, other])


def test_a_decoder_that_cannot_copy_is_refused_before_data_are_read(run: Callable) -> None:
    result = run("train", "--data", "nowhere.tsv", "--decoder", "pointer-generator")
    assert result.code == 2
    assert result.err.startswith("error: decoder pointer-generator copies words of the source; expected --share-vocab")


def test_evaluation_finds_every_name(caller: Path, run: Callable) -> None:
    result = run("evaluate", caller)
    assert result.code == 0, result.err
    assert "exact_match    100.000 %" in result.out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share_vocab": False}, "decoder pointer-generator copies words of the source; expected --share-vocab"),
        ({"source": "frames"}, "expected a source of text"),
    ],
)
def test_what_cannot_be_copied_from(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**settings)


def test_an_encoder_that_merges_positions_is_refused() -> None:
    model = build(pyramid=1, num_layers=2)
    with pytest.raises(UserError, match=r"made 3 outputs of 6 positions; expected one for each"):
        model.loss(model.source.batch(PAIRS, range(4)))


def test_another_gate_is_noticed() -> None:
    """The proof that the comparison with PyTorch can fail: a gate that is a hair off gives another loss."""
    model = build().eval()
    batch = model.source.batch(PAIRS, range(4))
    loss = model.loss(batch).item()
    model.decoder.generate.bias.array[...] += 1e-6
    assert abs(model.loss(batch).item() - loss) > 1e-9
