"""Runs of lines in which sources and targets are shifted against each other, as by a line that is lost on one side.

Each pair is compared with what it would be if the target of a neighbour was its own: lengths that fit better, numbers,
names and marks that both have. A run in which a neighbour fits better throughout is found by a cumulative sum (Page,
"Continuous inspection schemes", 1954), whose drift and threshold follow from the spread of single comparisons.

Source: Gale and Church, "A program for aligning sentences in bilingual corpora" (1993), on lengths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from seq2seq.inspection.contract import Corpus, check

_LEAST_LINES = 50
_DRIFT, _THRESHOLD = 0.5, 25.0  # in units of the spread
_MOST = 3.0  # that one line counts, in the same units
_SHARED = re.compile(r"\d+|\b[^\W\d_]\w+\b|[?!:;%()€$]")


@check("error", "lie in a run of lines whose targets belong to the line before or behind",
       "look for the line that is missing or surplus where the run begins")  # fmt: skip
def alignment_slips(corpus: Corpus) -> Iterable[int]:
    found: set[int] = set()
    for numbers in _files(corpus):
        if len(numbers) >= _LEAST_LINES:
            for start, stop in slips([corpus.items[n].src for n in numbers], [corpus.items[n].trg for n in numbers]):
                found.update(numbers[start:stop])
    return found


def _files(corpus: Corpus) -> list[list[int]]:
    """The numbers of the pairs of each file, in order."""
    files: dict[tuple[str, str], list[int]] = {}
    for number, item in enumerate(corpus.items):
        files.setdefault((item.split, item.file), []).append(number)
    return list(files.values())


def slips(sources: Sequence[str], targets: Sequence[str]) -> list[tuple[int, int]]:
    """The runs (start, stop) in which the target before or behind fits better."""
    sizes = [np.log1p([len(line) for line in side]) for side in (sources, targets)]
    middle = np.median(sizes[0] - sizes[1])
    before, own, behind = (
        shared - np.minimum(np.abs(sizes[0] - middle - sizes[1][_neighbours(len(targets), shift)]), 1.0)
        for shift, shared in zip((-1, 0, 1), _shared(sources, targets), strict=True)
    )
    return [run for other in (before, behind) if (run := _run(other - own)) is not None]


def _neighbours(count: int, shift: int) -> npt.NDArray[np.int64]:
    """(count,) the numbers of the lines that stand ``shift`` behind, at an end the end itself."""
    return np.clip(np.arange(count) + shift, 0, count - 1)


def _shared(sources: Sequence[str], targets: Sequence[str]) -> npt.NDArray[np.float64]:
    """(3, pairs) how much a source has in common with the target before its own, with that, with the one behind."""
    found = np.empty((3, len(sources)))
    following = map(_marks, [*targets[1:], *targets[-1:]])
    before = own = _marks(targets[0])
    for number, (source, behind) in enumerate(zip(map(_marks, sources), following, strict=True)):
        found[:, number] = [_agreement(source, target) for target in (before, own, behind)]
        before, own = own, behind
    return found


def _marks(line: str) -> frozenset[str]:
    """What is often the same in two languages: numbers, words as they stand, marks."""
    return frozenset(_SHARED.findall(line))


def _agreement(source: frozenset[str], target: frozenset[str]) -> float:
    """Dice's coefficient of two sets."""
    return 2 * len(source & target) / max(1, len(source) + len(target))


def _run(gain: npt.NDArray[np.float64]) -> tuple[int, int] | None:
    """Where a neighbour's target fits better throughout, if anywhere."""
    spread = float(np.sqrt(np.mean(np.square(gain))))
    if spread == 0:
        return None
    steps = np.clip(gain / spread, -_MOST, _MOST)
    sums = np.concatenate([[0.0], np.cumsum(steps - _DRIFT)])
    risen = sums - np.minimum.accumulate(sums)
    stop = int(np.argmax(risen))
    if risen[stop] < _THRESHOLD:
        return None
    start = int(np.argmin(sums[: stop + 1]))
    plain = np.concatenate([[0.0], np.cumsum(steps)])  # its ends stand out without the drift
    middle = (start + stop) // 2
    return int(np.argmin(plain[: middle + 1])), middle + int(np.argmax(plain[middle:]))
