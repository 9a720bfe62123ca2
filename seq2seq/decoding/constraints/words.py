"""Hypotheses that do not hold some words, each one token or several in a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seq2seq.decoding.contract import Array, Row


class NotThese:
    """None of some sequences of ids (at least one each): not the last one, where the others have just been produced."""

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        self._sequences = [tuple(ids) for ids in sequences]

    def __call__(self, log_probs: Array, rows: Sequence[Row]) -> None:
        for *begin, last in self._sequences:
            just = [row.ids[len(row.ids) - len(begin) :] == tuple(begin) for row in rows]
            log_probs[just, last] = -np.inf
