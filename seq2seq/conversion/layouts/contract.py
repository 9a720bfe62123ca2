"""What a layout promises: to know its own arrays, to become parts of this engine, and to compute what its model does.

The last is what a conversion is held against: equations in NumPy alone, of the arrays as the file has them, so that
they know nothing of the engine.

T target positions, V words of the target.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from seq2seq.text.vocabulary import SOS_ID

NOTHING = -1
Array = np.ndarray
Arrays = dict[str, Array]


class Layout:
    """One kind of model as its authors' code lays it out.

    Attributes:
        name: for --layout.
        about: what it is.
        source_tables, target_tables: arrays with a row for each word.
        target_biases: with a number for each.
        reads_first: the mark that its decoder reads first; None: a vector of zeros. Where it is not <sos>, the file's
            mark of beginning, if there is one, is a word as any other.
        must_be_named: whether its arrays do not tell it from another layout.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    source_tables: ClassVar[tuple[str, ...]] = ("encoder.embedding.weight",)
    target_tables: ClassVar[tuple[str, ...]] = ("decoder.embedding.weight", "decoder.fc_out.weight")
    target_biases: ClassVar[tuple[str, ...]] = ("decoder.fc_out.bias",)
    reads_first: ClassVar[int | None] = SOS_ID
    must_be_named: ClassVar[bool] = False

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        """Those of the model that the arrays make, None where they are not of this layout."""
        raise NotImplementedError

    @classmethod
    def tokens(cls, lines: list[str]) -> list[str]:
        """Those of a list of words in a text file, in the order of their ids."""
        return lines

    def fitted(self, tokens: list[str], side: str) -> list[str]:
        """As many tokens as the model has rows for, of the side "src" or "trg"; by default a list must have as many."""
        return tokens

    def weights(self) -> Arrays:
        """By the names of the engine's model, rows of words in the file's order."""
        return self.arrays

    def log_probs(self, source: list[int], target: list[int]) -> Array:
        """(T, V) of what follows each of the target's ids, of the ids that the model reads, marks included; NOTHING is
        in the place of a vector of zeros."""
        raise NotImplementedError
