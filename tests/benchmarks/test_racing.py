"""What the races rest on: the problem given to all peers, the proofs of equality (which must fail), the ratios."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import Any

import decoding
import numpy as np
import pytest
import racing
import training
from peers import worker
from peers.problem import EOS_ID, PAD_ID, SOS_ID, Task, best_words, initial_weights, padded_sources, runs_of, shapes
from workloads import coins, fixed, like_multi30k

from seq2seq import model, vocabulary
from seq2seq.config import Config
from seq2seq.data import pad_sources


def test_flops_of_the_tutorials_model() -> None:
    # Multiply-adds of a source token: two layers of 4H(I+H); of a target token: H*V more.
    source = 4 * 512 * (256 + 512) + 4 * 512 * (512 + 512)
    assert Task().flops(1, 0) == 6 * source
    assert Task().flops(3, 5) == 6 * (8 * source + 5 * 512 * 5893)


def test_the_problem_is_the_toolkits_model() -> None:
    task = Task(vocab_sizes=(9, 8), embedding_size=3, hidden_size=4)
    ours = model.build_model(9, 8, Config(embedding_size=3, hidden_size=4)).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == shapes(task)
    assert (vocabulary.PAD_ID, vocabulary.SOS_ID, vocabulary.EOS_ID) == (PAD_ID, SOS_ID, EOS_ID)
    weights, again = dict(initial_weights(task)), dict(initial_weights(task))
    assert all(np.array_equal(weights[name], again[name]) and weights[name].dtype == np.float32 for name in weights)
    everything = np.concatenate([array.ravel() for array in weights.values()])
    assert np.abs(everything).max() <= task.init_range
    assert len(np.unique(everything)) > 0.99 * len(everything)


def test_the_papers_model_has_384_million_parameters() -> None:
    import paper_scale

    assert round(paper_scale.num_parameters(paper_scale.PAPER) / 1e6) == 384


def test_sources_are_padded_as_the_toolkit_does() -> None:
    sources = [[4, 5, 6], [7], []]
    for ours, theirs in zip(padded_sources(sources), pad_sources(sources), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("batch", [like_multi30k(3, 5, (50, 40))[1], fixed(1, 3, 6, (50, 40))[0]])
def test_batches_are_shifted_by_one_word(batch) -> None:
    for column, length in enumerate(batch.trg_lengths):
        assert batch.trg_input[0, column] == SOS_ID
        assert batch.trg_output[length - 1, column] == EOS_ID
        np.testing.assert_array_equal(batch.trg_input[1:length, column], batch.trg_output[: length - 1, column])
        assert (batch.trg_output[length:, column] == PAD_ID).all()
    assert batch.num_tokens == (batch.src_lengths.sum(), (batch.trg_output != PAD_ID).sum())


def test_runs_start_where_the_decoders_own_word_is_given() -> None:
    assert runs_of(None, 4) == [(0, 4)]
    assert runs_of(np.array([True, False, True, True, False]), 5) == [(0, 1), (1, 4), (4, 5)]
    assert coins(50, 1)[0]
    assert 10 < coins(50, 1).sum() < 40


def test_the_first_beam_is_traced_back() -> None:
    rng = np.random.default_rng(0)
    parents, words = rng.integers(0, 3, (4, 2, 3)), rng.integers(4, 99, (4, 2, 3))
    for sentence, found in enumerate(best_words(parents, words)):
        beam, expected = 0, []
        for step in reversed(range(4)):
            expected.insert(0, words[step, sentence, beam])
            beam = parents[step, sentence, beam]
        assert found == expected


# --- proofs of equality ---------------------------------------------------------------------------------------------
@pytest.fixture
def verify(monkeypatch) -> Any:
    """``training.verify`` of one case, over results of our own making: those of peers are changed."""

    def run(names: list[str], change: Any) -> dict[str, float]:
        def three_steps(worker: Any, case: Any, equal: bool) -> Any:
            losses, weights = np.array([3.0, 2.0, 1.0]), {"w": np.full((2, 2), 0.5)}
            return (losses, weights) if worker == "minigrad" else change(losses, weights)

        opened = contextlib.nullcontext
        monkeypatch.setattr(training, "open_workers", lambda names, *_: opened({name: name for name in names}))
        monkeypatch.setattr(training, "_three_steps", three_steps)
        return training.verify([training.Case(names, Task(), 1.0)], 1)[0]

    return run


@pytest.mark.parametrize("name", ["jax", "jax-bf16"])
@pytest.mark.parametrize("factor", [1.02, math.nan])
def test_wrong_losses_are_found(name, factor, verify) -> None:
    with pytest.raises(AssertionError, match=f"{name} is"):
        verify([name], lambda losses, weights: (losses * [1, 1, factor], weights))


@pytest.mark.parametrize("value", [0.51, math.nan])
def test_wrong_weights_are_found(value, verify) -> None:
    with pytest.raises(AssertionError, match=r"pytorch is (0\.02|nan)"):
        verify(["minigrad", "pytorch"], lambda losses, weights: (losses, {"w": np.full((2, 2), value)}))


def test_equal_results_pass(verify) -> None:
    found = verify(["minigrad", "jax"], lambda losses, weights: (losses * 1.0005, weights))
    assert found == {"minigrad": 0, "jax": pytest.approx(5e-4)}


class Searcher:
    """A worker that finds given words, and scores a sentence by minus the sum of its ids."""

    def __init__(self, found: list[list[int]]) -> None:
        self.found = found

    def call(self, method: str, *arguments: Any) -> tuple[float, Any]:
        words = self.found if method == "decode" else arguments[1]
        return 0.0, words if method == "decode" else -float(sum(map(sum, words)))


@pytest.mark.parametrize(
    ("name", "found", "message"),
    [
        ("jax", [[50, 51]], "jax found other words"),
        ("jax", [[50, 50, 50]], "outputs of other lengths"),
        ("jax-bf16", [[90, 50]], "found words of log p -140"),
    ],
)
def test_wrong_words_are_found(name, found, message) -> None:
    with pytest.raises(AssertionError, match=message):
        decoding.verify({name: Searcher(found)}, Searcher([[50, 50]]), [[1]], 2, 1)


def test_equal_words_pass() -> None:
    decoding.verify({"jax": Searcher([[50, 50]]), "jax-bf16": Searcher([[50, 51]])}, Searcher([[50, 50]]), [[1]], 2, 1)


# --- figures --------------------------------------------------------------------------------------------------------
class Clock:
    """A worker whose times are given, repeating the last."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = itertools.chain(seconds, itertools.repeat(seconds[-1]))

    def call(self, method: str, *arguments: Any, times: int = 1) -> tuple[float, Any]:
        return next(self.seconds), None


