"""What the contract promises, for every registered encoder and decoder: training, gradients, search, resumption, plan.

A part is added to these tests by being registered: each stands in one pair at least.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, cat, no_grad, random
from minigrad.nn.utils.rnn import rows_of
from seq2seq.decoding.contract import Hypothesis, Scorer, Search
from seq2seq.decoding.pairs import token_log_probs
from seq2seq.decoding.scorers import LEAST_ROWS, Ensemble, ModelScorer, encode, scorer_of
from seq2seq.decoding.search import beam_search, greedy_search
from seq2seq.decoding.strategies.beam import Beam, BeamOptions
from seq2seq.decoding.strategies.diverse_beam import DiverseBeam, DiverseBeamOptions
from seq2seq.decoding.strategies.exact import Exact, ExactOptions
from seq2seq.decoding.strategies.greedy import Greedy
from seq2seq.decoding.strategies.sample import Sample, SampleOptions
from seq2seq.models.contract import Decoder
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Batch, EncodedSplit, Ragged
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID
from tests.seq2seq.pairs import ONE_EACH, representative_pairs

Array = np.ndarray
SRC, TRG, MOST = 13, 11, 7
SIZES = {"embedding_size": 5, "hidden_size": 6}
WIDE = {"embedding_size": 40, "hidden_size": 48}  # sums long enough to tell orders apart
ATOL = 1e-6  # seven log p of float32, each a difference of numbers of order 1, rounded to 6e-8

pytestmark = pytest.mark.parametrize(("encoder", "decoder"), representative_pairs())


@pytest.fixture
def build(encoder: str, decoder: str, fitting_options: Callable) -> Callable[..., Seq2Seq]:
    """build(seed=, precision=, ...): a tiny model of the pair, with weights large enough to have opinions."""

    def make(num_inputs: int = SRC, vocab_size: int = TRG, **settings: Any) -> Seq2Seq:
        sizes = {name: settings.pop(name, value) for name, value in SIZES.items()}
        given = {"dropout": 0.0, "init_range": 0.8, **fitting_options(encoder, decoder, **sizes), **settings}
        return build_model(num_inputs, vocab_size, Config(encoder=encoder, decoder=decoder, **given))

    return make


def greedy(scorer: Scorer, sources: list[list[int]], **asked: Any) -> list[Hypothesis]:
    return [found for (found,) in Greedy().find(scorer, sources, Search(MOST, **asked))]


def beam(
    scorer: Scorer, sources: list[list[int]], size: int, penalty: float = 1.0, n_best: int = 1, **asked: Any
) -> list:
    options = BeamOptions(beam_size=size, length_penalty=penalty)
    return Beam(options).find(scorer, sources, Search(asked.pop("most", MOST), n_best, **asked))


def draw_sources(seed: int, count: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, SRC, rng.integers(0, 7)).tolist() for _ in range(count)]


def loss_and_gradients(model: Seq2Seq, batch: Batch, own: Array) -> tuple[float, dict[str, Array]]:
    model.zero_grad()
    loss = model.loss(batch, own=own)
    loss.backward()
    return loss.item(), {name: p.grad.array.copy() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("own", ["never", "always", "mixed"])
def test_a_sequence_is_the_loop_over_its_steps(build, draw_batch, monkeypatch, own: str) -> None:
    """Values and gradients; ``own`` says where the decoder reads its own guess."""
    model, batch = build(precision="fp64"), draw_batch(3)
    steps = np.arange(len(batch.trg_input))
    choices = {"never": steps < 0, "always": steps > 0, "mixed": steps % 3 == 2}[own]
    whole = loss_and_gradients(model, batch, choices)
    monkeypatch.setattr(type(model.decoder), "sequence", Decoder.sequence)
    loop = loss_and_gradients(model, batch, choices)
    assert whole[0] == pytest.approx(loop[0], rel=1e-12)
    assert whole[1].keys() == loop[1].keys() == {name for name, _ in model.named_parameters()}
    for name, gradient in loop[1].items():
        scale = np.abs(gradient).max()
        assert scale > 0, name
        np.testing.assert_allclose(whole[1][name], gradient, rtol=0, atol=1e-11 * scale, err_msg=name)


def test_gradients_are_those_of_finite_differences(build, encoder, decoder, fitting_options) -> None:
    from seq2seq.gradcheck import check_model

    options = fitting_options(encoder, decoder, **SIZES)
    report = check_model(Config(encoder=encoder, decoder=decoder, **options), 4, ONE_EACH)
    assert report, str(report)


def test_padding_and_the_batch_do_not_matter_to_the_bit(build) -> None:
    """Of the features of a sentence: beside others, and beside itself.

    A linear layer adds up fewer than LEAST_ROWS rows in another order.
    """
    model = build(**WIDE).eval()
    sources = [[4, 5], [6, 7, 8, 9, 10, 11], [5], [12, 4, 9], [4, 4, 4, 4, 4, 4, 4, 4, 4]]
    targets = [[4, 5, 6], [7], [8, 9, 10, 4, 5], [], [5, 6]]
    with no_grad():
        together = features_of(model, sources, targets)
        for source, target, features in zip(sources, targets, together, strict=True):
            alone = features_of(model, [source] * LEAST_ROWS, [target] * LEAST_ROWS)[0]
            width = alone.shape[1]  # features may end with a weight for each position, zero for those of longer sources
            np.testing.assert_array_equal(alone, features[:, :width])
            assert not features[:, width:].any()


def features_of(model: Seq2Seq, sources: list[list[int]], targets: list[list[int]]) -> list[Array]:
    """(T, F) of each pair."""
    batch = model.pack(model.source.batch(EncodedSplit(Ragged(sources), Ragged(targets)), range(len(sources))))
    memory = model.remember(batch)
    never = np.zeros(len(batch.given.batch_sizes), bool)
    features = model.decoder.sequence(batch.given, model.start(memory), memory, never).array
    return [features[rows_of(batch.given) == n] for n in range(len(sources))]


@pytest.mark.parametrize("seed", range(3))
def test_the_compiled_search_finds_what_the_generic_one_finds(build, seed: int) -> None:
    """Word for word; where a decoder has no compiled search, the two are one."""
    model, sources = build(seed=seed), draw_sources(seed, 25)
    plain = ModelScorer(model, False)
    compiled = greedy_search(model, sources, MOST)
    expected = greedy(plain, sources)
    assert [h.ids for h in compiled] == [h.ids for h in expected]
    np.testing.assert_allclose([h.log_prob for h in compiled], [h.log_prob for h in expected], rtol=1e-5, atol=ATOL)
    for beam_size, n_best, penalty in ((1, 1, 1.0), (4, 2, 1.0), (9, 9, 0.0)):
        beams = beam_search(model, sources, MOST, beam_size, penalty, n_best)
        others = beam(plain, sources, beam_size, penalty, n_best)
        assert [[h.ids for h in one] for one in beams] == [[h.ids for h in one] for one in others]
        scores = [[h.score for one in found for h in one] for found in (beams, others)]
        np.testing.assert_allclose(*scores, rtol=1e-5, atol=ATOL)


def test_a_full_beam_and_exact_search_are_brute_force(build) -> None:
    model = build(vocab_size=6)
    for source in (source[:2] for source in draw_sources(2, 3)):  # of each word there may be a copy
        everything = all_hypotheses(model, source, 4)
        (found,) = beam(ModelScorer(model, False), [source], 150, 0.7, 8, most=4)
        (exact,) = Exact().find(ModelScorer(model, False), [source], Search(4, 8))
        for hypotheses, penalty in ((found, 0.7), (exact, 0.0)):
            expected = sorted(((total / length**penalty, ids) for total, length, ids in everything), reverse=True)[:8]
            assert [h.ids for h in hypotheses] == [ids for _, ids in expected]
            np.testing.assert_allclose([h.score for h in hypotheses], [score for score, _ in expected], rtol=1e-5)
        assert all(h.proven for h in exact)


@no_grad()
def log_probs_of(model: Seq2Seq, source: list[int], ids: tuple[int, ...]) -> Array:
    """(T, V), with copies (T, V + S): log p of every token at every step, by teacher forcing."""
    memory = encode(model, [source], False)
    state, features = model.start(memory), []
    for token in (SOS_ID, *ids):
        feature, state = model.decoder.step(Tensor(np.array([token])), state, memory)
        features.append(feature)
    copies = None if memory.copies is None else memory.copies.repeat(len(features), 1)
    log_probs: Array = model.decoder.log_probs(cat(features), copies).array.astype(np.float64)
    return log_probs


def all_hypotheses(model: Seq2Seq, source: list[int], most: int) -> list[tuple[float, int, tuple]]:
    """Every output there is: log p, length with <eos>, ids.

    The steps of an output are the first ones of any that begins with it, so those of the longest are those of all.
    """
    possible = np.flatnonzero(np.isfinite(log_probs_of(model, source, ())[0])).tolist()
    tokens = [token for token in possible if token not in (PAD_ID, SOS_ID, EOS_ID)]
    tables = {ids: log_probs_of(model, source, ids) for ids in itertools.product(tokens, repeat=most - 1)}
    found = []
    for length in range(most + 1):
        for ids in itertools.product(tokens, repeat=length):
            said = [*ids, EOS_ID][:most]
            table = tables[(*ids, *tokens[:1] * most)[: most - 1]]
            total = sum(table[t, token] for t, token in enumerate(said))
            found.append((total, len(said), ids))
    return found


def test_a_sentence_is_searched_alone_as_beside_others(build) -> None:
    model, sources = build(seed=5, **WIDE), draw_sources(5, 12)

    def search(batch: list[list[int]]) -> list[tuple]:
        scorer = ModelScorer(model, False)
        return list(zip(greedy(scorer, batch), map(tuple, beam(scorer, batch, 3, 1.0, 2)), strict=True))

    together = search(sources)
    for source, found in zip(sources, together, strict=True):
        assert search([source]) == [found], "to the bit"


STEP_BY_STEP = {
    "diverse-beam": lambda: DiverseBeam(DiverseBeamOptions(beam_size=4, diversity_groups=2)),
    "sample": lambda: Sample(SampleOptions(temperature=0.8, top_k=6)),
    "exact": lambda: Exact(ExactOptions(3, exact_steps=40)),
}


@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_so_it_is_by_every_other_strategy(build, name: str) -> None:
    strategy, scorer, sources = STEP_BY_STEP[name](), scorer_of(build(seed=5, **WIDE)), draw_sources(6, 7)
    together = strategy.find(scorer, sources, Search(4, 2))
    for source, found in zip(sources, together, strict=True):
        assert strategy.find(scorer, [source], Search(4, 2)) == [found], "to the bit"
    assert len({h.ids for found in together for h in found}) > 1  # small models are of few opinions


def test_an_alignment_adds_up_to_one_and_does_not_depend_on_the_batch(build) -> None:
    """Where the decoder has one: over the positions of the source, zero past its end."""
    model, sources = build(seed=4, **WIDE), draw_sources(4, 9)
    scorer, search = scorer_of(model), {"alignment": True, "n_best": 2}
    scorer.start(sources)
    scorer.step(np.full(9, SOS_ID), np.arange(9))
    if scorer.alignment() is None:
        with pytest.raises(UserError, match="alignment, coverage_penalty, replace_unk: this"):
            beam(scorer, sources, 3, **search)
        return
    weights = model.decoder.alignment(scorer._state).array
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    for row, source, own in zip(weights, sources, scorer.alignment(), strict=True):
        assert (row >= 0).all()
        assert not row[len(source) + 2 :].any()
        np.testing.assert_array_equal(own, row[1 : len(source) + 1])
    together = beam(scorer, sources, 3, **search)
    for source, found in zip(sources, together, strict=True):
        for one, alone in zip(found, beam(scorer, [source], 3, **search)[0], strict=True):
            assert one == alone
            assert one.alignment.shape == (len(one.ids), len(source))
            np.testing.assert_array_equal(one.alignment, alone.alignment)


def test_given_pairs_have_the_log_p_of_their_tokens_to_the_bit_in_any_batch(build) -> None:
    """Of one model, and of two the mean of the probabilities."""
    one, other = build(seed=1, **WIDE), build(seed=2, **WIDE)
    sources, targets = draw_sources(3, 9), [[4, 5, 6], [7], [], [8, 9, 10, 4], [5], [4, 4], [9], [10, 8], [6, 6, 6]]
    encoded = EncodedSplit(Ragged(sources), Ragged(targets))
    found, both = (token_log_probs(models, encoded, 4, False) for models in ([one], [one, other]))
    for source, target, log_probs, mean in zip(sources, targets, found, both, strict=True):
        said = np.arange(len(target) + 1), [*target, EOS_ID]
        tables = [log_probs_of(model, source, tuple(target))[said] for model in (one, other)]
        np.testing.assert_allclose(log_probs, tables[0], rtol=1e-4, atol=ATOL)
        np.testing.assert_allclose(mean, np.log(np.exp(tables).mean(0)), rtol=1e-4, atol=ATOL)
    for batch_size in (1, 3, 100):
        for again, log_probs in zip(token_log_probs([one], encoded, batch_size, False), found, strict=True):
            np.testing.assert_array_equal(again, log_probs)


def test_an_ensemble_of_twins_is_one_of_them_and_of_two_is_their_mean(build) -> None:
    one, other, sources = build(seed=1), build(seed=2), draw_sources(1, 10)
    alone = beam(scorer_of(one), sources, 3)
    twins = beam(Ensemble([scorer_of(one), scorer_of(one)]), sources, 3)
    assert [[h.ids for h in found] for found in twins] == [[h.ids for h in found] for found in alone]
    both = Ensemble([scorer_of(one), scorer_of(other)])
    for source, hypothesis in zip(sources, greedy(both, sources), strict=True):
        said = [*hypothesis.ids, EOS_ID][:MOST]
        tables = [np.exp(log_probs_of(model, source, hypothesis.ids)) for model in (one, other)]
        mean = [np.log((tables[0][t, token] + tables[1][t, token]) / 2) for t, token in enumerate(said)]
        assert hypothesis.log_prob == pytest.approx(sum(mean), rel=1e-5)


def test_dropout_is_drawn_in_training_alone(build, draw_batch) -> None:
    model, batch = build(dropout=0.4), draw_batch(2)

    def loss(step: int) -> float:
        random.seed_step(1, step)
        return float(model.loss(batch).item())

    model.train()
    assert loss(0) == loss(0) != loss(1)
    model.eval()
    assert loss(0) == loss(1)


def test_a_constraint_is_kept_by_every_search(build) -> None:
    """Here: no token twice in a row."""
    model, sources = build(seed=3), draw_sources(3, 15)

    def no_repetition(log_probs: Array, rows: Any) -> None:
        for log_prob, row in zip(log_probs, rows, strict=True):
            log_prob[list(row.ids[-1:])] = -np.inf

    kept = {"constraints": (no_repetition,)}
    found = [h for one in beam(scorer_of(model), sources, 3, n_best=2, **kept) for h in one]
    found += greedy(scorer_of(model), sources, **kept)
    assert all(a != b for h in found for a, b in itertools.pairwise(h.ids))
    assert max(len(h.ids) for h in found) > 1


def test_a_run_trains_translates_and_goes_on_exactly(
    train, run, history, encoder, decoder, fitting_options, tmp_path
) -> None:
    """Through the commands; a run that is stopped and resumed has the bits of the one that was not."""
    settings = {"encoder": encoder, "decoder": decoder}
    settings |= fitting_options(encoder, decoder, embedding_size=8, hidden_size=12)
    whole = train("whole", "--epochs", 2, settings=settings)
    parts = train("parts", "--epochs", 2, "--max-steps", 11, settings=settings)
    assert run("train", "--run-dir", parts, "--resume", "--max-steps", 18).code == 0
    steps = [[record for record in history(folder) if "loss" in record] for folder in (whole, parts)]
    assert steps[0] == steps[1]
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("3 1 4\n1 5 9 2\n")
    for beam_size in (1, 3):
        result = run("translate", whole, "--input", sentences, "--beam-size", beam_size)
        assert (result.code, result.out.count("\n")) == (0, 2), result.err


def test_the_loss_is_that_of_a_packed_batch_too(build, draw_batch) -> None:
    model, batch = build(), draw_batch(1)
    assert model.loss(batch).item() == model.loss_of(model.pack(batch)).item()


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_device_gives_what_the_processor_gives(build, draw_batch, precision: str) -> None:
    """Loss, gradients and words; sums run in another order there, and bf16 rounds what they come to."""
    here, there = build(precision=precision), build(precision=precision, device="cuda")
    batch, sources = draw_batch(4), draw_sources(4, 6)
    never = np.zeros(len(batch.trg_input), bool)
    tolerance = 1e-4 if precision == "fp32" else 5e-2
    losses, gradients = [], []
    for model in (here, there):
        model.zero_grad()
        loss = model.loss(batch, own=never)
        loss.backward()
        losses.append(float(loss.item()))
        gradients.append({name: p.grad.to("cpu").array for name, p in model.named_parameters()})
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)
    for name, gradient in gradients[0].items():
        np.testing.assert_allclose(gradients[1][name], gradient, rtol=0, atol=tolerance * np.abs(gradient).max())
    if precision == "fp32":
        for search in (greedy_search, lambda *arguments: [one[0] for one in beam_search(*arguments, 3)]):
            assert [h.ids for h in search(there, sources, MOST)] == [h.ids for h in search(here, sources, MOST)]
