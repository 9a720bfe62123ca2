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
    marks = [[_marks(line) for line in side] for side in (sources, targets)]
    sizes = [np.log1p([len(line) for line in side]) for side in (sources, targets)]
    middle = np.median(sizes[0] - sizes[1])
    own = _fit(marks[0], marks[1], sizes[0] - middle, sizes[1])
    runs = []
    for shift in (-1, 1):
        others = np.clip(np.arange(len(sources)) + shift, 0, len(sources) - 1)
        other = _fit(marks[0], [marks[1][n] for n in others.tolist()], sizes[0] - middle, sizes[1][others])
        run = _run(other - own)
        if run is not None:
            runs.append(run)
    return runs


def _marks(line: str) -> frozenset[str]:
    """What is often the same in two languages: numbers, words as they stand, marks."""
    return frozenset(found for found in _SHARED.findall(line))


def _fit(
    sources: Sequence[frozenset[str]], targets: Sequence[frozenset[str]], src_size: npt.NDArray[np.float64],
    trg_size: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:  # fmt: skip
    """(pairs,) how well each pair fits together."""
    both = zip(sources, targets, strict=True)
    shared = np.array([2 * len(src & trg) / max(1, len(src) + len(trg)) for src, trg in both])
    return shared - np.minimum(np.abs(src_size - trg_size), 1.0)


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
