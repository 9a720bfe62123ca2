"""Noise on sentences: words moved a little and words left out, so that who reconstructs them must know the language.

Contract: what an epoch reads is a function of the sentences and of (seed, epoch). No sentence loses all its words.

Source: Lample et al., "Unsupervised machine translation using monolingual corpora only" (2018), on denoising. Of n
words, word i is moved to where i + u_i stands among all i + u_i, u_i drawn from U(0, k + 1): by k places at most. Then
each is left out with a probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seq2seq.sources.batches import Ragged

_NOISE = 1  # the streams of (seed, epoch) and one more number; the sampler draws from (seed, epoch) alone


@dataclass(frozen=True)
class Noise:
    """What is done to the words of a sentence.

    Attributes:
        drop: probability that a word is left out.
        shuffle: k, how many places a word may move.
        begins_word: (V,) bool, the tokens with which a word begins; all others go where the token before them goes.
        seed: of what is drawn.
    """

    drop: float
    shuffle: int
    begins_word: npt.NDArray[np.bool_]
    seed: int

    def apply(self, items: Ragged, epoch: int) -> Ragged:
        """The sentences as an epoch reads them."""
        stream = np.random.PCG64([self.seed, epoch, _NOISE])
        sentence = np.repeat(np.arange(len(items)), items.lengths)  # of each token
        is_first = np.diff(sentence, prepend=-1) > 0
        starts = np.flatnonzero(is_first | self.begins_word[items.flat])  # the first token of each word
        home, sizes = sentence[starts], np.diff(starts, append=len(sentence))
        order = np.lexsort((np.arange(len(starts)) + (self.shuffle + 1) * _uniform(stream, len(starts)), home))
        order = order[self._kept(_uniform(stream, len(starts)), np.flatnonzero(is_first[starts]))[order]]
        tokens = _ranges(starts[order], sizes[order])
        lengths = np.bincount(sentence[tokens], minlength=len(items))
        return Ragged.from_flat(items.flat[tokens], lengths.astype(np.int64))

    def _kept(self, drawn: npt.NDArray[np.float64], first_words: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which words stay, by a number of U(0, 1) for each: in every sentence the one with the largest, too."""
        if not len(drawn):
            return np.zeros(0, bool)
        largest = np.maximum.reduceat(drawn, first_words)
        sizes = np.diff(first_words, append=len(drawn))
        return (drawn >= self.drop) | (drawn == np.repeat(largest, sizes))


class NoisySentences(Ragged):
    """Sentences to which every epoch does other noise; they themselves are clean.

    Args:
        clean: the sentences, which may be others in each epoch too.
    """

    def __init__(self, clean: Ragged, noise: Noise) -> None:
        self._set(clean.flat, clean.lengths)
        self._clean, self._noise = clean, noise

    @property
    def longest(self) -> int:
        return self._clean.longest

    def of_epoch(self, epoch: int) -> Ragged:
        return self._noise.apply(self._clean.of_epoch(epoch), epoch)

    def part(self, start: int, stop: int) -> Ragged:
        return NoisySentences(self._clean.part(start, stop), self._noise)

    def take(self, indices: Sequence[int]) -> Ragged:
        return NoisySentences(self._clean.take(indices), self._noise)


def _uniform(stream: np.random.PCG64, count: int) -> npt.NDArray[np.float64]:
    """Numbers of U(0, 1) from raw random bits, a stream NumPy never changes between versions."""
    return (stream.random_raw(count) >> np.uint64(11)) / np.float64(1 << 53)


def _ranges(starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers from starts[i] on, sizes[i] of them, range after range."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))
