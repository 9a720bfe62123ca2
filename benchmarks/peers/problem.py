"""What every peer is given: the model's sizes and training rule, its first weights, and batches as plain arrays.

The model is the tutorials' first one: embeddings, a stacked LSTM encoder and decoder, an output layer. Parameter names
and shapes are PyTorch's; gates lie in blocks i, f, g, o. Everything is time-major.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

Array = np.ndarray

PAD_ID, SOS_ID, EOS_ID, FIRST_WORD = 1, 2, 3, 4
SPECIALS = [PAD_ID, SOS_ID, EOS_ID]
IMPOSSIBLE = -1e9  # a logit that no word can follow from


@dataclass(frozen=True)
class Task:
    """A model and how it is trained.

    Attributes:
        vocab_sizes: words of source and target.
        optimizer: "adam", or "sgd": without momentum, and with embedding gradients kept as rows where a peer can.
        clip_norm: gradients are clipped to this global norm.
    """

    kind: ClassVar = "Peer"  # the class of a peer's module

    vocab_sizes: tuple[int, int] = (7853, 5893)
    embedding_size: int = 256
    hidden_size: int = 512
    num_layers: int = 2
    dropout: float = 0.5
    init_range: float = 0.08
    seed: int = 1234
    optimizer: str = "adam"
    lr: float = 1e-3
    clip_norm: float = 1.0

    @property
    def parts(self) -> dict[str, Any]:
        """Which encoder and decoder of ours it is, with their options beside the sizes."""
        return {}

    @property
    def settings(self) -> dict[str, Any]:
        """Of `seq2seq.run.config` for ours."""
        names = "embedding_size", "hidden_size", "num_layers", "dropout"
        return {name: getattr(self, name) for name in names} | self.parts

    def with_own(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """The shapes of the plain model's parameters, changed into those of this one."""
        return shapes

    def flops(self, src_tokens: int, trg_tokens: int) -> float:
        """Of one training step: forward and two products backward, a multiply-add being two; lookups are free."""
        sizes = [self.embedding_size, *[self.hidden_size] * (self.num_layers - 1)]
        layers = sum(4 * self.hidden_size * (size + self.hidden_size) for size in sizes)
        output = self.hidden_size * self.vocab_sizes[1]
        return 3 * 2 * (layers * (src_tokens + trg_tokens) + output * trg_tokens)


class Tokens(NamedTuple):
    """A batch of N pairs, padded with <pad>: src (S,N), trg_input and trg_output (T,N), lengths (N,), all int64."""

    src: Array
    src_lengths: Array
    trg_input: Array
    trg_output: Array
    trg_lengths: Array

    @property
    def num_tokens(self) -> tuple[int, int]:
        """Real positions of source and target."""
        return int(self.src_lengths.sum()), int(self.trg_lengths.sum())


class Peer(Protocol):
    """It is built from (task, precision, threads) and the options of its variant. Some only train, some only decode."""

    def step(self, tokens: Tokens, forced: Array | None) -> float:
        """One update; the loss per target token before it.

        ``forced`` (T,) bool says whether the right word is the input of a step, else the model's own; None is always.
        """

    def weights(self) -> dict[str, Array]:
        """All parameters by PyTorch's names."""

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """The best hypothesis of each source after exactly ``steps`` words; <eos> is impossible. Equal lengths."""


def shapes(task: Task) -> dict[str, tuple[int, ...]]:
    """Parameter name -> shape, in PyTorch's order."""
    H = task.hidden_size
    found: dict[str, tuple[int, ...]] = {}
    for side, vocab_size in zip(("encoder", "decoder"), task.vocab_sizes, strict=True):
        found[f"{side}.embedding.weight"] = (vocab_size, task.embedding_size)
        for layer in range(task.num_layers):
            found[f"{side}.rnn.weight_ih_l{layer}"] = (4 * H, H if layer else task.embedding_size)
            found[f"{side}.rnn.weight_hh_l{layer}"] = (4 * H, H)
            found[f"{side}.rnn.bias_ih_l{layer}"] = found[f"{side}.rnn.bias_hh_l{layer}"] = (4 * H,)
    found["decoder.fc_out.weight"] = (task.vocab_sizes[1], H)
    found["decoder.fc_out.bias"] = (task.vocab_sizes[1],)
    return task.with_own(found)


def initial_weights(task: Task) -> Iterator[tuple[str, Array]]:
    """(name, float32 array) one by one, U(-init_range, init_range), around 1 for the scales of normalisations: the same
    in every process."""
    for number, (name, shape) in enumerate(shapes(task).items()):
        array = np.random.default_rng([task.seed, number]).random(shape, np.float32)
        array -= 0.5
        array *= 2 * task.init_range
        if ".norm" in name and name.endswith("weight"):
            array += 1
        yield name, array


def runs_of(forced: Array | None, num_steps: int) -> list[tuple[int, int]]:
    """Steps as runs [start, end): the first step of a run, but not step 0, is given the model's own word."""
    own = [] if forced is None else (np.flatnonzero(~forced[1:]) + 1).tolist()
    return list(itertools.pairwise([0, *own, num_steps]))


def padded_sources(sources: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """<sos> tokens <eos> in columns, (S,N) int64, and lengths (N,) int64."""
    lengths = np.array([len(source) + 2 for source in sources], np.int64)
    src = np.full((int(lengths.max()), len(sources)), PAD_ID, np.int64)
    for column, source in enumerate(sources):
        src[: lengths[column], column] = [SOS_ID, *source, EOS_ID]
    return src, lengths


def best_words(parents: Array, words: Array) -> list[list[int]]:
    """The first beam of every sentence, traced back: parents and words are (steps, N, K), parents within a sentence."""
    rows, found = np.arange(words.shape[1]), []
    beam = np.zeros(len(rows), np.int64)
    for parent, word in zip(parents[::-1], words[::-1], strict=True):
        found.append(word[rows, beam])
        beam = parent[rows, beam]
    return np.stack(found[::-1], axis=1).tolist()
