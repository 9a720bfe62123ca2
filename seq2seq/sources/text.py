"""Text as a source: the ids of its tokens between <sos> and <eos>."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seq2seq.run.registry import option, register
from seq2seq.sources.batches import IntArray, Ragged, padded
from seq2seq.sources.contract import Source
from seq2seq.text.vocabulary import EOS_ID, SOS_ID, SPECIALS


@dataclass(frozen=True)
class TextOptions:
    """How text is read."""

    reverse_source: bool = option(False, "feed the source backwards (Sutskever et al., 2014)")


@register("source", "text")
class TextSource(Source):
    """Ids of tokens; with ``reverse_source`` the tokens are reversed (Sutskever et al. 2014, section 3.3)."""

    Options = TextOptions
    marks = 2
    capturable = True

    def collate(self, items: Sequence[Sequence[int]]) -> tuple[IntArray, IntArray]:
        """N lists of ids -> <sos> tokens <eos> in columns (S, N) int64, and their lengths (N,)."""
        step = -1 if self.options.reverse_source else 1
        return padded([[SOS_ID, *np.asarray(ids, np.int64)[::step].tolist(), EOS_ID] for ids in items])

    def own(self, positions: np.ndarray) -> np.ndarray:
        tokens = positions[..., 1:-1]
        return tokens[..., ::-1] if self.options.reverse_source else tokens

    def random_items(self, rng: np.random.Generator, lengths: Sequence[int], num_inputs: int) -> Ragged:
        return Ragged(rng.integers(len(SPECIALS), num_inputs, length).tolist() for length in lengths)
