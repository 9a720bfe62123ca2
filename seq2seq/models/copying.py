"""Ids of the words that a decoder can only copy, within the pairs of a batch.

A run whose decoder copies gives every word an id: those below V are the vocabulary's, the others follow as they come
(``OpenVocabulary``). A model has numbers for the first V alone; of another word it knows where the source has it. So
within a pair such a word has the id V + s, with s the first position of the source that holds it, and a target word
that neither the vocabulary nor the source knows is <unk>.

S source positions, T target positions, N pairs, V the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seq2seq.sources import Batch
from seq2seq.text.vocabulary import UNK_ID

Array = np.ndarray


def known(ids: Array, vocab_size: int) -> Array:
    """The ids (...), with <unk> for those that are not the vocabulary's."""
    return np.where(ids < vocab_size, ids, UNK_ID)


def copy_ids(src: Array, vocab_size: int) -> Array:
    """What each position of the sources (S, N) is as a target, within its pair: (S, N) int64."""
    copies = src.copy()
    for s, n in zip(*np.nonzero(src >= vocab_size), strict=True):
        copies[s, n] = vocab_size + (src[:, n] == src[s, n]).argmax()
    return copies


def within_pairs(batch: Batch, vocab_size: int) -> tuple[Batch, Array]:
    """The batch with ids that a model has numbers for, but for the targets, which may be copies; and the copy ids of
    its sources (S, N)."""
    source = batch.src if batch.whole_src is None else batch.whole_src
    copies, targets = copy_ids(source, vocab_size), batch.trg_output.copy()
    for t, n in zip(*np.nonzero(targets >= vocab_size), strict=True):
        targets[t, n] = within_pair(targets[t, n], source[:, n], vocab_size)
    given = known(batch.trg_input, vocab_size)
    return replace(batch, src=known(batch.src, vocab_size), trg_input=given, trg_output=targets), copies


def within_pair(word: int, source: Array, vocab_size: int) -> int:
    """The id of a word of a run within the pair with this source (S,)."""
    if word < vocab_size:
        return int(word)
    places = np.flatnonzero(source == word)
    return vocab_size + int(places[0]) if len(places) else UNK_ID


def of_run(ids: Sequence[int], source: Array, vocab_size: int) -> tuple[int, ...]:
    """What ids within the pair with this source (S,) are in the run."""
    return tuple(int(source[index - vocab_size]) if index >= vocab_size else index for index in ids)
