"""Every constraint against the outputs that keep it, of all there are; under every strategy that has an optimum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.decoding.constraints.length import LeastLength, LengthOptions
from seq2seq.decoding.constraints.ngrams import NGramOptions, NoRepeatedNGram
from seq2seq.decoding.constraints.unknown import NoUnknown, UnknownOptions
from seq2seq.decoding.constraints.words import NotThese
from seq2seq.decoding.contract import Strategy
from seq2seq.decoding.strategies.beam import Beam, BeamOptions
from seq2seq.decoding.strategies.diverse_beam import DiverseBeam, DiverseBeamOptions
from seq2seq.decoding.strategies.exact import Exact, ExactOptions
from seq2seq.decoding.strategies.greedy import Greedy
from seq2seq.decoding.strategies.sample import Sample
from seq2seq.run import registry
from seq2seq.text.vocabulary import UNK_ID

SOURCE = (4, 5, 6)
WORDS = (UNK_ID, 4, 5)  # and <eos>
seeds = st.integers(0, 10_000)


def holds(ids: Sequence[int], words: Sequence[int]) -> bool:
    """Whether some words stand in a row."""
    return any(tuple(ids[i : i + len(words)]) == tuple(words) for i in range(len(ids) - len(words) + 1))


def repeats(ids: Sequence[int], size: int) -> bool:
    ngrams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    return len(set(ngrams)) < len(ngrams)


# Each constraint, and whether an output (its ids, whether it was ended) keeps it.
Case = tuple[Any, Callable[[Any], bool]]
CASES: dict[str, Case] = {
    "least": (LeastLength(LengthOptions(2)), lambda one: len(one.ids) >= 2),
    "least-all": (LeastLength(LengthOptions(9)), lambda one: not one.ended),
    "ratio": (LeastLength(LengthOptions(0, 0.8)), lambda one: len(one.ids) >= 0.8 * 3),
    "both": (LeastLength(LengthOptions(1, 0.9)), lambda one: len(one.ids) >= 3),
    "no-unk": (NoUnknown(UnknownOptions(True)), lambda one: UNK_ID not in one.ids),
    "unigrams": (NoRepeatedNGram(NGramOptions(1)), lambda one: not repeats(one.ids, 1)),
    "bigrams": (NoRepeatedNGram(NGramOptions(2)), lambda one: not repeats(one.ids, 2)),
    "trigrams": (NoRepeatedNGram(NGramOptions(3)), lambda one: not repeats(one.ids, 3)),
    "word": (NotThese([[4]]), lambda one: 4 not in one.ids),
    "words": (NotThese([[4, 5], [5, 5, 4]]), lambda one: not (holds(one.ids, (4, 5)) or holds(one.ids, (5, 5, 4)))),
}  # fmt: skip


def test_every_constraint_is_tested_here() -> None:
    own = {registry.part("constraint", name) for name in registry.names("constraint")}
    assert {part for part in own if registry.comes_along(part)} <= {
        type(constraint) for constraint, _ in CASES.values()
    }


def full(name: str) -> Strategy:
    """Strategies that find the best there is, by log p."""
    return {"beam": Beam(BeamOptions(200, 0.0)), "exact": Exact(ExactOptions(2))}[name]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("strategy", ["beam", "exact"])
def test_the_best_that_keeps_it_is_found(table, outputs, asked, case: str, strategy: str) -> None:
    constraint, kept = CASES[case]
    for seed in range(5):
        model = table(seed)
        (found,) = full(strategy).find(model, [SOURCE], asked(5, (constraint,)))
        expected = [one for one in outputs(model, SOURCE) if kept(one)]
        assert [one.ids for one in found] == [one.ids for one in expected[:5]]
        assert [one.log_prob for one in found] == pytest.approx([one.log_prob for one in expected[:5]])
    assert len(expected) < len(outputs(model, SOURCE))


@given(seed=seeds, names=st.sets(st.sampled_from(["least", "no-unk", "bigrams", "words"])), n_best=st.integers(1, 4))
def test_several_are_kept_at_once(table, outputs, asked, seed, names, n_best) -> None:
    model, cases = table(seed), [CASES[name] for name in names]
    (found,) = full("exact").find(model, [SOURCE], asked(n_best, tuple(constraint for constraint, _ in cases)))
    expected = [one.ids for one in outputs(model, SOURCE) if all(kept(one) for _, kept in cases)]
    assert [one.ids for one in found] == expected[:n_best]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "strategy", [Greedy(), Beam(BeamOptions(2)), DiverseBeam(DiverseBeamOptions(2, diversity_groups=2)), Sample()],
    ids=lambda strategy: strategy.name,
)  # fmt: skip
def test_every_strategy_keeps_it(table, outputs, asked, case: str, strategy: Strategy) -> None:
    constraint, kept = CASES[case]
    allowed = {one.ids for one in outputs(table(), SOURCE) if kept(one)}
    for seed in range(20):
        (found,) = strategy.find(table(seed), [SOURCE], asked(1, (constraint,)))
        assert {one.ids for one in found} <= allowed


def test_where_nothing_may_follow_log_p_is_nan(table, asked) -> None:
    nothing = NotThese([[word] for word in WORDS])
    for strategy in (Greedy(), Beam(BeamOptions(2)), Exact(), Sample()):
        (found,) = strategy.find(table(), [SOURCE], asked(1, (nothing, LeastLength(LengthOptions(1)))))
        assert [(one.ids, math.isnan(one.log_prob)) for one in found] == [((), True)]


# --- a forced prefix --------------------------------------------------------------------------------------------------
PREFIXES = [prefix for length in range(4) for prefix in itertools.product(WORDS, repeat=length)]


@given(seed=seeds, prefix=st.sampled_from(PREFIXES), n_best=st.integers(1, 4))
def test_the_best_with_a_prefix_is_found(table, outputs, asked, seed, prefix, n_best) -> None:
    """log p is of all of it; other constraints hold from the prefix on."""
    model = table(seed)
    expected = [one for one in outputs(model, SOURCE) if one.ids[: len(prefix)] == prefix]
    for strategy in ("beam", "exact"):
        (found,) = full(strategy).find(model, [SOURCE], asked(n_best, prefixes=(prefix,)))
        assert [one.ids for one in found] == [one.ids for one in expected[:n_best]]
        assert [one.log_prob for one in found] == pytest.approx([one.log_prob for one in expected[:n_best]])
    (found,) = full("exact").find(model, [SOURCE], asked(n_best, (CASES["no-unk"][0],), prefixes=(prefix,)))
    rest = [one.ids for one in expected if UNK_ID not in one.ids[len(prefix) :]]
    assert [one.ids for one in found] == rest[:n_best]


def test_each_source_has_a_prefix_of_its_own(table, asked) -> None:
    sources, prefixes = [SOURCE, (7,), (8, 8), (9,)], ((4, 5), (), (5,), (5, 5, 5))
    for strategy in (
        Greedy(),
        Beam(BeamOptions(3)),
        DiverseBeam(DiverseBeamOptions(4, diversity_groups=2)),
        Exact(),
        Sample(),
    ):
        found = strategy.find(table(1), sources, asked(1, prefixes=prefixes))
        assert [one.ids[: len(prefix)] for (one,), prefix in zip(found, prefixes, strict=True)] == list(prefixes)


# --- a greatest length ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("ratio", "most"), [(0.01, 1), (0.5, 2), (1.0, 3), (1.1, 4), (5.0, 4)])
def test_a_ratio_cuts_where_a_length_would(table, outputs, asked, ratio: float, most: int) -> None:
    for seed, strategy in itertools.product(range(5), ("beam", "exact")):
        (found,) = full(strategy).find(table(seed), [SOURCE], asked(3, max_ratio=ratio))
        assert [one.ids for one in found] == [one.ids for one in outputs(table(seed), SOURCE, most)[:3]]


def test_a_prefix_goes_before_a_ratio(table, asked) -> None:
    (found,) = Greedy().find(table(), [SOURCE], asked(1, prefixes=((4, 5),), max_ratio=0.1))
    assert found[0].ids[:2] == (4, 5)
    assert len(found[0].ids) <= 3
