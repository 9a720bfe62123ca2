"""Training steps of the tutorials' model against PyTorch: equal first, then timed in turn.

    python benchmarks/training_step.py [--data-dir DIR] [--rounds 12] [--json benchmarks/results/training_step.json]

Batches are Multi30k's from --data-dir, or random words with like lengths without it. First both take three steps with
dropout off from the same weights, and losses and weights must agree. Then every round gives one batch to ours, to
PyTorch, and the ratio of their times counts; medians and the middle half are printed. Two ways to train are timed: the
right word always given (one LSTM call over the whole target in both), and the tutorials' loop with forcing 0.5.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers import Worker, machine

from seq2seq.config import Config
from seq2seq.data import Batch, BatchSampler, EncodedSplit, Ragged, load_dataset, make_batch
from seq2seq.text import TextCodec

VOCAB_SIZES = (7853, 5893)


def multi30k_batches(data_dir: str, count: int, batch_size: int) -> list[Batch]:
    """The first batches of epoch 0 as the trainer makes them."""
    dataset = load_dataset("multi30k", data_dir=data_dir)
    split = TextCodec.build(dataset, Config()).encode_pairs(dataset.split("train"))
    order = BatchSampler(split.src.lengths, split.trg.lengths, batch_size, seed=1234).batches(0)
    return [make_batch(split, indices) for indices in order[:count]]


def random_batches(count: int, batch_size: int) -> list[Batch]:
    """Random words; lengths like Multi30k's, sorted into batches."""
    rng = np.random.default_rng(0)
    lengths = np.sort(np.clip(rng.normal(13, 4, count * batch_size), 3, 40).astype(int)).reshape(count, batch_size)
    splits = [
        EncodedSplit(*(Ragged(rng.integers(4, size, n).tolist() for n in row) for size in VOCAB_SIZES))
        for row in rng.permutation(lengths)
    ]
    return [make_batch(split, range(batch_size)) for split in splits]


def verify(batches: Sequence[Batch], config: Config) -> float:
    """The worst relative difference of losses and weights after three steps without dropout; AssertionError if > 1e-3.

    Adam divides by the root of a gradient's square, so rounding in a gradient near zero moves a weight by up to lr.
    """
    workers = [Worker(name, dataclasses.replace(config, dropout=0.0), VOCAB_SIZES) for name in ("minigrad", "pytorch")]
    losses = np.array([[worker.call("step", batch, 1.0)[1] for batch in batches[:3]] for worker in workers])
    ours, theirs = (worker.call("weights")[1] for worker in workers)
    for worker in workers:
        worker.close()
    assert ours.keys() == theirs.keys()
    apart = [np.abs(losses[0] / losses[1] - 1).max()]
    apart += [np.abs(ours[name] - theirs[name]).mean() / np.abs(theirs[name]).mean() for name in ours]
    assert max(apart) < 1e-3, apart
    return float(max(apart))


def race(batches: Sequence[Batch], config: Config, forcing: float) -> dict[str, Any]:
    """Seconds per step of both on the same batches, in turn; the first two rounds warm up."""
    workers = {name: Worker(name, config, VOCAB_SIZES) for name in ("minigrad", "pytorch")}
    samples: dict[str, list[float]] = {name: [] for name in workers}
    for batch in batches:
        for name, worker in workers.items():
            samples[name].append(worker.call("step", batch, forcing)[0])
    for worker in workers.values():
        worker.close()
    return summary(batches[2:], {name: np.array(seconds[2:]) for name, seconds in samples.items()})


def summary(batches: Sequence[Batch], seconds: dict[str, np.ndarray]) -> dict[str, Any]:
    positions = np.array([batch.src.size + batch.trg_input.size for batch in batches])
    ratios = seconds["pytorch"] / seconds["minigrad"]
    return {
        "rounds": len(batches),
        "us_per_padded_token": {name: float(np.median(s / positions) * 1e6) for name, s in seconds.items()},
        "ratio": dict(zip(("low", "median", "high"), np.quantile(ratios, [0.25, 0.5, 0.75]).tolist(), strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder with multi30k/; random words without it")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    count = options.rounds + 2
    batches = (
        multi30k_batches(options.data_dir, count, options.batch_size)
        if options.data_dir
        else random_batches(count, options.batch_size)
    )
    config = Config()
    result: dict[str, Any] = {
        "data": "multi30k" if options.data_dir else "random",
        **machine(),
        "verified_to": verify(batches, config),
    }
    print(f"verified: losses and weights after three steps agree to {result['verified_to']:.1e}")
    for name, forcing in (("forcing_1.0", 1.0), ("forcing_0.5", 0.5)):
        result[name] = race(batches, config, forcing)
        ours, theirs = (result[name]["us_per_padded_token"][peer] for peer in ("minigrad", "pytorch"))
        ratio = result[name]["ratio"]
        print(
            f"{name}: minigrad {ours:.0f}, PyTorch {theirs:.0f} us per padded token; PyTorch takes "
            f"{ratio['median']:.2f} times as long (middle half {ratio['low']:.2f} to {ratio['high']:.2f})"
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
