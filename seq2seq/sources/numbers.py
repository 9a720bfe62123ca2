"""The generated data set: numbers spelled out in two languages, so nothing needs downloading.

Contract: a function of (languages, sizes, maximum, seed). No number is in two splits. Every number below 100 and every
round one (a digit and zeros) is in train, so every word is; the others are drawn half evenly and half evenly over
their magnitudes, so short numbers are learned as well as long ones.

Source of the draw without replacement by weights: Efraimidis and Spirakis 2006.
"""

import copy
import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from seq2seq.run.errors import UserError
from seq2seq.sources.dataset import Dataset, pairs_checksum

_MAX_SPACED_WORDS = 500


def load_numbers(
    src_language: str = "en",
    trg_language: str = "fr",
    seed: int = 1234,
    sizes: tuple[int, int, int] = (20_000, 500, 1_000),
    maximum: int = 999_999,
) -> Dataset:
    """Spell numbers from 0 to `maximum` in two languages of the num2words library.

    Args:
        src_language, trg_language: num2words language codes.
        seed: chooses the numbers and their splits.
        sizes: number of pairs in train, valid and test.
        maximum: the largest number, at least 1,000.

    Raises:
        UserError: num2words does not know a language, or the range is too small for the sizes.
    """
    for argument, language in (("src_language", src_language), ("trg_language", trg_language)):
        _check_language(argument, language)
    splits = {}
    for name, numbers in split_numbers(seed, sizes, maximum).items():
        splits[name] = list(zip(_spelled(numbers, src_language), _spelled(numbers, trg_language), strict=True))
    src, trg = zip(*splits["train"], strict=True)
    tokenizers = {"src_tokenizer": _suitable_tokenizer(src), "trg_tokenizer": _suitable_tokenizer(trg)}
    return Dataset(
        name="numbers",
        src_language=src_language,
        trg_language=trg_language,
        splits=splits,
        defaults={**tokenizers, "lower": False, "min_freq": 1},
        checksums={f"numbers/{name}": pairs_checksum(pairs) for name, pairs in splits.items()},
        license="generated; free of rights",
    )


def split_numbers(seed: int, sizes: tuple[int, int, int], maximum: int) -> dict[str, list[int]]:
    """Disjoint numbers for train, valid and test in random order; arguments and errors as `load_numbers`."""
    covered = _covering_numbers(maximum)
    if maximum < 1000 or sizes[0] < len(covered) or not len(covered) < sum(sizes) <= maximum + 1:
        raise UserError(
            f"numbers: sizes are {sizes} up to {maximum}; expected train >= {len(covered)}, sum within range"
        )
    rng = np.random.default_rng(seed)
    drawn = _drawn_numbers(rng, np.delete(np.arange(maximum + 1), covered), sum(sizes) - len(covered))
    valid, test, others = np.split(drawn, [sizes[1], sizes[1] + sizes[2]])
    train = rng.permutation(np.concatenate([covered, others]))
    return {"train": train.tolist(), "valid": valid.tolist(), "test": test.tolist()}


def _covering_numbers(maximum: int) -> npt.NDArray[np.int64]:
    """The numbers that show every word of a language: those below 100 and the round ones."""
    rounds = [digit * 10**power for power in range(2, len(str(maximum))) for digit in range(1, 10)]
    return np.array([*range(100), *(number for number in rounds if number <= maximum)])


def _drawn_numbers(rng: np.random.Generator, numbers: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """`count` of the numbers in random order, each weighted by a constant plus its inverse, both of equal total."""
    weights = 1 / len(numbers) + 1 / (numbers * np.log(numbers[-1] / numbers[0]))
    lifetimes = rng.exponential(size=len(numbers)) / weights
    return rng.permutation(numbers[np.argsort(lifetimes)[:count]])


def _check_language(argument: str, language: str) -> None:
    from num2words import CONVERTER_CLASSES

    if language not in CONVERTER_CLASSES:
        raise UserError(f"{argument} is {language!r}; num2words spells {', '.join(sorted(CONVERTER_CLASSES))}")


def _spelled(numbers: Sequence[int], language: str) -> list[str]:
    try:
        return list(map(_speller(language, max(numbers)), numbers))
    except Exception as error:  # the converters of rarer languages fail in ways of their own
        raise UserError(
            f"numbers: num2words fails for language {language!r} ({type(error).__name__}: {error})"
        ) from None


def _speller(language: str, maximum: int) -> Callable[[int], str]:
    """What spells numbers up to `maximum`: num2words, in less time: from a half in Spanish to a thirtieth in
    French.

    It looks through the numbers that have a word of their own, from the largest on, at every step; most of them are
    beyond any use. And it spells the parts of a number, such as its thousands, anew in each number that has them.
    """
    from num2words import CONVERTER_CLASSES
    from num2words.base import Num2Word_Base

    converter = copy.copy(CONVERTER_CLASSES[language])
    if isinstance(words := getattr(converter, "cards", None), dict):
        converter.cards = type(words)((number, word) for number, word in words.items() if number <= maximum)
    own = [getattr(type(converter), name, None) for name in ("splitnum", "clean")]
    if own == [Num2Word_Base.splitnum, Num2Word_Base.clean]:
        split, join = converter.splitnum, converter.clean
        converter.splitnum = functools.cache(lambda number: [join(split(number))])
    spell: Callable[[int], str] = converter.to_cardinal
    return spell


def _suitable_tokenizer(sentences: Sequence[str]) -> str:
    """Words where a language writes few of them, characters where it joins them without end, as German does."""
    words = {word for sentence in sentences for word in sentence.split()}
    return "space" if len(words) <= _MAX_SPACED_WORDS else "char"
