"""What only a GPU can show: real sizes, real schedules, equal bits from run to run. Skipped with a reason without one.

MINIGRAD_GPU_TESTS=simulator runs them all the same, at sizes that the simulator can bear: to try the tests themselves.

Tolerances are relative to the largest element. float32: sums of some thousand products in another order. tf32: operands
with 10 bits of mantissa; bf16: with 7, and gates kept so. After T steps of a recurrence errors have grown by a factor
that is small, since gates are at most 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import cpu, reference
from kernels.cuda.runtime.switches import switched
from kernels.packing import Packing, pack_lengths
from minigrad import optim, random
from seq2seq.decoding.search import beam_search, greedy_search
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.sources import EncodedSplit, Ragged, TextSource
from seq2seq.training.graphed import GraphedTraining

pytestmark = pytest.mark.gpu

SIMULATED = os.environ.get("MINIGRAD_GPU_TESTS") == "simulator"
T, N = (3, 6) if SIMULATED else (25, 128)
WIDTHS = [64] if SIMULATED else [256, 512, 1000, 1024]
REPEATS = 2 if SIMULATED else 100
TOLERANCE = {"float32": 2e-5, "tf32": 5e-3, "bf16": 3e-2}


@pytest.fixture(autouse=True)
def gpu(cuda: ModuleType) -> Iterator[None]:
    """The device; what it refuses is forgotten."""
    with switched():
        yield


def layer(bench: Any, H: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], Packing]:
    """Arguments of `lstm_forward`, gradients of its results, a packing with lengths 1 and T; new for each seed."""
    bench.rng = np.random.default_rng(seed)
    lengths = bench.rng.integers(1, T + 1, N)
    lengths[:2] = 1, T
    size = 1 / np.sqrt(H)
    weights = [bench.normal(4 * H, H) * np.float32(size) for _ in range(2)]
    packing = pack_lengths(lengths)
    arguments = [bench.normal(packing.num_tokens, H), bench.normal(N, H), bench.normal(N, H), *weights]
    dys = [bench.normal(packing.num_tokens, H), bench.normal(N, H), bench.normal(N, H)]
    return [*arguments, bench.normal(4 * H)], dys, packing


def run(entry: ModuleType, given: Any, dys: Any, packing: Packing, bf16: bool) -> tuple[Any, ...]:
    *outputs, saved = entry.lstm_forward(*given, packing, bf16)
    return (*outputs, *entry.lstm_backward(*dys, saved))


@pytest.mark.parametrize("H", WIDTHS)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_the_ladder(bench: Any, H: int, precision: str) -> None:
    """reference -> cpu -> cuda, each rung against the one below; the reference once, at the smallest width."""
    given, dys, packing = layer(bench, H)
    want = run(cpu, given, dys, packing, False)
    if precision == "float32" and WIDTHS[0] == H:
        for a, b in zip(want, run(reference, given, dys, packing, False), strict=True):
            bench.close(a, b, TOLERANCE["float32"])
    kernels.allow_tf32(precision == "tf32")
    got = run(kernels, bench.to(given), bench.to(dys), packing, precision == "bf16")
    for k, (a, b) in enumerate(zip(bench.back(got), want, strict=True)):
        bench.close(a, b, TOLERANCE[precision], f"result {k}")


@pytest.mark.parametrize("H", WIDTHS)
@pytest.mark.parametrize("marked", [False, True], ids=["flags", "marked"])
def test_equal_bits_from_run_to_run(bench: Any, H: int, marked: bool) -> None:
    """A barrier that is too weak shows as a result that differs now and then."""
    given, dys, packing = (bench.to(part) if isinstance(part, list) else part for part in layer(bench, H))
    with switched(marked=marked):
        first = bench.back(run(kernels, given, dys, packing, True))
        for _ in range(REPEATS):
            for a, b in zip(bench.back(run(kernels, given, dys, packing, True)), first, strict=True):
                assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("H", WIDTHS[:2])
def test_one_launch_gives_what_steps_give(bench: Any, H: int) -> None:
    given, dys, packing = (bench.to(part) if isinstance(part, list) else part for part in layer(bench, H))
    together = bench.back(run(kernels, given, dys, packing, True))
    with switched(persistent=False):
        apart = bench.back(run(kernels, given, dys, packing, True))
    for k, (a, b) in enumerate(zip(together, apart, strict=True)):
        bench.close(a, b, TOLERANCE["bf16"], f"result {k}")


def test_updates_and_random_words_are_those_of_the_cpu(bench: Any) -> None:
    size = 1000 if SIMULATED else 13_898_757
    here = [bench.normal(size), bench.normal(size), bench.normal(size), np.abs(bench.normal(size))]
    there = bench.to([array.copy() for array in here])
    numbers = kernels.adam_scalars(3, 1e-3, 0.9, 0.999, 1e-8, 0.01, True), 0.5
    cpu.adam_step_all(*([array] for array in here), *numbers)
    kernels.adam_step_all(*([array] for array in there), *numbers)
    for a, b in zip(bench.back(there), here, strict=True):
        assert a.tobytes() == b.tobytes()
    x = bench.normal(size)
    dropped = kernels.dropout(bench.to(x), 0.3, 5, 6, 7)
    assert bench.back(dropped).tobytes() == cpu.dropout(x, 0.3, 5, 6, 7).tobytes()


def test_an_id_out_of_range_is_an_exception(bench: Any) -> None:
    weight = bench.to(bench.normal(50, 16))
    y = kernels.embedding_forward(weight, bench.to(np.array([1, 50])))
    with pytest.raises(IndexError, match="out of range"):
        kernels.to_host(y)
    assert np.isfinite(kernels.to_host(kernels.embedding_forward(weight, bench.to(np.array([1, 49]))))).all()


# The tutorials' model ------------------------------------------------------------------------------------------------

WORDS = 50 if SIMULATED else 5000


def split() -> EncodedSplit:
    rng = np.random.default_rng(3)
    lengths = rng.integers(2, 5 if SIMULATED else 30, 4 * N)
    return EncodedSplit(*(Ragged(rng.integers(4, WORDS, length).tolist() for length in lengths) for _ in range(2)))


def settings(device: str, precision: str, forcing: float) -> Config:
    sizes = {"embedding_size": 8, "hidden_size": 24} if SIMULATED else {}
    return Config(device=device, precision=precision, teacher_forcing_ratio=forcing, **sizes)  # type: ignore[arg-type]


def losses(device: str, precision: str, forcing: float = 1.0, in_graphs: bool = False) -> list[float]:
    """Of eight steps, with dropout."""
    data, config = split(), settings(device, precision, forcing)
    model = build_model(WORDS, WORDS, config)
    optimizer = optim.Adam(model.parameters())
    steps = GraphedTraining(model, optimizer, config, data)
    found = []
    for step in range(8):
        batch = TextSource().batch(data, range(step % 4 * N, (step % 4 + 1) * N))
        random.seed_step(1, step)
        results = steps.step(batch) if in_graphs else None
        assert (results is not None) == (in_graphs and step > 0)
        if results is None:
            optimizer.zero_grad()
            loss = model.loss(batch, forcing) / batch.num_trg_tokens
            loss.backward()
            results = loss, optimizer.step_clipped(1.0)
        found += [float(result.item()) for result in results]
    return found


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("tf32", 2e-2), ("bf16", 2e-2)])
def test_training_is_that_of_the_cpu(bench: Any, precision: str, bound: float) -> None:
    here = losses("cpu", {"tf32": "fp32"}.get(precision, precision))
    assert losses("cuda", precision) == pytest.approx(here, rel=bound)


def test_training_with_own_words_is_that_of_the_cpu(bench: Any) -> None:
    assert losses("cuda", "fp32", 0.5) == pytest.approx(losses("cpu", "fp32", 0.5), rel=1e-3)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_training_in_graphs(bench: Any, precision: str) -> None:
    """More rows than the batch has: cuBLAS may choose other kernels for them."""
    expected = losses("cuda", precision)
    assert losses("cuda", precision) == expected
    found = losses("cuda", precision, in_graphs=True)
    assert found == pytest.approx(expected, rel=1e-3)
    assert losses("cuda", precision, in_graphs=True) == found


def test_searches_are_those_of_the_cpu(bench: Any) -> None:
    """The sums differ in their last bits: a word may differ where two are as close."""
    sources = [sentence.tolist() for sentence in split().src.part(0, N)]
    found = {}
    for device in ("cpu", "cuda"):
        model = build_model(WORDS, WORDS, settings(device, "fp32", 1.0)).eval()
        greedy, beams = greedy_search(model, sources, 12), beam_search(model, sources, 12, 3, n_best=2)
        found[device] = [*greedy, *(best[0] for best in beams)]
    same = [a.ids == b.ids for a, b in zip(found["cpu"], found["cuda"], strict=True)]
    assert np.mean(same) > 0.98
    for a, b, equal in zip(found["cpu"], found["cuda"], same, strict=True):
        if equal:
            assert b.log_prob == pytest.approx(a.log_prob, rel=1e-4)
