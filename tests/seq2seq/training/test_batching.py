"""Batches of training: several for one update, by tokens, with words dropped."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad import random
from seq2seq.models import copying
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.sources import Batch, EncodedSplit, Ragged, TextSource
from seq2seq.text.vocabulary import SPECIALS, UNK_ID
from seq2seq.training import memory
from seq2seq.training.batching import training_sampler, with_words_dropped
from seq2seq.training.update import Updates
from tests.seq2seq.checkpoints import assert_same_checkpoint

WORDS = 13
SIZES = {"embedding_size": 5, "hidden_size": 6, "num_layers": 2, "dropout": 0.0, "init_range": 0.5}


@pytest.fixture
def split() -> EncodedSplit:
    rng = np.random.default_rng(0)
    return EncodedSplit(
        *(Ragged(rng.integers(4, WORDS, length).tolist() for length in rng.integers(0, 12, 60)) for _ in range(2))
    )


# --- several batches for one update -----------------------------------------------------------------------------------
@pytest.mark.parametrize("cuts", [[0, 12], [0, 5, 12], [0, 1, 2, 9, 12]], ids=str)
def test_gradients_of_parts_add_up_to_that_of_the_whole(split: EncodedSplit, cuts: list[int]) -> None:
    """Loss, norm and weights; the parts have unequal numbers of tokens, so a mean of means would be wrong."""
    config = Config(**SIZES, precision="fp64", optimizer="sgd", lr=0.5, clip_norm=1e9, label_smoothing=0.1)

    def updated(cuts: list[int]) -> tuple[float, float, dict[str, np.ndarray]]:
        model = build_model(WORDS, WORDS, config)
        updates = Updates(model, config, split)
        batches = [TextSource().batch(split, range(*pair)) for pair in itertools.pairwise(cuts)]
        loss, norm = updates.apply(batches, config.lr, 1.0)
        return loss, norm, {name: p.array.copy() for name, p in model.named_parameters()}

    whole, parts = updated([0, 12]), updated(cuts)
    assert parts[:2] == pytest.approx(whole[:2], rel=1e-12)
    for name, weights in whole[2].items():
        np.testing.assert_allclose(parts[2][name], weights, rtol=0, atol=1e-12, err_msg=name)


def test_a_run_counts_updates_and_goes_on_exactly(train, run, history) -> None:
    """Nine batches an epoch make updates of 4, 4 and 1."""
    options = ["--accumulate", 4, "--epochs", 3, "--src-word-dropout", 0.2, "--trg-word-dropout", 0.1]
    options += ["--output-dropout", 0.3]
    whole, parts = train("whole", *options), train("parts", *options, "--max-steps", 5)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 9).code == 0
    steps = [[record for record in history(folder) if "loss" in record] for folder in (whole, parts)]
    assert steps[0] == steps[1]
    assert [record["epoch"] for record in steps[0]] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert_same_checkpoint(whole, parts, "last", "model", "optimizer")
    tokens = [record["trg_tokens"] for record in history(train("one", "--epochs", 1)) if "loss" in record]
    assert [record["trg_tokens"] for record in steps[0][:3]] == [sum(tokens[:4]), sum(tokens[4:8]), tokens[8]]


def test_gradients_that_add_up_are_in_the_plan(split: EncodedSplit) -> None:
    config = Config(**{**SIZES, "hidden_size": 200}, batch_size=60)
    planned, taken = [], []
    for accumulate in (1, 2, 3):
        now = dataclasses.replace(config, accumulate=accumulate)
        model = build_model(WORDS, WORDS, now)
        planned.append(memory.with_steps(memory.before_steps(now, (WORDS, WORDS)), model, now, split).step)
        updates = Updates(model, now, split)
        batches = [TextSource().batch(split, range(len(split)))] * accumulate
        updates.apply(batches, now.lr, now.teacher_forcing_ratio)
        updates.optimizer.zero_grad()
        tracemalloc.start()
        updates.apply(batches, now.lr, now.teacher_forcing_ratio)
        taken.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert planned == pytest.approx(taken, rel=0.1)
    assert planned[1] > 1.1 * planned[0]


# --- batches by tokens ------------------------------------------------------------------------------------------------
def positions(split: EncodedSplit, batch: np.ndarray) -> int:
    return len(batch) * int(split.src.lengths[batch].max() + 2 + split.trg.lengths[batch].max() + 1)


def test_batches_by_tokens(split: EncodedSplit) -> None:
    config = Config(batch_tokens=120, batch_size=2)
    sampler = training_sampler(split, config)
    batches = sampler.batches(0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(60))
    assert max(positions(split, batch) for batch in batches) <= 120
    assert max(map(len, batches)) > 2, "instead of pairs"
    again = training_sampler(split, config).batches(0)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]
    assert [batch.tolist() for batch in sampler.batches(1)] != [batch.tolist() for batch in batches]
    _, largest = memory.largest_batch(split, config)
    tokens = [int((split.src.lengths + split.trg.lengths)[batch].sum()) for batch in batches]
    assert (split.src.lengths + split.trg.lengths)[largest].sum() >= max(tokens)


@pytest.mark.parametrize(("marks", "pairs"), [("both", 60 // 8), ("end", 60 // 7), ("none", 60 // 6)])
@pytest.mark.parametrize("block", [0, 40])
def test_the_marks_that_a_source_has_are_counted(marks: str, pairs: int, block: int) -> None:
    """Of three tokens a source, and of two a target, which always has one mark more."""
    split = EncodedSplit(Ragged([[4, 5, 6]] * 80), Ragged([[4, 5]] * 80))
    sampler = training_sampler(split, Config(batch_tokens=60, source_marks=marks, shuffle_block=block))
    assert max(map(len, sampler.batches(0))) == pairs


def test_a_run_by_tokens_goes_on_exactly(train, run, history) -> None:
    """Epochs have unequal numbers of batches."""
    options = ["--batch-tokens", 60, "--epochs", 3]
    whole = train("whole", *options)
    counts = [sum(r["epoch"] == epoch and "loss" in r for r in history(whole)) for epoch in range(3)]
    assert [r["epoch"] for r in history(whole) if "val_loss" in r] == [0, 1, 2]
    stop = counts[0] + 3
    parts = train("parts", *options, "--max-steps", stop)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", sum(counts)).code == 0
    steps = [[record for record in history(folder) if "loss" in record] for folder in (whole, parts)]
    assert steps[0] == steps[1]


# --- words dropped ----------------------------------------------------------------------------------------------------
def test_words_are_dropped_where_they_are_read(draw_batch: Callable[..., Batch]) -> None:
    batch = draw_batch(0, [(40, 50)] * 30)
    random.seed_step(7, 3)
    config = Config(src_word_dropout=0.3, trg_word_dropout=0.1)
    dropped = with_words_dropped(batch, config)
    for before, after, share in ((batch.src, dropped.src, 0.3), (batch.trg_input, dropped.trg_input, 0.1)):
        words = before >= len(SPECIALS)
        changed = before != after
        assert (after[changed] == UNK_ID).all()
        assert not changed[~words].any(), "<sos>, <eos> and padding stay"
        assert changed.sum() / words.sum() == pytest.approx(share, abs=4 * (share * (1 - share) / words.sum()) ** 0.5)
    np.testing.assert_array_equal(dropped.trg_output, batch.trg_output)
    random.seed_step(7, 3)
    np.testing.assert_array_equal(with_words_dropped(batch, config).src, dropped.src)
    random.seed_step(7, 4)
    assert not np.array_equal(with_words_dropped(batch, config).src, dropped.src)


def test_a_word_that_is_dropped_can_be_copied() -> None:
    """Ten words are known; 10 and 11 stand in the source alone."""
    src, words = np.array([[1], [10], [4], [11], [2]]), np.array([[11], [4], [10], [2]])
    one = np.array([4])
    batch = Batch(src, np.array([5]), np.vstack([[[1]], words[:-1]]), words, one, np.array([0]))
    whole, copies = copying.within_pairs(batch, 10)
    for seed in range(9):
        random.seed_step(seed, 0)
        dropped, of_dropped = copying.within_pairs(with_words_dropped(batch, Config(src_word_dropout=0.9)), 10)
        np.testing.assert_array_equal(dropped.trg_output, whole.trg_output)
        np.testing.assert_array_equal(of_dropped, copies)
        assert not np.array_equal(dropped.src, batch.src)
    assert whole.trg_output.ravel().tolist() == [13, 4, 11, 2]


def test_without_it_nothing_is_drawn(draw_batch: Callable[..., Batch]) -> None:
    batch, before = draw_batch(0), random.get_state()
    assert with_words_dropped(batch, Config()).src is batch.src
    assert random.get_state() == before


def test_dropout_of_the_output_is_drawn_in_training_alone(tiny_model, draw_batch: Callable[..., Batch]) -> None:
    model, plain, batch = tiny_model(output_dropout=0.5), tiny_model(), draw_batch(1)

    def loss(model: Any, step: int) -> float:
        random.seed_step(1, step)
        return float(model.loss(batch).item())

    model.train()
    assert loss(model, 0) == loss(model, 0) != loss(model, 1)
    assert loss(model.eval(), 0) == loss(plain.eval(), 0)
