"""Greedy and beam search of the tutorials' model against PyTorch: equal first, then timed in turn.

    python benchmarks/decoding.py [--rounds 9] [--json benchmarks/results/decoding.json]

Sources and outputs of 15 words; <eos> is made impossible so that both take exactly as many steps. The words found must
be the same. PyTorch runs a step for the whole batch and all beams at once, in inference mode. One sentence is the time
that a user waits; 64 sentences are the throughput.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from peers import Worker, machine

from seq2seq.config import Config

VOCAB_SIZES = (7853, 5893)
WORDS = 15


def race(workers: dict[str, Worker], count: int, beam_size: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of both for ``count`` sentences, in turn; one round warms up. AssertionError if the words differ."""
    rng = np.random.default_rng(count)
    samples: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds + 1):
        sources = rng.integers(4, VOCAB_SIZES[0], (count, WORDS)).tolist()
        answers = {name: worker.call("decode", sources, WORDS, beam_size) for name, worker in workers.items()}
        assert answers["minigrad"][1] == answers["pytorch"][1], "the searches found different words"
        for name, (seconds, _) in answers.items():
            samples[name].append(1000 * seconds)
    times = {name: np.array(values[1:]) for name, values in samples.items()}
    ratio = np.quantile(times["pytorch"] / times["minigrad"], [0.25, 0.5, 0.75]).tolist()
    return {
        "rounds": rounds,
        "ms": {name: float(np.median(values)) for name, values in times.items()},
        "ratio": dict(zip(("low", "median", "high"), ratio, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    workers = {name: Worker(name, Config(), VOCAB_SIZES) for name in ("minigrad", "pytorch")}
    result: dict[str, Any] = machine()
    for count in (1, 64):
        for beam_size in (1, 5):
            name = f"{count} sentence{'s' if count > 1 else ''}, {f'beam {beam_size}' if beam_size > 1 else 'greedy'}"
            result[name] = found = race(workers, count, beam_size, options.rounds)
            ms, ratio = found["ms"], found["ratio"]
            print(
                f"{name}: minigrad {ms['minigrad']:.0f}, PyTorch {ms['pytorch']:.0f} ms; PyTorch takes "
                f"{ratio['median']:.2f} times as long (middle half {ratio['low']:.2f} to {ratio['high']:.2f})"
            )
    for worker in workers.values():
        worker.close()
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
