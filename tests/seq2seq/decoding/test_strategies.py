"""Every strategy against what it says it finds: all outputs there are, or its definition written down plainly."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.decoding.contract import NEVER, Hypothesis
from seq2seq.decoding.ranking import Ranking, RankingOptions
from seq2seq.decoding.scorers import Ensemble
from seq2seq.decoding.strategies.beam import Beam, BeamOptions
from seq2seq.decoding.strategies.diverse_beam import DiverseBeam, DiverseBeamOptions
from seq2seq.decoding.strategies.exact import Exact, ExactOptions
from seq2seq.decoding.strategies.greedy import Greedy
from seq2seq.decoding.strategies.sample import Sample, SampleOptions, draw, kept_probabilities
from seq2seq.run import registry
from seq2seq.run.errors import UserError
from seq2seq.text.vocabulary import EOS_ID

FULL = 200  # more than there are hypotheses of any length
SOURCES = [[4, 5, 6], [7], [5, 5], [8, 4, 4, 9], [6], [9, 9, 9]]
seeds = st.integers(0, 10_000)

# One of each that there is, with options that make it do its work.
STRATEGIES = {
    "greedy": lambda: Greedy(),
    "beam": lambda: Beam(BeamOptions(beam_size=3, length_penalty=0.7, length_penalty_form="wu", coverage_penalty=0.2)),
    "diverse-beam": lambda: DiverseBeam(DiverseBeamOptions(beam_size=4, diversity_groups=2)),
    "sample": lambda: Sample(SampleOptions(temperature=0.9, top_k=3, top_p=0.95)),
    "exact": lambda: Exact(),
}


def test_every_strategy_is_tested_here() -> None:
    own = [name for name in registry.names("strategy") if registry.comes_along(registry.part("strategy", name))]
    assert sorted(STRATEGIES) == own


# --- all of them ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("alignment", [False, True])
def test_a_source_is_searched_alone_as_beside_others(table, asked, name: str, alignment: bool) -> None:
    for seed in range(10):
        strategy, model = STRATEGIES[name](), table(seed)
        together = strategy.find(model, SOURCES, asked(alignment=alignment))
        for source, found in zip(SOURCES, together, strict=True):
            assert strategy.find(model, [source], asked(alignment=alignment)) == [found]


@pytest.mark.parametrize("name", STRATEGIES)
def test_log_p_and_alignment_are_those_of_the_ids(table, asked, name: str) -> None:
    n_best = 1 if name == "greedy" else 3
    for seed in range(10):
        model = table(seed)
        for source, found in zip(
            SOURCES, STRATEGIES[name]().find(model, SOURCES, asked(n_best, alignment=True)), strict=True
        ):
            assert 1 <= len(found) <= n_best
            for one in found:
                said = [*one.ids, EOS_ID][:4]
                assert one.log_prob == pytest.approx(
                    sum(float(model.log_probs(tuple(source), one.ids[:t])[token]) for t, token in enumerate(said))
                )
                weights = [model.weights(tuple(source), one.ids[:t]) for t in range(len(one.ids))]
                np.testing.assert_array_equal(one.alignment, np.reshape(weights, (len(one.ids), len(source))))


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_being_asked_hypotheses_carry_no_alignment(table, asked, name: str) -> None:
    assert all(one.alignment is None for found in STRATEGIES[name]().find(table(), SOURCES, asked()) for one in found)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_model_without_attention_has_no_alignment(table, asked, monkeypatch, name: str) -> None:
    monkeypatch.setattr(table, "alignment", lambda self: None)
    with pytest.raises(UserError, match="alignment, coverage_penalty, replace_unk: this"):
        STRATEGIES[name]().find(table(), SOURCES, asked(alignment=True))


@pytest.mark.parametrize("name", STRATEGIES)
def test_where_a_model_is_broken_log_p_is_nan(table, asked, name: str) -> None:
    (found,) = STRATEGIES[name]().find(table(broken=[()]), [[4]], asked())
    assert [one.ids for one in found] == [()]
    assert math.isnan(found[0].log_prob)


@pytest.mark.parametrize("name", STRATEGIES)
def test_pad_and_sos_are_never_produced(table, asked, name: str) -> None:
    for seed in range(10):
        for found in STRATEGIES[name]().find(table(seed), SOURCES, asked()):
            assert not {*NEVER, EOS_ID} & {token for one in found for token in one.ids}


# --- greedy and beam --------------------------------------------------------------------------------------------------
def test_greedy_takes_the_likeliest_token(table, asked) -> None:
    for seed in range(20):
        model = table(seed)
        for source, (found,) in zip(SOURCES, Greedy().find(model, SOURCES, asked()), strict=True):
            ids: tuple[int, ...] = ()
            while len(ids) < 4 and ids[-1:] != (EOS_ID,):
                log_probs = model.log_probs(tuple(source), ids)
                log_probs[list(NEVER)] = -np.inf
                ids = (*ids, int(log_probs.argmax()))
            assert found.ids == tuple(token for token in ids if token != EOS_ID)


def plain_score(output: Any, penalty: float, form: str, coverage: float) -> float:
    """Equation 14 of Wu et al. (2016), written down once more."""
    divisor = output.length**penalty if form == "power" else (5 + output.length) ** penalty / (5 + 1) ** penalty
    covered = [sum(float(weights[i]) for weights in output.weights) for i in range(len(output.weights[0]))]
    return output.log_prob / divisor + coverage * sum(math.log(min(attended, 1.0)) for attended in covered)


@given(
    seed=seeds, source=st.lists(st.integers(4, 9), min_size=1, max_size=4), n_best=st.integers(1, 9),
    penalty=st.sampled_from([0.0, 0.5, 1.0, 2.0]), form=st.sampled_from(["power", "wu"]),
    coverage=st.sampled_from([0.0, 0.3, 2.0]), spread=st.sampled_from([0.5, 1.0, 3.0]),
)  # fmt: skip
def test_a_full_beam_finds_the_best_of_all(
    table, outputs, asked, seed, source, n_best, penalty, form, coverage, spread
) -> None:
    model = table(seed, spread)
    options = BeamOptions(beam_size=FULL, length_penalty=penalty, length_penalty_form=form, coverage_penalty=coverage)
    (found,) = Beam(options).find(model, [source], asked(n_best))
    scored = sorted(
        ((plain_score(one, penalty, form, coverage), one.ids) for one in outputs(model, source)), reverse=True
    )
    assert [one.ids for one in found] == [ids for _, ids in scored[:n_best]]
    np.testing.assert_allclose([one.score for one in found], [score for score, _ in scored[:n_best]], rtol=1e-6)


def test_penalties_change_what_is_found(table, asked) -> None:
    def best(**options: Any) -> list:
        found = [Beam(BeamOptions(FULL, **options)).find(table(seed), SOURCES, asked()) for seed in range(5)]
        return [one.ids for batch in found for (one,) in batch]

    plain = best(length_penalty=1.0)
    assert best(length_penalty=1.0, length_penalty_form="wu") != plain != best(length_penalty=1.0, coverage_penalty=1.0)


def test_a_length_penalty_has_a_form_that_there_is() -> None:
    with pytest.raises(UserError, match="length_penalty_form is 'gnmt'; expected power or wu"):
        Beam(BeamOptions(length_penalty_form="gnmt"))


# --- diverse beam -----------------------------------------------------------------------------------------------------
def plain_diverse(model: Any, source: tuple[int, ...], size: int, groups: int, strength: float, most: int = 4) -> set:
    """Algorithm 1 of Vijayakumar et al. (2018), without stopping early: all that the groups finish."""
    beams = [[((), 0.0)] for _ in range(groups)]
    finished = set()
    for _ in range(most):
        taken: Counter[int] = Counter()
        for g, beam in enumerate(beams):
            candidates = []
            for ids, total in beam:
                for token, log_prob in enumerate(model.log_probs(source, ids)):
                    if token not in NEVER:
                        value = total + float(log_prob)
                        candidates.append((value - strength * taken[token], value, (*ids, token)))
            best = sorted(candidates, key=lambda one: -one[0])[: size // groups]
            taken.update(ids[-1] for _, _, ids in best)
            beams[g] = [(ids, value) for _, value, ids in best if ids[-1] != EOS_ID]
            finished |= {ids[:-1] for _, _, ids in best if ids[-1] == EOS_ID}
            finished |= {ids for _, _, ids in best if ids[-1] != EOS_ID and len(ids) == most}
    return finished


@given(seed=seeds, groups=st.sampled_from([1, 2, 3, 6]), strength=st.sampled_from([0.0, 0.4, 3.0]))
def test_groups_of_a_beam_avoid_each_other(table, asked, seed, groups, strength) -> None:
    model = table(seed)
    strategy = DiverseBeam(DiverseBeamOptions(6, 0.0, diversity_groups=groups, diversity_strength=strength))
    for source, found in zip(SOURCES, strategy.find(model, SOURCES, asked(6)), strict=True):
        expected = plain_diverse(model, tuple(source), 6, groups, strength)
        assert {one.ids for one in found} <= expected
        assert len(found) == min(6, len(expected))
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert len({one.ids for one in found}) == len(found)


def test_one_group_is_a_beam_and_groups_that_do_not_care_are_the_same_beam(table, asked) -> None:
    for seed in range(10):
        model, search = table(seed), asked(2)
        whole, half = (Beam(BeamOptions(size, 0.0)).find(model, SOURCES, search) for size in (4, 2))
        one = DiverseBeam(DiverseBeamOptions(4, 0.0, diversity_groups=1)).find(model, SOURCES, search)
        two = DiverseBeam(DiverseBeamOptions(4, 0.0, diversity_groups=2, diversity_strength=0.0))
        assert one == whole
        assert two.find(model, SOURCES, search) == half


def test_groups_find_more_that_differs(table, asked) -> None:
    def first_tokens(strategy: Any) -> float:
        found = [one for seed in range(20) for one in strategy.find(table(seed, 2.0), SOURCES, asked(4))]
        return float(np.mean([len({one.ids[:1] for one in n_best}) for n_best in found]))

    diverse = DiverseBeam(DiverseBeamOptions(4, diversity_groups=4, diversity_strength=2.0))
    assert first_tokens(diverse) > first_tokens(Beam(BeamOptions(4))) + 0.3


def test_groups_share_a_beam_equally() -> None:
    with pytest.raises(UserError, match="diversity_groups is 2; expected a divisor of beam_size = 5"):
        DiverseBeam(DiverseBeamOptions(5, diversity_groups=2)).check(1)


# --- ranking ----------------------------------------------------------------------------------------------------------
def test_a_token_that_nothing_attends_to_leaves_a_score_finite() -> None:
    ranking = Ranking(RankingOptions(coverage_penalty=1.0))
    bare, covered = (ranking.score(-1.0, 1, [np.array([1.0, least], np.float32)]) for least in (0.0, 1e-3))
    assert -100 < bare < covered == pytest.approx(-1.0 + math.log(1e-3))


def test_lengths_divide_by_both_forms() -> None:
    """By hand: log p -3 and 4 tokens; 4^0.5 = 2, and (9 / 6)^2 = 2.25."""
    assert Ranking(RankingOptions(0.5)).score(-3.0, 4) == -1.5
    assert Ranking(RankingOptions(2.0, "wu")).score(-3.0, 4) == pytest.approx(-3 / 2.25)


# --- exact ------------------------------------------------------------------------------------------------------------
@given(
    seed=seeds, n_best=st.integers(1, 12), size=st.sampled_from([1, 3]), spread=st.sampled_from([0.3, 1.0, 3.0])
)  # fmt: skip
def test_exact_search_finds_the_likeliest_of_all(table, outputs, asked, seed, n_best, size, spread) -> None:
    model = table(seed, spread)
    found = Exact(ExactOptions(size)).find(model, SOURCES[:3], asked(n_best))
    for source, hypotheses in zip(SOURCES[:3], found, strict=True):
        expected = outputs(model, source)[:n_best]
        assert [one.ids for one in hypotheses] == [one.ids for one in expected]
        assert [one.log_prob for one in hypotheses] == [one.log_prob for one in expected], "to the bit"
        assert all(one.proven and one.score == one.log_prob for one in hypotheses)


def test_exact_search_follows_less_than_there_is(table, asked) -> None:
    """Of 3**4 hypotheses: on sure models the bound leaves few."""
    model = table(3, 4.0)
    Exact().find(model, [[4, 5]], asked())
    assert model.steps < 15


def test_exact_search_that_gives_up_says_so(table, outputs, asked) -> None:
    strategy = Exact(ExactOptions(exact_steps=1))
    found = [one for seed in range(20) for (one,) in strategy.find(table(seed, 2.0), SOURCES, asked())]
    assert {one.proven for one in found} == {False, True}
    best = [one for seed in range(20) for one in (outputs(table(seed, 2.0), source)[0] for source in SOURCES)]
    assert all(one.ids == right.ids for one, right in zip(found, best, strict=True) if one.proven)
    assert not all(one.ids == right.ids for one, right in zip(found, best, strict=True))


def test_an_ensemble_is_searched_as_one_model(table, asked) -> None:
    """Also where a search goes back to earlier states; probabilities and alignments are the means."""
    models = [table(seed, 2.0) for seed in (1, 2)]
    both, search = Ensemble(models), asked(3, alignment=True)
    exact, beam = Exact().find(both, SOURCES, search), Beam(BeamOptions(FULL, 0.0)).find(both, SOURCES, search)
    assert [[one.ids for one in found] for found in exact] == [[one.ids for one in found] for found in beam]
    for source, found in zip(SOURCES, exact, strict=True):
        for one in found:
            said = [(one.ids[:t], token) for t, token in enumerate([*one.ids, EOS_ID][:4])]
            tables = [[model.log_probs(tuple(source), ids)[token] for ids, token in said] for model in models]
            assert one.log_prob == pytest.approx(np.log(np.exp(tables).mean(0)).sum(), rel=1e-5)
            weights = [[model.weights(tuple(source), ids) for ids, _ in said[: len(one.ids)]] for model in models]
            expected = np.mean(weights, axis=0) if one.ids else np.zeros((0, len(source)))
            np.testing.assert_allclose(one.alignment, expected, rtol=1e-6)


# --- sampling ---------------------------------------------------------------------------------------------------------
def chi_square(counts: np.ndarray, probs: np.ndarray) -> tuple[float, int]:
    """The statistic and its degrees of freedom; what is expected less than 5 times is put together."""
    expected = probs * counts.sum()
    rare = expected < 5
    seen = np.append(counts[~rare], counts[rare].sum())
    due = np.append(expected[~rare], expected[rare].sum())
    kept = due > 0
    return float(((seen - due)[kept] ** 2 / due[kept]).sum()), int(kept.sum()) - 1


def most_of_chi_square(degrees: int) -> float:
    """What it exceeds once in some 10,000 times (Wilson and Hilferty, 1931)."""
    return degrees * (1 - 2 / (9 * degrees) + 3.72 * math.sqrt(2 / (9 * degrees))) ** 3


def counts_of(samples: list[Hypothesis], every: list[Any]) -> np.ndarray:
    seen = Counter(one.ids for one in samples)
    assert set(seen) <= {one.ids for one in every}
    return np.array([seen[one.ids] for one in every])


@pytest.mark.parametrize("seed", range(3))
def test_samples_have_the_probabilities_of_the_model(table, outputs, asked, seed: int) -> None:
    """Whole outputs: 5,000 samples against p of each, from which <pad> and <sos> are left out step by step."""
    model, source = table(seed), (4, 6)
    (samples,) = Sample().find(model, [source], asked(5000, seed=seed))
    every = outputs(model, source)
    probs = np.array([allowed_probability(model, source, one) for one in every])
    assert probs.sum() == pytest.approx(1)
    statistic, degrees = chi_square(counts_of(samples, every), probs)
    assert degrees > 20
    assert statistic < most_of_chi_square(degrees)
    wrong, degrees = chi_square(counts_of(samples, every), np.roll(probs, 1))
    assert wrong > most_of_chi_square(degrees), "the test can fail"


def allowed_probability(model: Any, source: tuple[int, ...], output: Any) -> float:
    p = 1.0
    for t, token in enumerate([*output.ids, EOS_ID][: output.length]):
        probs = np.exp(model.log_probs(source, output.ids[:t]).astype(np.float64))
        probs[list(NEVER)] = 0
        p *= probs[token] / probs.sum()
    return p


def plain_kept(log_probs: np.ndarray, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """The definitions of temperature, top-k and top-p, one token at a time."""
    probs = np.exp(log_probs.astype(np.float64) / temperature)
    probs /= probs.sum()
    order = sorted(range(len(probs)), key=lambda token: (-probs[token], token))
    order = order[: top_k or None]
    probs /= probs[order].sum()
    kept, together = [], 0.0
    for token in order:
        kept.append(token)
        together += probs[token]
        if together >= top_p:
            break
    found = np.zeros(len(probs))
    found[kept] = probs[kept] / probs[kept].sum()
    return found


@given(
    seed=seeds, size=st.integers(2, 30), temperature=st.sampled_from([0.1, 0.7, 1.0, 3.0]), top_k=st.integers(0, 31),
    top_p=st.floats(0.0, 1.0), ties=st.booleans(),
)  # fmt: skip
def test_what_is_drawn_from_is_what_the_options_say(seed, size, temperature, top_k, top_p, ties) -> None:
    rng = np.random.default_rng(seed)
    log_probs = np.log(rng.dirichlet(np.ones(size), 3)).astype(np.float32)
    log_probs = np.round(log_probs) if ties else log_probs
    log_probs[0, rng.integers(size)] = -np.inf
    found = kept_probabilities(log_probs, SampleOptions(temperature, top_k, top_p))
    for row, probs in zip(log_probs, found, strict=True):
        np.testing.assert_allclose(probs, plain_kept(row, temperature, top_k, top_p), rtol=1e-9, atol=1e-12)


@given(seed=seeds, size=st.integers(1, 12))
def test_a_draw_is_the_inverse_of_the_distribution(seed, size) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(size)) * rng.integers(0, 2, size)
    probs[rng.integers(size)] += 0.1
    drawn = np.append(rng.random(5), [0.0, np.nextafter(1.0, 0)])
    tokens = draw(np.tile(probs, (len(drawn), 1)), drawn)
    assert (probs[tokens] > 0).all()
    before = np.array([probs[:token].sum() for token in tokens]) / probs.sum()
    after = before + probs[tokens] / probs.sum()
    assert ((before <= drawn + 1e-12) & (drawn <= after + 1e-12)).all()


def test_samples_are_a_function_of_the_seed_the_sentence_and_their_number(table, asked) -> None:
    model, strategy = table(1), Sample()
    many = strategy.find(model, SOURCES, asked(20, seed=3))
    assert strategy.find(model, SOURCES, asked(20, seed=3)) == many
    assert strategy.find(model, SOURCES, asked(5, seed=3)) == [found[:5] for found in many]
    assert strategy.find(model, SOURCES[::-1], asked(20, seed=3)) == many[::-1]
    assert strategy.find(model, SOURCES, asked(20, seed=4)) != many
    assert len({one.ids for one in many[0]}) > 5


def test_a_cold_sample_is_greedy(table, asked) -> None:
    greedy = Greedy().find(table(2), SOURCES, asked())
    for options in (SampleOptions(temperature=0.001), SampleOptions(top_k=1), SampleOptions(top_p=0.0)):
        assert Sample(options).find(table(2), SOURCES, asked()) == greedy
