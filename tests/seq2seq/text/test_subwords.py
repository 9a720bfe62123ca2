"""Subwords of a run: learnt once where both sides share them; drawn anew in every epoch where that is asked for.

What is drawn is held against all splits there are with their probabilities, and against merges in plain Python.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seq2seq.run.config import Config
from seq2seq.sources import Dataset, EncodedSplit, drop_long
from seq2seq.text.codec import TextCodec
from seq2seq.text.tokenizers import SentencePieceTokenizer
from seq2seq.text.vocabulary import UNK_ID
from seq2seq.training.batching import epoch_batches
from seq2seq.training.memory import largest_batch
from tests.seq2seq.checkpoints import assert_same_checkpoint

SUBWORDS: dict[str, Any] = {"src_tokenizer": "sentencepiece", "trg_tokenizer": "sentencepiece", "max_vocab_size": 40}
UNIGRAM = {**SUBWORDS, "max_vocab_size": None, "subword_model": "unigram", "subword_alpha": 0.3}
BPE = {**SUBWORDS, "bpe_dropout": 0.3}
PAIRS = [(f"das haus am see hat {n} fenster", f"the house by the lake has {n} windows") for n in range(30)]
WORD, COUNT = "hausmaus", 20_000


@pytest.fixture
def dataset() -> Dataset:
    return Dataset("pairs", "de", "en", {"train": PAIRS[6:], "valid": PAIRS[:6]})


@pytest.mark.parametrize(("shared", "times"), [(True, 1), (False, 2)])
def test_subwords_of_both_sides_are_learnt_once(dataset, monkeypatch, shared: bool, times: int) -> None:
    learnt, train = [], SentencePieceTokenizer.train
    monkeypatch.setattr(SentencePieceTokenizer, "train", lambda *given: learnt.append(1) or train(*given))
    codec = TextCodec.build(dataset, Config(share_vocab=shared, **SUBWORDS))
    assert len(learnt) == times
    assert (codec.source.tokenizer.to_config() == codec.trg_tokenizer.to_config()) == shared


# --- what is drawn ----------------------------------------------------------------------------------------------------
def tokenizer(model_type: str) -> SentencePieceTokenizer:
    text = ["haus", "hausmaus", "maus", "aus", "aus dem haus", "die maus", "hau", "us", "sma", "ausm"] * 5
    return SentencePieceTokenizer.train(text, 24 if model_type == "bpe" else None, model_type)


def drawn(model_type: str, alpha: float, nbest: int = -1) -> Counter[tuple[str, ...]]:
    """How often each split of WORD was drawn."""
    known = tokenizer(model_type)
    names = {number: piece for piece, number in known.pieces().items()}
    counts = Counter(map(tuple, known.sample([WORD] * COUNT, alpha, nbest, 5)))
    return Counter({tuple(names[number] for number in split): count for split, count in counts.items()})


def require_probabilities(counts: Counter, expected: dict[tuple[str, ...], float]) -> None:
    """Every count within four standard deviations of what its probability says."""
    assert set(counts) <= set(expected)
    for split, p in expected.items():
        assert abs(counts[split] - COUNT * p) <= 4 * math.sqrt(COUNT * p * (1 - p)) + 2, (split, counts[split])


def all_splits(text: str, pieces: Any) -> list[tuple[str, ...]]:
    if not text:
        return [()]
    heads = [text[:end] for end in range(1, len(text) + 1) if text[:end] in pieces]
    return [(head, *rest) for head in heads for rest in all_splits(text[len(head) :], pieces)]


def kudo(alpha: float, nbest: int) -> dict[tuple[str, ...], float]:
    """The probability of each split of WORD, from the scores of the model's pieces."""
    known = tokenizer("unigram")
    scores = {piece: known._processor.get_score(number) for piece, number in known.pieces().items()}
    total = {split: sum(map(scores.__getitem__, split)) for split in all_splits(f"▁{WORD}", scores)}
    best = sorted(total, key=total.__getitem__, reverse=True)[: nbest if nbest > 0 else None]
    weights = {split: math.exp(alpha * total[split]) for split in best}
    return {split: weight / sum(weights.values()) for split, weight in weights.items()}


@pytest.mark.parametrize(("alpha", "nbest"), [(0.5, -1), (0.0, -1), (1.0, 4)])
def test_splits_of_a_unigram_model_have_their_probabilities(alpha: float, nbest: int) -> None:
    expected = kudo(alpha, nbest)
    assert len(expected) == 4 if nbest > 0 else len(expected) > 10
    require_probabilities(drawn("unigram", alpha, nbest), expected)


def test_the_check_of_probabilities_can_fail() -> None:
    with pytest.raises(AssertionError):
        require_probabilities(drawn("unigram", 0.5), kudo(0.6, -1))


