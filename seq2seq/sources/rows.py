"""Examples of one or more rows of F float32 numbers: how they are kept, standardised, and what a run learns of them.

Contract: rows stay where they are, views of a file that is mapped into memory or read; of a batch alone there are
copies. Where features are standardised, each is brought to mean 0 and deviation 1 over the rows of the training
examples (LeCun et al., "Efficient BackProp", 1998, section 4.3), by figures that the run keeps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq.run.errors import UserError, UserTypeError
from seq2seq.run.messages import counted, shown
from seq2seq.sources.arrays import require_numbers
from seq2seq.sources.batches import IntArray, Items
from seq2seq.sources.contract import Learner, SourceSide
from seq2seq.sources.dataset import Dataset

Rows = npt.NDArray[np.float32]  # (P, F), of one example


class RowItems(Items):
    """Examples of rows, as a model is given them: ``Items`` of a source of numbers.

    Args:
        examples: (P, F) float32 each, kept without a copy.
        side: standardises an example when it is taken; None takes it as it is.
    """

    def __init__(self, examples: Sequence[Rows], side: RowSide | None = None) -> None:
        self._examples, self._side = examples, side
        self.lengths: IntArray = np.array([len(rows) for rows in examples], np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Rows:
        """(P, F) float32 of example ``index``."""
        rows = self._examples[index]
        return rows if self._side is None else self._side.standardized(rows)

    def part(self, start: int, stop: int) -> RowItems:
        """Items ``start`` to ``stop`` - 1."""
        return RowItems(self._examples[start:stop], self._side)

    def take(self, indices: Sequence[int]) -> RowItems:
        """The items of these numbers, in this order."""
        return RowItems([self._examples[index] for index in indices], self._side)


@dataclass(frozen=True, eq=False)
class RowSide(SourceSide):
    """What is taken off each of the F numbers in a row, and what it is then multiplied by.

    Attributes:
        mean, scale: (F,) float32.
    """

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    @property
    def num_inputs(self) -> int:
        return len(self.mean)

    def standardized(self, rows: Rows) -> Rows:
        """(P, F) float32 -> (P, F) float32."""
        return (rows - self.mean) * self.scale

    def encode(self, raw: Sequence[Rows]) -> RowItems:
        for number, rows in enumerate(raw, start=1):
            if rows.shape[1] != self.num_inputs:
                found = f"example {number} has {counted(rows.shape[1], 'number')} in a row"
                raise UserError(f"{found}; expected {self.num_inputs:,}, as in training")
        return RowItems(raw, self)

    def checked(self, raw: Iterable[Any], name: str, noun: str) -> list[Rows]:
        if isinstance(raw, str | bytes) or not isinstance(raw, Iterable):
            raise UserTypeError(f"{name}: got {shown(raw)}; expected arrays of float32, one for each example")
        return [_checked_example(f"{name}: example {number}", rows) for number, rows in enumerate(raw, start=1)]

    def stored(self) -> dict[str, Any]:
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> RowSide:
        """What ``stored`` told; it is not trusted (UserError)."""
        mean, scale = (_checked_numbers(f"src_{name}", stored[name]) for name in ("mean", "scale"))
        if len(mean) != len(scale):
            raise UserError(f"src_mean has {counted(len(mean), 'number')}, src_scale {len(scale)}; expected as many")
        return cls(mean, scale)

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.stored()).encode()).hexdigest()

    def __str__(self) -> str:
        return f"source rows of {counted(self.num_inputs, 'number')}"


class RowLearner(Learner):
    """The examples of all splits; what is learnt of them are means and deviations.

    Args:
        standardize: whether it is, or the numbers are taken as they are.
    """

    def __init__(self, dataset: Dataset, standardize: bool) -> None:
        self._examples = [rows for pairs in dataset.splits.values() for rows, _ in pairs]
        self._standardize = standardize
        self.lengths = RowItems(self._examples).lengths

    def learn(self, kept: np.ndarray) -> tuple[RowSide, RowItems]:
        """Of the examples that are kept, each once however many targets it has."""
        distinct = {id(rows): rows for rows, is_kept in zip(self._examples, kept, strict=True) if is_kept}
        side = _standardizing(list(distinct.values())) if self._standardize else _plain(self._examples[0].shape[1])
        return side, side.encode(self._examples)


def _plain(size: int) -> RowSide:
    return RowSide(np.zeros(size, np.float32), np.ones(size, np.float32))


def _standardizing(examples: Sequence[Rows]) -> RowSide:
    """By the mean and the deviation of every number over all rows; one that never changes is only brought to 0."""
    count = sum(map(len, examples))
    total = np.zeros(examples[0].shape[1])
    for rows in examples:
        total += rows.sum(axis=0, dtype=np.float64)
    mean = total / count
    squares = np.zeros_like(total)
    for rows in examples:
        squares += ((rows - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / count)
    scale = 1 / np.where(deviation > 0, deviation, 1.0)
    return RowSide(mean.astype(np.float32), scale.astype(np.float32))


def _checked_example(name: str, rows: Any) -> Rows:
    """One example that a Python program gives, a row or several."""
    if not isinstance(rows, np.ndarray):
        raise UserTypeError(f"{name} is {shown(rows)}; expected an array of float32")
    rows = rows[None] if rows.ndim == 1 else rows
    require_numbers(name, rows, (2,))
    if not len(rows):
        raise UserError(f"{name}: no rows; expected one or more")
    return rows


def _checked_numbers(name: str, values: Any) -> npt.NDArray[np.float32]:
    """Numbers of a stored run."""
    numbers = isinstance(values, list) and values and all(type(value) in (int, float) for value in values)
    found = np.array(values, np.float32) if numbers else None
    if found is None or not np.isfinite(found).all():
        raise UserError(f"{name}: expected a list of numbers")
    return found
