"""Hypotheses without <unk>."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seq2seq.decoding.contract import Array, Constraint, Row
from seq2seq.run.registry import option, register
from seq2seq.text.vocabulary import UNK_ID


@dataclass(frozen=True)
class UnknownOptions:
    """Whether a hypothesis may hold <unk>."""

    no_unk: bool = option(False, "never produce <unk>")


@register("constraint", "no-unk")
class NoUnknown(Constraint):
    """Never <unk>."""

    Options = UnknownOptions

    def __call__(self, log_probs: Array, rows: Sequence[Row]) -> None:
        log_probs[:, UNK_ID] = -np.inf
