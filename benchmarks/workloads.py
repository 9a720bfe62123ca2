"""Batches for the races: Multi30k's as the trainer makes them, random words with like lengths, and fixed shapes."""

from __future__ import annotations

import numpy as np
from peers.problem import EOS_ID, FIRST_WORD, PAD_ID, SOS_ID, Array, Tokens, padded_sources


def multi30k(data_dir: str, count: int, batch_size: int) -> tuple[list[Tokens], tuple[int, int]]:
    """The first batches of epoch 0 as the trainer makes them, and the vocabulary sizes."""
    from seq2seq.run.config import Config
    from seq2seq.sources import BatchSampler, TextSource, load_dataset
    from seq2seq.text.codec import TextCodec

    dataset = load_dataset("multi30k", data_dir=data_dir)
    codec = TextCodec.build(dataset, Config())
    split = codec.encode_pairs(dataset.split("train"))
    order = BatchSampler(split.src.lengths, split.trg.lengths, batch_size, seed=1234).batches(0)
    batches = [TextSource().batch(split, indices) for indices in order[:count]]
    tokens = [Tokens(b.src, b.src_lengths, b.trg_input, b.trg_output, b.trg_lengths) for b in batches]
    return tokens, (codec.source.num_inputs, len(codec.trg_vocabulary))


def like_multi30k(count: int, batch_size: int, vocab_sizes: tuple[int, int]) -> list[Tokens]:
    """Random words; lengths like Multi30k's, sorted into batches, the target's a little apart from the source's."""
    rng = np.random.default_rng(0)
    lengths = np.sort(np.clip(rng.normal(13, 4, count * batch_size), 3, 40).astype(int)).reshape(count, batch_size)
    found = []
    for src_lengths in rng.permutation(lengths):
        trg_lengths = np.maximum(src_lengths + rng.integers(-2, 3, batch_size), 1)
        found.append(random_batch(rng, src_lengths, trg_lengths, vocab_sizes))
    return found


def fixed(count: int, batch_size: int, length: int, vocab_sizes: tuple[int, int]) -> list[Tokens]:
    """Random words; every sentence has ``length`` positions on both sides."""
    rng = np.random.default_rng(1)
    src, trg = np.full(batch_size, length - 2), np.full(batch_size, length - 1)
    return [random_batch(rng, src, trg, vocab_sizes) for _ in range(count)]


def random_batch(rng: np.random.Generator, src: Array, trg: Array, vocab_sizes: tuple[int, int]) -> Tokens:
    """Words drawn evenly; ``src`` and ``trg`` (N,) count the words of every sentence, without <sos> and <eos>."""
    sources = [rng.integers(FIRST_WORD, vocab_sizes[0], n).tolist() for n in src]
    trg_input = np.full((int(trg.max()) + 1, len(trg)), PAD_ID, np.int64)
    trg_output = trg_input.copy()
    for column, count in enumerate(trg):
        words = rng.integers(FIRST_WORD, vocab_sizes[1], count)
        trg_input[: count + 1, column] = [SOS_ID, *words]
        trg_output[: count + 1, column] = [*words, EOS_ID]
    return Tokens(*padded_sources(sources), trg_input, trg_output, np.asarray(trg, np.int64) + 1)


def coins(num_steps: int, seed: int) -> Array:
    """(T,) bool: whether the right word is given to a step, half of the time; always to the first."""
    forced = np.random.default_rng([7, seed]).random(num_steps) < 0.5
    forced[0] = True
    return forced
