"""Lines in a language that is not that of their side.

By characters: trigrams of both sides are counted, and each line is as likely as its trigrams are on either side, its
own ones not counted (naive Bayes; Cavnar and Trenkle, "N-gram-based text categorization", 1994). By words: those that
are frequent in a language and say little. By scripts: a line of which most letters are of another script.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seq2seq.inspection.contract import Corpus, check, rare

_BUCKETS = 1 << 18  # that trigrams are counted in
_AT_A_TIME = 2_000  # lines whose trigrams are held
_LEAST_LETTERS = 20  # of a line that says what language it is in
_TELLING = 0.97  # share of lines that are of their own side by their trigrams, where the sides are two languages
_MARGIN, _EVIDENCE = 0.4, 12.0  # by which a line is of the other side: for each character, and in all
_LEAST_LINES = 100

# Frequent words that few other languages here have.
STOP_WORDS = {
    "en": "the and of to is was that with for are this have you not they from but were his her which would"
          " there been in at by on or as an it he she we if all can has will",
    "de": "der die das und ist nicht ein eine den von mit sich auf für dem im auch wird sind einen nach wie aus"
          " bei in an zu es er sie wir ich hat am um zum zur so",
    "fr": "le les des et est une dans que pour qui sur pas au avec sont plus par ce il elle nous vous mais aux"
          " cette en de la se ne je tu on y ou",
    "es": "el los las y es una que por con para del no su al más como pero sus este ya está muy también son en"
          " de la se a lo le si me",
    "it": "il gli di che è una per non con sono della del dei le al più nel alla anche come ma questo delle si"
          " in la a e i o lo un ha",
    "pt": "o os as que do da em um uma para com não no na por mais dos se ao foi das são como pelo também de e"
          " a ou",
    "nl": "het een van en is dat niet op te zijn voor met die aan er om ook als maar bij nog uit naar door in"
          " de ik je we of dan nu",
    "sv": "och att det som en på är av för med den till inte har de ett om var jag så men sig från i vi du kan",
    "da": "og at det er en til på af for med den som ikke der har de et var jeg men sig kan fra skal i vi du",
    "pl": "i w nie na się że z do jest to jak ale po co tak za od przez był jego tylko czy są dla",
    "cs": "a se v na je že to s z do ale jako by pro jsem není byl tak po jeho které nebo také jen",
    "ro": "și în de la cu nu o este pe că să un din mai care pentru sunt ce se fi lui său fost prin",
    "tr": "ve bir bu da de için ile çok ne var gibi daha ben o ama mi kadar olan en sonra ki değil her",
    "ru": "и в не на что я с он как это по но из у за от так же для то был его она мы",
    "uk": "і в не на що я з він як це та але до у за від так для був його вона ми є й",
}  # fmt: skip
_LEAST_STOP_WORDS = 2.5


class Leaning(NamedTuple):
    """How far each line is of its own side.

    Attributes:
        own: (pairs, 2) what its trigrams say for its own side rather than the other one, in nats for each of them.
        trigrams: (pairs, 2) how many there are.
        tells: whether the sides are two languages by their trigrams.
    """

    own: npt.NDArray[np.float64]
    trigrams: npt.NDArray[np.int64]
    tells: bool

    @property
    def strays(self) -> npt.NDArray[np.bool_]:
        """(pairs, 2) lines that are of the other side."""
        enough = (self.trigrams >= _LEAST_LETTERS) & (self.own * self.trigrams < -_EVIDENCE)
        return enough & (self.own < -_MARGIN)


def leaning(corpus: Corpus) -> Leaning:
    """How far each line is of its own side, by the trigrams of all."""
    sides = [corpus.side(number) for number in (0, 1)]
    counts = [_counted(lines) for lines in sides]
    of_sources, of_targets = _own(sides[0], *counts), _own(sides[1], *counts[::-1])
    leans, count = (np.stack(both, axis=1) for both in zip(of_sources, of_targets, strict=True))
    long = count >= _LEAST_LETTERS
    tells = bool(long.any(axis=1).sum() >= _LEAST_LINES and (leans[long] > 0).mean() >= _TELLING)
    return Leaning(leans, count, tells)


def _counted(lines: Sequence[str]) -> npt.NDArray[np.float64]:
    """(buckets,) how many trigrams of all lines are in each."""
    counts = np.zeros(_BUCKETS)
    for found, _ in _trigrams(lines):
        counts += np.bincount(found, minlength=_BUCKETS)
    return counts


def _own(
    lines: Sequence[str], mine: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """``own`` and ``trigrams`` of one side, from the counts of its buckets and those of the other side."""
    of_mine = np.log(np.maximum(mine - 0.5, 0.5) / (mine.sum() + _BUCKETS / 2))  # without the one that is looked at
    gained = of_mine - np.log((other + 0.5) / (other.sum() + _BUCKETS / 2))
    own, lengths = [np.zeros(0)], [np.zeros(0, np.int64)]
    for found, sizes in _trigrams(lines):
        sums = np.add.reduceat(np.append(gained[found], 0.0), np.cumsum(sizes) - sizes)
        own.append(np.where(sizes > 0, sums / np.maximum(sizes, 1), 0.0))
        lengths.append(sizes)
    return np.concatenate(own), np.concatenate(lengths)


def _trigrams(lines: Sequence[str]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Of some lines at a time, for it takes fifty times their size: their trigrams' buckets, and how many each has."""
    for start in range(0, len(lines), _AT_A_TIME):
        padded = [f"  {line.casefold()} " if line.strip() else "" for line in lines[start : start + _AT_A_TIME]]
        codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
        lengths = np.array([len(line) for line in padded], np.int64)
        hashed = (codes * 961 + np.roll(codes, -1) * 31 + np.roll(codes, -2)) * 2_654_435_761 % (1 << 32) >> 14
        place = np.arange(len(codes)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield hashed[place < np.repeat(lengths, lengths) - 2], np.maximum(lengths - 2, 0)


@check("error", "are the wrong way round: the source in the target's language, the target in the source's",
       "exchange their sides; --swap does so for a whole file")  # fmt: skip
def exchanged_sides(corpus: Corpus) -> Iterable[int]:
    found = _leaning(corpus)
    return np.flatnonzero(found.strays.all(axis=1)).tolist() if found.tells else []


@check("error", "have a side in the other side's language, as where a sentence was not translated",
       "leave them out, or translate them")  # fmt: skip
def wrong_language(corpus: Corpus) -> Iterable[int]:
    found = _leaning(corpus)
    if not found.tells:
        return []
    strays = np.flatnonzero(found.strays.any(axis=1) & ~found.strays.all(axis=1)).tolist()
    return rare([n for n in strays if corpus.items[n].src != corpus.items[n].trg], len(corpus.items))


_last: dict[int, Leaning] = {}


def _leaning(corpus: Corpus) -> Leaning:
    """That of the corpus at hand, found once."""
    if id(corpus.items) not in _last:
        _last.clear()
        _last[id(corpus.items)] = leaning(corpus)
    return _last[id(corpus.items)]


@check("warning", "have a side in a third language, by its frequent words", "leave them out")
def foreign_language(corpus: Corpus) -> Iterable[int]:
    sides = [corpus.side(number) for number in (0, 1)]
    languages = [side_language(lines) for lines in sides]
    found: list[int] = []
    for lines, own in zip(sides, languages, strict=True):
        if own is not None:
            found += rare([n for n, line in enumerate(lines) if _is_foreign(line, own, languages)], len(lines))
    return found


def _is_foreign(line: str, own: str, known: Sequence[str | None]) -> bool:
    """Whether a line has frequent words of a language that neither side has, several, and none of its own."""
    told = _stop_words(line)
    best = max(told, key=lambda code: told[code], default=own)
    return best not in known and told[best] >= _LEAST_STOP_WORDS and own not in told


def side_language(lines: Sequence[str]) -> str | None:
    """The code of the language that most lines with frequent words are in; None where no language has most."""
    step = 1 + len(lines) // 2000
    counts: Counter[str] = Counter()
    for line in lines[::step]:
        told = _stop_words(line)
        first, *others = sorted(told, key=lambda code: -told[code]) or [""]
        if first and not any(told[code] == told[first] for code in others[:1]):
            counts[first] += 1
    best, count = counts.most_common(1)[0] if counts else ("", 0)
    return best if count >= 0.5 * len(lines[::step]) and count >= 0.8 * counts.total() else None


def _stop_words(line: str) -> dict[str, float]:
    """How many frequent words of each language a line has; one that several have in common counts as much less."""
    told: dict[str, float] = {}
    for word in set(re.findall(r"\w+", line.casefold())):
        codes = _languages_of().get(word, ())
        told |= {code: told.get(code, 0.0) + 1 / len(codes) for code in codes}
    return told


@cache
def _languages_of() -> dict[str, list[str]]:
    """The languages of which a word is a frequent one."""
    found: dict[str, list[str]] = {}
    for code, words in STOP_WORDS.items():
        for word in set(words.split()):
            found.setdefault(word, []).append(code)
    return found


@check("warning", "have a side in another script than its other lines", "leave them out")
def foreign_script(corpus: Corpus) -> Iterable[int]:
    found: list[int] = []
    for number in (0, 1):
        scripts = [_script(line) for line in corpus.side(number)]
        counts = Counter(filter(None, scripts))
        usual = {script for script, count in counts.items() if count > 0.05 * counts.total()}
        if usual:
            found += [n for n, script in enumerate(scripts) if script is not None and script not in usual]
    return rare(found, len(corpus.items))


def _script(line: str) -> str | None:
    """The script of most letters; None for a line of too few. Japanese is written in three, which count as one."""
    if line.isascii():
        return "LATIN" if sum(map(str.isalpha, line)) >= 5 else None
    letters = [character for character in line if character.isalpha()]
    counts = Counter(map(_script_of, letters))
    best, count = counts.most_common(1)[0] if counts else ("", 0)
    return best if count >= 5 and count > 0.6 * len(letters) else None


@cache
def _script_of(character: str) -> str:
    name = unicodedata.name(character, "").partition(" ")[0]
    return {"HIRAGANA": "CJK", "KATAKANA": "CJK", "FULLWIDTH": "LATIN", "HALFWIDTH": "CJK"}.get(name, name)
