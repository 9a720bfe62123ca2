"""That models learn: small tasks whose rule is known, held against examples that training never saw, in seconds each.

Of reversal and copying the alignments too are held against the rule, in test_attention.py; reversal by LSTMs and by a
Transformer stands in test_training.py and test_transformer.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from minigrad import optim
from seq2seq.decoding.search import greedy_search
from seq2seq.examples import captions, tones
from seq2seq.examples.running import Counts
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.sources import EncodedSplit, Ragged, TextSource

Pair = tuple[list[int], list[int]]  # ids of a source and of its target
SPECIALS, SYMBOLS = 4, 10  # ids of the text begin at 4: a digit d is 4 + d, and + is 14


def copied(rng: np.random.Generator) -> Pair:
    row = drawn(rng)
    return row, row


def in_order(rng: np.random.Generator) -> Pair:
    row = drawn(rng)
    return row, sorted(row)


def added(rng: np.random.Generator) -> Pair:
    """A number of two digits, one of one digit, and their sum."""
    first, second = int(rng.integers(100)), int(rng.integers(10))
    return digits(f"{first:02}+{second}"), digits(f"{first + second:03}")


def digits(text: str) -> list[int]:
    return [SPECIALS + "0123456789+".index(character) for character in text]


def drawn(rng: np.random.Generator) -> list[int]:
    return rng.integers(SPECIALS, SPECIALS + SYMBOLS, rng.integers(3, 7)).tolist()


TASKS: list[tuple[Callable[[np.random.Generator], Pair], dict, int]] = [
    (copied, {"encoder": "gru", "decoder": "gru-context", "hidden_size": 96}, 400),
    (in_order, {"encoder": "lstm", "decoder": "lstm", "hidden_size": 32}, 300),
    (added, {"encoder": "bilstm", "decoder": "attention", "hidden_size": 48}, 350),
]


def split_of(pairs: list[Pair]) -> EncodedSplit:
    return EncodedSplit(Ragged(src for src, _ in pairs), Ragged(trg for _, trg in pairs))


def unknown(task: Callable, rng: np.random.Generator, held_out: list[Pair]) -> Iterator[Pair]:
    """Examples without end, none of which is held out."""
    known = {tuple(src) for src, _ in held_out}
    while True:
        pair = task(rng)
        if tuple(pair[0]) not in known:
            yield pair


@pytest.mark.parametrize(("task", "options", "steps"), TASKS, ids=[task.__name__ for task, _, _ in TASKS])
def test_a_rule_is_learnt(task, options, steps) -> None:
    """Examples are made as training goes on; those that count are left out of it."""
    sizes = {"embedding_size": 16, "num_layers": 1, "dropout": 0.0, "init_range": 0.3, "seed": 1}
    vocab_size, rng = SPECIALS + SYMBOLS + 1, np.random.default_rng(0)
    model = build_model(vocab_size, vocab_size, Config(**sizes | options))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    held_out = [task(rng) for _ in range(200)]
    examples = unknown(task, rng, held_out)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.01 * min(1, 2 - 2 * step / steps)
        batch = TextSource().batch(split_of([next(examples) for _ in range(32)]), range(32))
        optimizer.zero_grad()
        (model.loss(batch) / batch.num_trg_tokens).backward()
        optimizer.step_clipped(1.0)
    found = greedy_search(model.eval(), [src for src, _ in held_out], 9)
    assert np.mean([list(one.ids) == trg for one, (_, trg) in zip(found, held_out, strict=True)]) >= 0.9


def test_features_are_put_into_words(tmp_path) -> None:
    """Captions of scenes never seen, by a decoder that attends to their regions."""
    words = [str(tmp_path / "folder"), "--regions", "--decoder", "attention", "--epochs", "5", "--batch-size", "32"]
    assert captions.captions(words, Counts(300, 20, 100)) == 0
    assert json.loads((tmp_path / "folder" / "scores.json").read_text())["exact_match"] >= 90


def test_tones_are_named(tmp_path, monkeypatch) -> None:
    """Frames of any number through a pyramid: one to three tones of five, each time played anew. Guesses of the right
    length are wrong in 80 % of the tones."""

    def melodies(rng: np.random.Generator, counts: Counts) -> list[list[tuple[int, ...]]]:
        return [[tuple(rng.choice([0, 3, 5, 8, 10], rng.integers(1, 4)).tolist()) for _ in range(n)] for n in counts]

    monkeypatch.setattr(tones, "melodies", melodies)
    parts = ["--encoder", "bigru", "--num-layers", "2", "--pyramid", "1", "--cell", "gru", "--hidden-size", "32"]
    words = [str(tmp_path / "folder"), *parts, "--batch-size", "16", "--lr", "0.01", "--epochs", "6"]
    assert tones.tones(words, Counts(600, 30, 100)) == 0
    assert json.loads((tmp_path / "folder" / "scores.json").read_text())["per"] <= 25
