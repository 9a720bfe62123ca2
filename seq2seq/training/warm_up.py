"""Compiling the kernels of a training run in a process of its own, the first time they are needed.

The compiler takes some 350 MB more than the training itself may need, and gives them back only when its process ends.
So where the folder of compiled kernels does not hold those of a run yet, a child trains and translates a few made-up
tokens with the same source, encoder and decoder, small; what it compiled is then loaded from the folder. Without such a
folder each process compiles for itself, and so does one whose parts a script has registered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import autocast, compiled_marker, no_grad, zeros
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.streams import say

_TOKENS = 9
_MOST = 8  # of every size and number in the child
_SHARED = (64, 64, 1024)  # sizes of a product that threads share, as only larger models have them


def compile_kernels(config: Config) -> None:
    """Make sure that the kernels of such a run are compiled; a failure is left to the run itself to show.

    Those of a GPU need no process of their own: their compiler is small, and each is compiled when it is first called.
    """
    if config.device == "cuda" or not registry.all_come_along(config):
        return
    settings = json.dumps(small_settings(config))
    done = compiled_marker(f"training-{hashlib.sha256(settings.encode()).hexdigest()[:16]}")
    if done is None or done.exists():
        return
    say("compiling the kernels, which is done once ...")
    code = [sys.executable, "-m", "seq2seq.training.warm_up", settings]
    with contextlib.suppress(OSError):  # no more processes, or no more files
        if subprocess.run(code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            done.touch()


def small_settings(config: Config) -> dict[str, Any]:
    """What decides which kernels a run calls: precision, optimiser, parts, and their options, sizes cut to a few.

    A small model calls the kernels of a large one. Small numbers stay as they are, since some must fit each other, as
    the layers of a pyramid; numbers that are no sizes decide nothing.
    """
    options = {
        name: min(value, _MOST) if type(value) is int else value
        for name, value in config.options.items()
        if type(value) is not float
    }
    chosen = {
        name: getattr(config, name)
        for name in ("precision", "optimizer", "momentum", "share_vocab", *registry.PACKAGES)
    }
    return {**chosen, **options}


def _train_a_little(config: Config) -> None:
    """Every kernel that training, validation and translation call, on a model of a few numbers."""
    from seq2seq.decoding.search import beam_search, greedy_search
    from seq2seq.models.model import build_model, sequence_losses
    from seq2seq.sources import EncodedSplit, TextSource
    from seq2seq.training.optimizers import build_optimizer

    model = build_model(_TOKENS, _TOKENS, config)
    optimizer = build_optimizer(config, model)
    rng = np.random.default_rng(0)
    for lengths in ([3, 2, 1], [3, 3, 3]):
        src = model.source.random_items(rng, lengths, _TOKENS)
        split = EncodedSplit(src, TextSource().random_items(rng, lengths, _TOKENS))
        batch = model.source.batch(split, range(len(lengths)))
        for forcing in (1.0, 0.0):
            optimizer.zero_grad()
            (model.loss(batch, forcing) / batch.num_trg_tokens).backward()
            optimizer.step_clipped(1.0)
        sequence_losses(model, [batch], 1.0)
        sources = [src[0], src[1]]
        greedy_search(model, sources, 3)
        beam_search(model, sources, 3, 2)
    dtype = next(model.parameters()).dtype
    with autocast(model.device.type, enabled=model.bf16), no_grad():
        zeros(_SHARED[:2], dtype=dtype) @ zeros(_SHARED[1:], dtype=dtype)


def main(arguments: Sequence[str]) -> int:
    _train_a_little(Config(**json.loads(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