def merged(rank: dict[str, int], p: float, rng: random.Random) -> tuple[str, ...]:
    """WORD after merges, the best first, each looked at once and left out with probability p."""
    symbols = list(f"▁{WORD}")
    waiting = {(i, i + 1) for i in range(len(symbols) - 1)}
    while waiting:
        possible = [pair for pair in waiting if symbols[pair[0]] + symbols[pair[1]] in rank]
        if not possible:
            break
        left, right = min(possible, key=lambda pair: (rank[symbols[pair[0]] + symbols[pair[1]]], pair[0]))
        waiting.remove((left, right))
        if rng.random() < p:
            continue
        symbols[left] += symbols[right]
        symbols[right] = ""
        there = [i for i, symbol in enumerate(symbols) if symbol]
        at = there.index(left)
        waiting = {pair for pair in waiting if left not in pair and right not in pair}
        waiting |= {(there[i], there[i + 1]) for i in (at - 1, at) if 0 <= i < len(there) - 1}
    return tuple(filter(None, symbols))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_merges_are_left_out_as_in_plain_python(p: float) -> None:
    counts, rng = drawn("bpe", p), random.Random(2)
    known = tokenizer("bpe")
    rank = {piece: -known._processor.get_score(number) for piece, number in known.pieces().items() if len(piece) > 1}
    assert merged(rank, 0.0, rng) == tuple(known.tokenize(WORD))
    ours = Counter(merged(rank, p, rng) for _ in range(COUNT))
    assert len(ours) > 10
    for split in set(counts) | set(ours):
        assert abs(counts[split] - ours[split]) <= 4 * math.sqrt(counts[split] + ours[split]) + 4, split


# --- epochs -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def encoded(dataset) -> Callable[..., tuple[TextCodec, dict[str, EncodedSplit]]]:
    def encode(**settings: Any) -> tuple[TextCodec, dict[str, EncodedSplit]]:
        config = Config(**settings)
        codec, splits = TextCodec.build_encoded(dataset, config)
        splits["train"] = codec.for_training(splits["train"], dataset.split("train"), config)
        return codec, splits

    return encode


@pytest.mark.parametrize("settings", [UNIGRAM, BPE], ids=["unigram", "bpe"])
def test_each_epoch_splits_anew_what_stays_the_same_text(encoded, dataset, settings) -> None:
    codec, splits = encoded(**settings)
    train = splits["train"]
    first, again, second = (train.of_epoch(epoch) for epoch in (0, 0, 1))
    sides = {"src": codec.source, "trg": codec.target}
    for number, (name, side) in enumerate(sides.items()):
        ids = [getattr(epoch, name).flat.tolist() for epoch in (first, again, second)]
        assert ids[0] == ids[1] != ids[2]
        assert UNK_ID not in ids[0]
        for epoch in (train, first, second):
            texts = [side.tokenizer.detokenize(side.vocabulary.decode(ids)) for ids in getattr(epoch, name)]
            assert texts == [pair[number] for pair in dataset.split("train")]
    assert first.src.lengths.mean() > train.src.lengths.mean()
    assert type(splits["valid"].of_epoch(3).src) is type(splits["valid"].src)
    plain = codec.encode_pairs(dataset.split("train"))
    assert train.src.flat.tolist() == plain.src.flat.tolist()


def test_sides_draw_apart(encoded, dataset) -> None:
    dataset.splits["train"] = [(src, src) for src, _ in PAIRS]
    split = encoded(**UNIGRAM, share_vocab=True)[1]["train"].of_epoch(0)
    assert split.src.flat.tolist() != split.trg.flat.tolist()


def test_no_drawn_split_is_longer_than_the_greatest_length(encoded) -> None:
    train = encoded(**BPE)[1]["train"]
    most = int(max(train.src.lengths.max(), train.trg.lengths.max()))
    assert train.of_epoch(0).src.lengths.max() > most
    bounded, _ = drop_long(encoded(**BPE, max_length=most)[1]["train"], most)
    assert len(bounded) == len(train)
    assert bounded.of_epoch(0).src.lengths.max() <= most == bounded.src.longest
    assert (bounded.of_epoch(0).src.lengths > bounded.src.lengths).any()
    assert train.of_epoch(0).src.lengths.max() <= train.src.longest == max(len(src) for src, _ in PAIRS) + 1


def test_batches_and_the_memory_plan_are_cut_of_what_an_epoch_reads(encoded) -> None:
    train, config = encoded(**UNIGRAM)[1]["train"], Config(**UNIGRAM, batch_tokens=120, epochs=3)
    totals = []
    for epoch in range(3):
        read, batches = epoch_batches(train, config, epoch)
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(train)))
        both = np.stack([read.src.lengths + 2, read.trg.lengths + 1])
        assert all(len(batch) * both[:, batch].max(1).sum() <= 120 for batch in batches)
        totals += [int((read.src.lengths + read.trg.lengths)[batch].sum()) for batch in batches]
    read, largest = largest_batch(train, config)
    assert int((read.src.lengths + read.trg.lengths)[largest].sum()) == max(totals)


# --- runs -------------------------------------------------------------------------------------------------------------
def test_a_run_that_draws_resumes_to_the_bit(train, run, history) -> None:
    options = ["--src-tokenizer", "sentencepiece", "--bpe-dropout", 0.2, "--noise-drop", 0.1, "--epochs", 3]
    whole = train("whole", *options)
    folder = train("parts", *options, "--max-steps", 13)
    assert run("train", "--run-dir", folder, "--resume", "--max-steps", 27).code == 0
    assert_same_checkpoint(folder, whole, "last", "model", "optimizer")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--subword-alpha", 0.1], "subword_alpha belongs to subword_model unigram; this run has subword_model bpe"),
        (["--subword-nbest", 9], "subword_nbest belongs to subword_alpha; this run has none"),
        (["--subword-model", "unigram", "--bpe-dropout", 0.1], "bpe_dropout belongs to subword_model bpe"),
        (["--src-tokenizer", "char", "--bpe-dropout", 0.1], "bpe_dropout is 0.1; expected --src-tokenizer or"),
        (["--subword-model", "unigram", "--subword-alpha", -1], "subword_alpha is -1.0; expected 0 to 10"),
    ],
)
def test_refused(refused, corpus, settings, message) -> None:
    refused(message, "train", "--data", corpus, *settings)
