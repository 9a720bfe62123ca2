"""Pairs that are empty, said before, copied, too long, or that do not say the same."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from seq2seq.inspection.contract import Corpus, check, rare
from seq2seq.sources.report import is_heading

_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_LEAST_AGREEING = 0.9  # of pairs with numbers, where the others are odd
_LEAST_RATIO = float(np.log(3.5))  # of lengths, against the usual one
_LONG, _TIMES_THE_MEDIAN = 100, 10  # words


@check("error", "have text on one side only", "training leaves them out; in test data they count as wrong")
def one_side_empty(corpus: Corpus) -> Iterable[int]:
    return [number for number, item in enumerate(corpus.items) if bool(item.src.strip()) != bool(item.trg.strip())]


@check("warning", "are empty on both sides", "training leaves them out")
def both_sides_empty(corpus: Corpus) -> Iterable[int]:
    return [number for number, item in enumerate(corpus.items) if not item.src.strip() and not item.trg.strip()]


@check("hint", "repeat an earlier pair of the same split", "keep one of each, unless more of it shall count more")
def repeated_pairs(corpus: Corpus) -> Iterable[int]:
    seen: set[tuple[str, str, str]] = set()
    found = []
    for number, item in enumerate(corpus.items):
        key = item[:3]
        if key in seen and item.src.strip():
            found.append(number)
        seen.add(key)
    return found


@check("error", "of valid or test stand in the training data too", "take them out of one: their figures say too much")
def leaked_pairs(corpus: Corpus) -> Iterable[int]:
    trained = {_plain(item.src) + "\t" + _plain(item.trg) for item in corpus.items if item.split == "train"}
    return [n for n in _held_out(corpus) if _plain(corpus.items[n].src) + "\t" + _plain(corpus.items[n].trg) in trained]


@check("warning", "of valid or test have a source that is trained with another target",
       "take such sources out of the training data")  # fmt: skip
def leaked_sources(corpus: Corpus) -> Iterable[int]:
    trained: dict[str, set[str]] = defaultdict(set)
    for item in corpus.items:
        if item.split == "train":
            trained[_plain(item.src)].add(_plain(item.trg))
    found = ((number, corpus.items[number]) for number in _held_out(corpus))
    return [n for n, item in found if _plain(item.src) in trained and _plain(item.trg) not in trained[_plain(item.src)]]


def _held_out(corpus: Corpus) -> list[int]:
    return [number for number, item in enumerate(corpus.items) if item.split != "train" and item.src.strip()]


def _plain(text: str) -> str:
    """Text by which sentences are the same: without case, and with single blanks."""
    return " ".join(text.casefold().split())


@check(
    "warning", "have a target equal to the source, as if it was not translated", "leave out those that are sentences"
)
def untranslated_copies(corpus: Corpus) -> Iterable[int]:
    """Of two words or more; a name or a number is the same in many languages."""
    items = enumerate(corpus.items)
    found = [n for n, item in items if item.src == item.trg and len(item.src.split()) > 1 and _has_letters(item.src)]
    return rare(found, len(corpus.items), 0.5)


def _has_letters(text: str) -> bool:
    return sum(character.isalpha() for character in text) > 3


@check(
    "warning", "are far longer on one side than the other, against what is usual here", "look for cut or joined lines"
)
def odd_length_ratios(corpus: Corpus) -> Iterable[int]:
    lengths = np.array([(len(item.src.strip()), len(item.trg.strip())) for item in corpus.items], float).reshape(-1, 2)
    ratios = np.log((lengths[:, 0] + 1) / (lengths[:, 1] + 1))
    full = lengths.min(axis=1) > 0
    if full.sum() < 20:
        return []
    middle = np.median(ratios[full])
    spread = 1.4826 * np.median(np.abs(ratios[full] - middle))
    odd = full & (lengths.max(axis=1) >= 30) & (np.abs(ratios - middle) > max(_LEAST_RATIO, 6 * spread))
    return rare(np.flatnonzero(odd).tolist(), len(lengths), 0.05)


@check("warning", "have other numbers in the source than in the target", "look whether they are translations at all")
def numbers_that_differ(corpus: Corpus) -> Iterable[int]:
    """Where nearly all pairs with numbers have the same ones; a missing one may be spelled out."""
    both = [
        (number, _numbers(item.src), _numbers(item.trg))
        for number, item in enumerate(corpus.items)
        if any(map(str.isdigit, item.src)) and any(map(str.isdigit, item.trg))
    ]
    odd = [number for number, src, trg in both if src != trg]
    return odd if len(odd) <= (1 - _LEAST_AGREEING) * len(both) else []


def _numbers(text: str) -> list[str]:
    """The numbers in a text by their digits alone: languages group and part them by other marks."""
    return sorted(re.sub(r"\D", "", found) for found in _NUMBER.findall(text))


@check("hint", "are in capital letters throughout, where most are not", "write them as the others, or --lower true")
def all_capitals(corpus: Corpus) -> Iterable[int]:
    def is_shouted(text: str) -> bool:
        return text.isupper() and len(text.split()) > 1 and sum(map(str.isalpha, text)) >= 10

    found = [
        n for n, item in enumerate(corpus.items) if is_shouted(item.src) != is_shouted(item.trg) or is_shouted(item.src)
    ]
    return rare(found, len(corpus.items), 0.1)


@check("warning", "are far longer than the others", "--max-length leaves them out")
def very_long(corpus: Corpus) -> Iterable[int]:
    words = np.array([max(len(item.src.split()), len(item.trg.split())) for item in corpus.items])
    if not len(words):
        return []
    return np.flatnonzero(words > max(_LONG, _TIMES_THE_MEDIAN * int(np.median(words)))).tolist()


@check("warning", "look like a header", "--header present leaves a table's first line out")
def headers(corpus: Corpus) -> Iterable[int]:
    firsts = {(item.split, item.file): n for n, item in reversed([*enumerate(corpus.items)]) if item.line <= 1}
    return [n for n in firsts.values() if _is_header(corpus, n)]


def _is_header(corpus: Corpus, number: int) -> bool:
    def named(item: Sequence[object]) -> bool:
        return item[0] != item[1] and is_heading(str(item[0])) and is_heading(str(item[1]))

    following = corpus.items[number + 1 : number + 2]
    return named(corpus.items[number]) and not any(map(named, following))


@check("warning", "repeat one word or one character over and over", "leave them out: such lines come from broken tools")
def babble(corpus: Corpus) -> Iterable[int]:
    """Five words in a row that are the same, or a dozen characters, where that is not usual."""
    pattern = re.compile(r"\b(\w+)(?:\W+\1\b){4}|([^\W\d_])\2{11}", re.IGNORECASE)
    found = [n for n, item in enumerate(corpus.items) if pattern.search(item.src) or pattern.search(item.trg)]
    return rare(found, len(corpus.items), 0.05)


@check("hint", "have a target that a large part of all pairs has", "see whether it is boilerplate, such as a menu")
def boilerplate(corpus: Corpus) -> Iterable[int]:
    """One target of two words or more with many sources, where most targets are of one source."""
    sources = defaultdict(set)
    for item in corpus.items:
        sources[item.trg].add(item.src)
    counts = Counter({trg: len(each) for trg, each in sources.items() if len(trg.split()) > 1})
    shared = {trg for trg, count in counts.items() if count >= max(10, 0.02 * len(corpus.items))}
    if len(sources) < 0.5 * len(corpus.items):  # labels, answers: it is so by nature
        return []
    return [number for number, item in enumerate(corpus.items) if item.trg in shared]
