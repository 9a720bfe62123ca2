"""Greedy and beam search against plain versions: one step at a time, or all outputs there are."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from minigrad import Tensor, no_grad
from minigrad.nn import functional as F
from minigrad.nn.utils.rnn import pack_padded_sequence
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.scorers import _prepacked, release_prepacked
from seq2seq.decoding.search import beam_search, greedy_search
from seq2seq.models.model import Seq2Seq
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID

MAX_LENGTH = 7


def draw_sources(seed: int, count: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 13, rng.integers(0, 7)).tolist() for _ in range(count)]


@no_grad()
def step_log_probs(model: Seq2Seq, source: Sequence[int], ids: Sequence[int]) -> np.ndarray:
    """log p of every word at every step (T,V) when ``ids`` are given to the decoder."""
    model.eval()
    src, src_lengths = model.source.collate([source])
    memory = model.encoder(pack_padded_sequence(Tensor(src), src_lengths, enforce_sorted=False))
    given = pack_padded_sequence(Tensor(np.array([[SOS_ID], *([token] for token in ids)])), [len(ids) + 1])
    never = np.zeros(len(ids) + 1, bool)
    features = model.decoder.sequence(given, model.decoder.start(memory), memory, never)
    return F.log_softmax(model.decoder.output(features), dim=-1).array.astype(np.float64)


def log_prob(model: Seq2Seq, source: Sequence[int], ids: Sequence[int], max_length: int) -> float:
    """log p of a hypothesis; one shorter than ``max_length`` has ended by <eos>."""
    words = [*ids, EOS_ID] if len(ids) < max_length else list(ids)
    table = step_log_probs(model, source, ids)
    return float(sum(table[t, word] for t, word in enumerate(words)))


def plain_greedy(model: Seq2Seq, source: Sequence[int], max_length: int) -> list[int]:
    ids: list[int] = []
    while len(ids) < max_length:
        last = step_log_probs(model, source, ids)[-1]
        last[[PAD_ID, SOS_ID]] = -np.inf
        if (word := int(last.argmax())) == EOS_ID:
            break
        ids.append(word)
    return ids


def all_hypotheses(
    model: Seq2Seq, source: Sequence[int], max_length: int, length_penalty: float
) -> list[tuple[float, tuple]]:
    """Every output there is with its score, best first."""
    words = [word for word in range(len(model.decoder.embedding.weight)) if word not in (PAD_ID, SOS_ID, EOS_ID)]
    found = []
    for length in range(max_length + 1):
        for ids in itertools.product(words, repeat=length):
            scored = min(length + 1, max_length)
            found.append((log_prob(model, source, ids, max_length) / scored**length_penalty, ids))
    return sorted(found, reverse=True)


def ids_of(hypotheses: Sequence[Hypothesis]) -> list[tuple[int, ...]]:
    return [hypothesis.ids for hypothesis in hypotheses]


def shift(model: Seq2Seq, word: int, amount: float) -> Seq2Seq:
    """The model with one word more (or less) likely at every step."""
    model.decoder.fc_out.bias.array[word] += amount
    return model


def test_greedy_takes_the_likeliest_word_at_each_step(tiny_model) -> None:
    for seed in range(4):
        model, sources = tiny_model(seed=seed), draw_sources(seed, 15)
        found = greedy_search(model, sources, MAX_LENGTH)
        assert ids_of(found) == [tuple(plain_greedy(model, source, MAX_LENGTH)) for source in sources]


def test_beam_1_equals_greedy(tiny_model) -> None:
    lengths = set()
    for seed in range(20):
        model, sources = shift(tiny_model(seed=seed), EOS_ID, 0.5), draw_sources(seed, 50)
        greedy = greedy_search(model, sources, MAX_LENGTH)
        beam = [best for (best,) in beam_search(model, sources, MAX_LENGTH, beam_size=1, length_penalty=0.0)]
        assert ids_of(beam) == ids_of(greedy)
        np.testing.assert_allclose([h.log_prob for h in beam], [h.log_prob for h in greedy], rtol=1e-5)
        lengths |= {len(h.ids) for h in greedy}
    assert lengths >= {0, 1, 2, MAX_LENGTH}, "the models are too much alike to tell"


@pytest.mark.parametrize("seed", range(4))
def test_a_sentence_does_not_depend_on_its_batch(tiny_model, seed) -> None:
    model, sources = shift(tiny_model(seed=seed), EOS_ID, 0.5), draw_sources(seed, 30)
    order = np.random.default_rng(seed).permutation(len(sources))

    def search(batch: Sequence[Sequence[int]]) -> list[Sequence[Hypothesis]]:
        greedy = greedy_search(model, batch, MAX_LENGTH)
        beams = beam_search(model, batch, MAX_LENGTH, beam_size=4, n_best=2)
        return [(one, *several) for one, several in zip(greedy, beams, strict=True)]

    together, shuffled = search(sources), search([sources[i] for i in order])
    for i, source in enumerate(sources):
        for other in (search([source])[0], shuffled[int(np.flatnonzero(order == i)[0])]):
            assert other == together[i], "to the bit"


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0, -0.5])
def test_a_wide_beam_finds_what_trying_everything_finds(tiny_model, length_penalty) -> None:
    for seed in range(6):
        model = shift(tiny_model(trg_vocab=6, seed=seed), EOS_ID, 0.7)
        for source in draw_sources(seed, 2):
            found = beam_search(model, [source], 4, beam_size=150, length_penalty=length_penalty, n_best=8)[0]
            expected = all_hypotheses(model, source, 4, length_penalty)[:8]
            assert ids_of(found) == [ids for _, ids in expected]
            np.testing.assert_allclose([h.score for h in found], [score for score, _ in expected], rtol=1e-5)


def test_length_penalties_choose_differently(tiny_model) -> None:
    model, sources = shift(tiny_model(trg_vocab=6, seed=2), EOS_ID, 0.7), draw_sources(2, 20)
    mean_lengths = [
        np.mean([len(best.ids) for (best,) in beam_search(model, sources, 6, beam_size=5, length_penalty=penalty)])
        for penalty in (0.0, 1.0, 2.0)
    ]
    assert mean_lengths == sorted(mean_lengths)
    assert mean_lengths[0] < mean_lengths[-1]


def test_a_beam_finds_no_worse_than_greedy(tiny_model) -> None:
    """Not a theorem (a narrow beam may drop the greedy path), but it holds for all of these, and mostly by a margin."""
    gains = []
    for seed in range(8):
        model, sources = shift(tiny_model(seed=seed), EOS_ID, 0.5), draw_sources(seed, 30)
        greedy = greedy_search(model, sources, MAX_LENGTH)
        beams = beam_search(model, sources, MAX_LENGTH, beam_size=6, length_penalty=0.0)
        gains += [beam[0].score - one.score for beam, one in zip(beams, greedy, strict=True)]
    assert min(gains) > -1e-5
    assert np.mean(gains) > 0.1


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 1.5])
def test_scores_are_log_probabilities_of_the_model(tiny_model, length_penalty) -> None:
    model, sources = shift(tiny_model(seed=3), EOS_ID, 0.5), draw_sources(3, 12)
    beams = beam_search(model, sources, MAX_LENGTH, beam_size=5, length_penalty=length_penalty, n_best=5)
    greedy = [[one] for one in greedy_search(model, sources, MAX_LENGTH)]
    for source, hypotheses in zip(sources * 2, beams + greedy, strict=True):
        for hypothesis in hypotheses:
            expected = log_prob(model, source, hypothesis.ids, MAX_LENGTH)
            assert hypothesis.log_prob == pytest.approx(expected, rel=1e-5)
    for hypothesis in itertools.chain(*beams):
        length = min(len(hypothesis.ids) + 1, MAX_LENGTH)
        assert hypothesis.score == pytest.approx(hypothesis.log_prob / length**length_penalty)


@pytest.mark.parametrize("max_length", [1, 2, 5])
def test_a_model_that_never_ends_is_cut(tiny_model, max_length) -> None:
    model, sources = shift(tiny_model(), EOS_ID, -100), draw_sources(0, 6)
    assert [len(h.ids) for h in greedy_search(model, sources, max_length)] == [max_length] * 6
    for hypotheses in beam_search(model, sources, max_length, beam_size=3, n_best=3):
        assert [len(h.ids) for h in hypotheses] == [max_length] * 3


def test_a_model_that_ends_at_once_says_nothing(tiny_model) -> None:
    model, sources = shift(tiny_model(), EOS_ID, 100), draw_sources(0, 6)
    assert ids_of(greedy_search(model, sources, MAX_LENGTH)) == [()] * 6
    assert [ids_of(found) for found in beam_search(model, sources, MAX_LENGTH, beam_size=3)] == [[()]] * 6


def test_n_best_is_sorted_and_distinct(tiny_model) -> None:
    for seed in range(5):
        model, sources = shift(tiny_model(seed=seed), EOS_ID, 0.5), draw_sources(seed, 10)
        for found in beam_search(model, sources, MAX_LENGTH, beam_size=6, n_best=6):
            scores = [hypothesis.score for hypothesis in found]
            assert len(found) == 6
            assert len(set(ids_of(found))) == 6
            assert scores == sorted(scores, reverse=True)


def test_fewer_than_n_best_where_there_are_no_more(tiny_model) -> None:
    (found,) = beam_search(tiny_model(trg_vocab=6), [[5, 6]], 1, beam_size=9, n_best=9)
    assert sorted(ids_of(found)) == [(), (0,), (4,), (5,)]


def test_pad_and_sos_are_never_produced(tiny_model) -> None:
    model, sources = shift(shift(tiny_model(), PAD_ID, 50), SOS_ID, 40), draw_sources(0, 8)
    beams = beam_search(model, sources, MAX_LENGTH, beam_size=20, n_best=20)
    for hypothesis in itertools.chain(*beams, greedy_search(model, sources, MAX_LENGTH)):
        assert {PAD_ID, SOS_ID, EOS_ID}.isdisjoint(hypothesis.ids)


def test_a_reversed_source_is_read_backwards(tiny_model) -> None:
    model, reversing = tiny_model(), tiny_model(reverse_source=True)
    sources = [[4, 5, 6, 7], [9, 8], [5]]
    backwards = [source[::-1] for source in sources]
    assert greedy_search(reversing, sources, MAX_LENGTH) == greedy_search(model, backwards, MAX_LENGTH)
    assert beam_search(reversing, sources, MAX_LENGTH) == beam_search(model, backwards, MAX_LENGTH)


def test_dropout_is_off(tiny_model) -> None:
    model, sources = tiny_model(dropout=0.5).train(), draw_sources(0, 10)
    assert greedy_search(model, sources, MAX_LENGTH) == greedy_search(model.train(), sources, MAX_LENGTH)
    assert beam_search(model.train(), sources, MAX_LENGTH) == beam_search(model.train(), sources, MAX_LENGTH)


@pytest.mark.parametrize("form", ["full", "bf16"])
def test_a_sentence_alone_has_the_bits_it_has_beside_63_others(tiny_model, form) -> None:
    """Sizes at which blocks and panels are full, unlike those above."""
    model = shift(tiny_model(20, 300, embedding_size=40, hidden_size=48, seed=7), EOS_ID, 1.0)
    rng = np.random.default_rng(7)
    sources = [rng.integers(4, 20, rng.integers(1, 30)).tolist() for _ in range(64)]

    def search(batch: Sequence[Sequence[int]]) -> list[Sequence[Hypothesis]]:
        greedy = greedy_search(model, batch, 12, form=form)
        return [(one, *several) for one, several in zip(greedy, beam_search(model, batch, 12, form=form), strict=True)]

    together = search(sources)
    assert len({len(found[0].ids) for found in together}) > 1, "sentences should end at different times"
    for i in range(0, 64, 7):
        assert search([sources[i]]) == [together[i]]


def test_bf16_is_near(tiny_model) -> None:
    model, sources = tiny_model(seed=1), draw_sources(1, 30)
    exact, rounded = ([h.log_prob for h in greedy_search(model, sources, 4, form=form)] for form in ("full", "bf16"))
    changes = np.abs(np.array(rounded) / exact - 1)
    # Products of numbers rounded to 8 bits: the median of 30 sums of four log p moves by 2^-8 at most.
    assert 0 < np.median(changes) < 2**-8


def test_weights_that_learn_are_decoded_anew(trained, draw_batch) -> None:
    model, optimizer = trained
    sources = draw_sources(0, 10)
    before = greedy_search(model, sources, MAX_LENGTH)
    assert greedy_search(model, sources, MAX_LENGTH) == before
    optimizer.zero_grad()
    model.train().loss(draw_batch(5)).backward()
    optimizer.step()
    after = greedy_search(model, sources, MAX_LENGTH)
    assert [h.log_prob for h in after] != [h.log_prob for h in before]
    for source, hypothesis in zip(sources, after, strict=True):
        assert hypothesis.log_prob == pytest.approx(log_prob(model, source, hypothesis.ids, MAX_LENGTH), rel=1e-5)


def test_packed_weights_are_let_go_and_packed_again(tiny_model) -> None:
    model, other, sources = tiny_model(), tiny_model(seed=1), draw_sources(0, 5)
    found = [greedy_search(model, sources, MAX_LENGTH, form=form) for form in ("full", "bf16")]
    beam_search(other, sources, MAX_LENGTH)
    kept = [weakref.ref(packed) for half in (model.encoder, model.decoder) for packed in _prepacked[half].values()]
    assert len(kept) == 4
    release_prepacked(model)
    gc.collect()
    assert [packed() for packed in kept] == [None] * 4
    assert [half in _prepacked for half in (model.encoder, model.decoder, other.encoder, other.decoder)] == [0, 0, 1, 1]
    release_prepacked(model)
    assert [greedy_search(model, sources, MAX_LENGTH, form=form) for form in ("full", "bf16")] == found


def test_a_model_that_is_gone_leaves_nothing_behind(tiny_model) -> None:
    model = tiny_model()
    beam_search(model, [[4, 5]], MAX_LENGTH)
    embedding = weakref.ref(model.decoder.embedding)
    del model
    gc.collect()
    assert embedding() is None


def test_no_sentences_give_no_hypotheses(tiny_model) -> None:
    assert greedy_search(tiny_model(), [], MAX_LENGTH) == []
    assert beam_search(tiny_model(), [], MAX_LENGTH) == []


@pytest.mark.parametrize(("beam_size", "n_best"), [(2, 3), (0, 0), (3, 0)])
def test_n_best_must_fit_the_beam(tiny_model, beam_size, n_best) -> None:
    with pytest.raises(ValueError, match=f"n_best is {n_best}; expected 1 to beam_size = {beam_size}"):
        beam_search(tiny_model(), [[4]], MAX_LENGTH, beam_size, n_best=n_best)