def test_ratios_are_of_times_of_one_round() -> None:
    clocks: Any = {"minigrad": Clock(9, 1, 2, 4), "jax": Clock(7, 3, 4, 4), "jax-bf16": Clock(5, 1)}
    found = racing.race(clocks, [racing.Call("step", (), 2.0)], 3)
    assert found["variants"]["minigrad"]["us"]["median"] == pytest.approx(1e6)
    assert found["variants"]["jax"]["first_calls_s"] == 7
    assert found["ratios"] == {"minigrad": {"jax": pytest.approx({"low": 1.5, "median": 2.0, "high": 2.5})}}


def test_a_peer_may_use_any_precision_where_we_use_bf16() -> None:
    assert racing.comparable("minigrad-bf16", "jax")
    assert not racing.comparable("minigrad", "jax-bf16")


def test_workers_start_without_what_holds_a_library_back(monkeypatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("KEPT", "1")
    environment = worker.best_environment()
    assert "OPENBLAS_CORETYPE" not in environment
    assert environment["KEPT"] == "1"


def test_a_workers_error_is_told_and_its_memory_its_own() -> None:
    ballast = np.ones(60_000_000)  # 480 MB here must not count there
    with racing.open_workers(["minigrad"], 1, None) as workers:
        with pytest.raises(RuntimeError, match=r"minigrad: blas: TypeError: .*takes 0 positional"):
            workers["minigrad"].call("blas", 1)
        assert 5 < workers["minigrad"].call("peak_memory")[1] < 400
    assert ballast[0] == 1
