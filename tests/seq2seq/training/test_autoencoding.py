"""--task autoencode: what it reads, the noise of its training, and that it learns to give its sources back."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from seq2seq import Translator
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.registry import build
from seq2seq.sources import EncodedSplit, Ragged, TextSource, load_dataset
from seq2seq.sources.noise import Noise, NoisySentences
from seq2seq.text.side import TextSide, opened
from seq2seq.text.tokenizers import SentencePieceTokenizer, SpaceTokenizer
from seq2seq.text.vocabulary import Vocabulary
from tests.seq2seq.checkpoints import assert_same_checkpoint

WORDS = ["ein", "haus", "am", "see", "mit", "hund"]
EVERY_TOKEN = np.ones(40, bool)


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, Path]:
    """Sentences of 1 to 4 words, one a line: many, and some that are none of these."""
    rng = random.Random(3)
    drawn = list(dict.fromkeys(" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(600)))
    for name, part in (("text.de", drawn[40:]), ("new.de", drawn[:40])):
        (tmp_path / name).write_text("".join(f"{sentence}\n" for sentence in part))
    return tmp_path / "text.de", tmp_path / "new.de"


@pytest.fixture
def text(texts) -> Path:
    return texts[0]


# --- the data ---------------------------------------------------------------------------------------------------------
def loaded(**settings: object) -> dict[str, list]:
    config = Config(task="autoencode", **settings)
    dataset = build("source", config).load(config)
    assert dataset.trg_language == dataset.src_language
    return {name: dataset.references(name) for name in dataset.splits} | {"train pairs": dataset.splits["train"]}


def test_every_source_is_its_own_target(text, corpus) -> None:
    lines = text.read_text().splitlines()
    assert Counter(loaded(data=str(text), test=str(text))["train pairs"]) <= Counter((line, line) for line in lines)
    assert loaded(data=str(text), test=str(text))["test"] == [(line,) for line in lines]
    sources = [line.split("\t")[0] for line in corpus.read_text().splitlines()]
    assert loaded(data=str(corpus), test=f"{text},{text}", valid=str(corpus))["valid"] == [(src,) for src in sources]


def test_the_target_has_the_tokens_of_the_source(text) -> None:
    config = Config(task="autoencode", data=str(text), src_tokenizer="char")
    assert build("source", config).load(config).defaults["trg_tokenizer"] == "char"


def test_a_text_that_is_its_own_target_has_no_copies_to_tell_of(text) -> None:
    notes = load_dataset(str(text), one_sided=True).notes
    assert not any("equal to the source" in note for note in notes)
    assert any("equal to the source" in note for note in load_dataset(f"{text},{text}").notes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--task", "copy"], "task is 'copy'; expected translate or autoencode"),
        (["--task", "translate"], "{text}:1: neither a tab nor a JSON object; expected source TAB target"),
        (["--task", "autoencode", "--noise-drop", "1"], "noise_drop is 1.0; expected 0 to 0.99"),
        (["--task", "autoencode", "--source", "vectors"], "task is an option of source text"),
    ],
)
def test_refused(refused, text, settings, message) -> None:
    refused(message.format(text=text), "train", "--data", text, *settings)


# --- noise ------------------------------------------------------------------------------------------------------------
def sentences(count: int, length: int) -> Ragged:
    return Ragged([list(range(4, 4 + length))] * count)


def plain_noise(words: list[int], drop: float, shuffle: int, rng: random.Random) -> list[int]:
    """Lample et al. in plain Python."""
    keys = [place + rng.uniform(0, shuffle + 1) for place in range(len(words))]
    moved = [words[place] for place in sorted(range(len(words)), key=keys.__getitem__)]
    kept = [word for word in moved if rng.random() >= drop]
    return kept or [rng.choice(words)]


def test_noise_knows_words_that_only_an_open_vocabulary_has_ids_for() -> None:
    side = TextSide(SpaceTokenizer(), opened(Vocabulary(["ein", "haus"])))
    items = side.encode(["ein altes haus am see"])
    noisy = TextSource(TextSource.Options(noise_shuffle=3)).for_training(items, side, 1).of_epoch(0)
    assert sorted(side.vocabulary.decode(noisy[0])) == sorted(["ein", "altes", "haus", "am", "see"])


@pytest.mark.parametrize(("drop", "shuffle"), [(0.3, 0), (0.0, 2), (0.4, 1)])
def test_noise_is_distributed_as_in_the_paper(drop: float, shuffle: int) -> None:
    require_alike(noisy_counts(drop, shuffle), plain_counts(drop, shuffle))


@pytest.mark.parametrize(("drop", "shuffle"), [(0.33, 2), (0.3, 3)])
def test_the_check_of_distributions_can_fail(drop: float, shuffle: int) -> None:
    with pytest.raises(AssertionError):
        require_alike(noisy_counts(0.3, 2), plain_counts(drop, shuffle))


def noisy_counts(drop: float, shuffle: int) -> Counter[tuple[int, ...]]:
    return Counter(map(tuple, Noise(drop, shuffle, EVERY_TOKEN, 1).apply(sentences(20_000, 4), 0)))


def plain_counts(drop: float, shuffle: int) -> Counter[tuple[int, ...]]:
    rng = random.Random(5)
    return Counter(tuple(plain_noise([4, 5, 6, 7], drop, shuffle, rng)) for _ in range(20_000))


def require_alike(one: Counter, other: Counter) -> None:
    """Every two counts within four standard deviations of their difference."""
    for sentence in set(one) | set(other):
        spread = (one[sentence] + other[sentence]) ** 0.5
        assert abs(one[sentence] - other[sentence]) <= 4 * spread + 4, sentence


def test_no_word_moves_too_far_and_without_noise_none_moves() -> None:
    for shuffle in (0, 1, 3):
        moved = np.stack(list(Noise(0.0, shuffle, EVERY_TOKEN, 1).apply(sentences(500, 9), 2))) - 4
        assert np.abs(moved - np.arange(9)).max() == shuffle


def test_words_of_several_tokens_stay_whole() -> None:
    begins = np.zeros(40, bool)
    begins[[4, 7, 9]] = True  # the words 4 5 6, 7 8 and 9
    noisy = Noise(0.3, 2, begins, 1).apply(Ragged([[4, 5, 6, 7, 8, 9]] * 400), 0)
    words = {(4, 5, 6), (7, 8), (9,)}
    possible = {sum(order, ()) for n in (1, 2, 3) for order in itertools.permutations(words, n)}
    assert set(map(tuple, noisy)) == possible


def test_pieces_that_go_on_with_a_word_do_not_begin_one() -> None:
    tokenizer = SentencePieceTokenizer.train(["ein haus am see", "zwei hunde am see"] * 9, 30)
    pieces = tokenizer.tokenize("zwei hunde am see")
    assert [piece for piece in pieces if tokenizer.begins_word(piece)] == [p for p in pieces if p.startswith("▁")]
    assert sum(map(tokenizer.begins_word, pieces)) == 4 < len(pieces)
    assert SpaceTokenizer().begins_word("haus")


def test_empty_sentences_and_single_words_stay() -> None:
    items = Ragged([[], [4], [], [5, 6], []])
    noisy = [ids.tolist() for ids in Noise(0.99, 3, EVERY_TOKEN, 1).apply(items, 0)]
    assert noisy[:3] == [[], [4], []]
    assert len(noisy[3]) == 1
    assert len(Noise(0.5, 1, EVERY_TOKEN, 1).apply(Ragged([]), 0)) == 0


def test_each_epoch_has_its_own_noise_and_the_target_none() -> None:
    clean = sentences(50, 8)
    split = EncodedSplit(NoisySentences(clean, Noise(0.2, 2, EVERY_TOKEN, 7)), clean)
    first, again, second = (split.of_epoch(epoch) for epoch in (0, 0, 1))
    assert first.src.flat.tolist() == again.src.flat.tolist() != second.src.flat.tolist()
    other = NoisySentences(clean, Noise(0.2, 2, EVERY_TOKEN, 8)).of_epoch(0)
    assert other.flat.tolist() != first.src.flat.tolist()
    assert first.trg is clean
    assert split.src.flat is clean.flat  # which is what validation sees
    assert split.src.take([3, 5]).of_epoch(0).lengths.tolist() == split.src.part(3, 5).of_epoch(0).lengths.tolist()


# --- runs -------------------------------------------------------------------------------------------------------------
NOISY = ["--task", "autoencode", "--noise-drop", "0.2", "--noise-shuffle", "2"]


def test_a_noisy_run_resumes_to_the_bit(train, run, history) -> None:
    whole = train("whole", *NOISY, "--epochs", 3)
    folder = train("parts", *NOISY, "--epochs", 3, "--max-steps", 13)
    assert run("train", "--run-dir", folder, "--resume", "--max-steps", 27).code == 0
    assert_same_checkpoint(folder, whole, "last", "model", "optimizer")
    quiet = history(train("quiet", "--task", "autoencode", "--epochs", 3))
    noisy = history(whole)
    assert quiet[0]["src_tokens"] != noisy[0]["src_tokens"]
    steps = [[record.get("src_tokens") for record in noisy if record["epoch"] == epoch] for epoch in (0, 1)]
    assert sorted(steps[0][:-1]) != sorted(steps[1][:-1])


def test_a_tiny_autoencoder_reconstructs_what_it_never_saw(run, texts, tmp_path) -> None:
    (text, new), folder, scores = texts, tmp_path / "run", tmp_path / "scores.json"
    settings: dict[str, object] = {
        "data": text, "task": "autoencode", "run_dir": folder, "src_tokenizer": "space", "min_freq": 1,
        "embedding_size": 16, "hidden_size": 64, "num_layers": 1, "dropout": 0, "teacher_forcing_ratio": 1,
        "batch_size": 16, "epochs": 20, "lr": 0.01, "reverse_source": "true",
    }  # fmt: skip
    options = [str(word) for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert run("train", *options).code == 0
    assert run("evaluate", folder, "--test", new, "--json", scores).code == 0
    figures = json.loads(scores.read_text())
    assert figures["exact_match"] >= 90
    assert figures["bleu"] >= 90
    assert Translator.load(folder).translate(["ein haus am see"], beam_size=3) == ["ein haus am see"]
    assert len(run("score", folder, "--data", new).out.splitlines()) == 40
    with pytest.raises(UserError, match="expected one text, which the run is to reconstruct"):
        Translator.load(folder).model.source.read_examples("test", f"{new},{new}")
