"""What the races rest on: the problem given to all peers, the proofs of equality (which must fail), the ratios."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
from argparse import Namespace
from typing import Any

import decoding
import keep_run
import numpy as np
import pytest
import racing
import training
from peers import worker
from peers.problem import EOS_ID, PAD_ID, SOS_ID, Task, best_words, initial_weights, padded_sources, runs_of, shapes
from workloads import coins, fixed, like_multi30k

from seq2seq.models import model
from seq2seq.run.config import Config
from seq2seq.sources import TextSource
from seq2seq.text import vocabulary


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
    for ours, theirs in zip(padded_sources(sources), TextSource().collate(sources), strict=True):
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
class Steps:
    """A worker whose three steps give losses and weights of our own making."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def call(self, method: str, *arguments: Any) -> tuple[float, Any]:
        if method == "build":
            self.losses, self.weights = self.change(np.array([3.0, 2.0, 1.0]), {"w": np.full((2, 2), 0.5)})
            self.losses = iter(self.losses)
        return 0.0, next(self.losses, 0.0) if method == "step" else self.weights if method == "weights" else None


def verify(names: list[str], change: Any, strict: bool = True) -> training.Verified:
    """``training.verify`` of one case, where the results of all but ours in float32 are changed."""

    def opened(names: list[str], *_: Any) -> Any:
        return contextlib.nullcontext({n: Steps(change if n != "minigrad" else lambda *same: same) for n in names})

    case = training.Case(names, Task(vocab_sizes=(20, 20)), 1.0)
    return training.verify([case], 1, racing.Arena(opened, "minigrad", strict))[0]


@pytest.mark.parametrize("name", ["jax", "jax-bf16"])
@pytest.mark.parametrize("factor", [1.02, math.nan])
def test_wrong_losses_are_found(name, factor) -> None:
    found = verify(["minigrad", name], lambda losses, weights: (losses * [1, 1, factor], weights))
    assert found.left_out[name].startswith("wrong result: " + name + " is")
    assert list(found.to) == ["minigrad"]


@pytest.mark.parametrize("value", [0.51, math.nan])
def test_wrong_weights_are_found(value) -> None:
    found = verify(["minigrad", "pytorch"], lambda losses, weights: (losses, {"w": np.full((2, 2), value)}))
    assert re.match(r"wrong result: pytorch is (0\.02|nan)", found.left_out["pytorch"])


def test_our_wrong_results_end_a_race() -> None:
    """Ours in bfloat16; and in float32 where two frameworks find otherwise, and no variant agrees."""

    def change(losses: Any, weights: Any) -> Any:
        return losses * 1.5, weights

    with pytest.raises(AssertionError, match=r"minigrad-bf16 is 0\.5 from ours"):
        verify(["minigrad-bf16"], change)
    with pytest.raises(AssertionError, match="pytorch, jax all differ from minigrad"):
        verify(["minigrad", "pytorch", "jax"], change)
    assert set(verify(["minigrad-bf16"], change, strict=False).left_out) == {"minigrad-bf16"}
    assert set(verify(["minigrad", "pytorch", "pytorch-packed"], change).left_out) == {"pytorch", "pytorch-packed"}


@pytest.mark.parametrize("broken", [lambda *_: None, lambda losses, _: (losses, {}), lambda *_: 1 / 0])
def test_results_that_are_none_leave_a_peer_out(broken) -> None:
    found = verify(["minigrad", "jax"], broken)
    assert set(found.left_out) == {"jax"}
    assert set(found.to) == {"minigrad"}


def test_equal_results_pass() -> None:
    found = verify(["minigrad", "jax"], lambda losses, weights: (losses * 1.0005, weights))
    assert found == ({"minigrad": 0, "jax": pytest.approx(5e-4)}, {})


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
    workers: Any = {"minigrad": Searcher([[50, 50]]), name: Searcher(found)}
    left_out = decoding.verify(workers, Searcher([[50, 50]]), [[1]], 2, 1).left_out
    assert message in left_out[name]
    workers = {f"minigrad{name[3:]}": Searcher(found)}
    with pytest.raises(AssertionError):
        decoding.verify(workers, Searcher([[50, 50]]), [[1]], 2, 1)


def test_equal_words_pass() -> None:
    workers: Any = {"jax": Searcher([[50, 50]]), "jax-bf16": Searcher([[50, 51]])}
    found = decoding.verify(workers, Searcher([[50, 50]]), [[1]], 2, 1)
    assert found == ({"jax": 1.0, "jax-bf16": 0.0}, {})


@pytest.mark.parametrize(("word", "count", "right"), [(50, 1, True), (51, 4, False), (90, 1, False)])
def test_a_near_tie_may_fall_otherwise_on_a_device(word: int, count: int, right: bool) -> None:
    """Nine sentences of ten have to be found as expected, and all of them to be no less likely."""
    found = [[50, word]] * count + [[50, 51]] * (20 - count)
    expected = [[50, 51]] * 10 + [[51, 50]] * 10 if word == 51 else [[50, 51]] * 20
    left_out = decoding.verify(
        {"minigrad": Searcher(found)}, Searcher(expected), [[1]] * 20, 2, 1, strict=False
    ).left_out
    assert (left_out == {}) is right


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


class Failing(Clock):
    """A worker that fails after so many calls."""

    def __init__(self, calls: int, error: Exception) -> None:
        super().__init__(1.0)
        self.left, self.error = calls, error

    def call(self, method: str, *arguments: Any, times: int = 1) -> tuple[float, Any]:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().call(method, *arguments, times=times)


@pytest.mark.parametrize("calls", [0, 1, 2])
@pytest.mark.parametrize(
    "error", [RuntimeError("jax: step: no\nluck"), ZeroDivisionError("no luck"), OSError("no luck")]
)
def test_a_peer_that_fails_is_left_out(calls: int, error: Exception, capsys: Any) -> None:
    workers: Any = {"minigrad": Clock(1), "jax": Failing(calls, error), "pytorch": Clock(2)}
    found = racing.race(workers, [racing.Call("step", (), 2.0)], 3)
    assert found["left_out"].keys() == {"jax"}
    assert found["left_out"]["jax"].endswith("no luck")
    assert found["variants"].keys() == {"minigrad", "pytorch"}
    assert found["ratios"]["minigrad"].keys() == {"pytorch"}
    racing.show("a race", found, "us")
    assert re.search(r"jax +left out .*no luck", capsys.readouterr().out)


@pytest.mark.parametrize("calls", [0, 2])
def test_a_failure_of_ours_ends_a_race(calls: int) -> None:
    workers: Any = {"minigrad-bf16": Failing(calls, RuntimeError("ours")), "jax": Clock(1)}
    with pytest.raises(RuntimeError, match="ours"):
        racing.race(workers, [racing.Call("step", (), 2.0)], 3)


def test_a_run_of_another_processor_stays(tmp_path) -> None:
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"epochs": 1, "run_dir": "x"}')
        (tmp_path / name / "metrics.jsonl").write_text(name)
        (tmp_path / name / "manifest.json").write_text(json.dumps({"processor": name}))
    for _ in range(2):
        keep_run.keep(tmp_path / "A", tmp_path / "kept", [])
    with pytest.raises(SystemExit, match="kept holds a run on A; expected another folder for one on B"):
        keep_run.keep(tmp_path / "B", tmp_path / "kept", [])
    assert (tmp_path / "kept" / "metrics.jsonl").read_text() == "A"


def test_a_kept_run_holds_no_path_of_this_machine(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in ("config.json", "manifest.json"):
        (tmp_path / "run" / name).write_text(json.dumps({"data": f"{tmp_path}/folder/data.tsv"}))
    (tmp_path / "run" / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 2, "seconds": 0.5}\n{"step": 1, "val_loss": 3, "seconds": 2}\n'
    )
    keep_run.keep(tmp_path / "run", tmp_path / "kept", [], validations=True)
    for name in ("config.json", "manifest.json"):
        assert json.loads((tmp_path / "kept" / name).read_text()) == {"data": "folder/data.tsv"}
    kept = (tmp_path / "kept" / "metrics.jsonl").read_text()
    assert kept == '{"step": 1, "val_loss": 3, "seconds": 2.5}\n', "the seconds of all steps and validations by then"


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
        with pytest.raises(RuntimeError, match=r"minigrad: peak_memory: TypeError: .*takes 0 positional"):
            workers["minigrad"].call("peak_memory", 1)
        assert 5 < workers["minigrad"].call("peak_memory")[1] < 400
    assert ballast[0] == 1


def test_a_quick_run_starts_each_process_once():
    for quick in (True, False):
        found = []
        for _ in range(2):
            with racing.arena(Namespace(device="cpu", quick=quick)).open(["minigrad"], 1, None) as workers:
                workers["minigrad"].call("peak_memory")
                found.append(workers["minigrad"]._process.pid)
        assert (found[0] == found[1]) == quick
    assert racing._kept.pop(("minigrad", 1)).close() is None
