"""Compiling the kernels of a training run in a process of its own, the first time they are needed.

The compiler takes some 350 MB more than the training itself may need, and gives them back only when its process ends.
So where the folder of compiled kernels does not hold those of a run yet, a child trains and translates a few made-up
words with the same settings; what it compiled is then loaded from the folder. Without such a folder each process
compiles for itself.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence

from minigrad import compiled_marker
from seq2seq.run.config import Config
from seq2seq.run.streams import say

_WORDS = 9


def compile_kernels(config: Config) -> None:
    """Make sure that the kernels of such a run are compiled; a failure is left to the run itself to show.

    Those of a GPU need no process of their own: their compiler is small, and each is compiled when it is first called.
    """
    if config.device == "cuda":
        return
    num_layers = str(min(config.num_layers, 2))
    done = compiled_marker(f"training-{config.precision}-{num_layers}")
    if done is None or done.exists():
        return
    say("compiling the kernels, which is done once ...")
    code = [sys.executable, "-m", "seq2seq.training.warm_up", config.precision, num_layers]
    with contextlib.suppress(OSError):  # no more processes, or no more files
        if subprocess.run(code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            done.touch()


def _train_a_little(config: Config) -> None:
    """Every kernel that training, validation and translation call, on a model of a few numbers."""
    from minigrad import optim
    from seq2seq.decoding.search import beam_search, greedy_search
    from seq2seq.models.model import build_model, sequence_losses
    from seq2seq.sources import EncodedSplit, Ragged, make_batch

    model = build_model(_WORDS, _WORDS, config)
    optimizer = optim.Adam(model.parameters())
    for lengths in ([3, 2, 1], [3, 3, 3]):
        sentences = Ragged([4 + i % 5 for i in range(length)] for length in lengths)
        batch = make_batch(EncodedSplit(sentences, sentences), range(len(lengths)))
        for forcing in (1.0, 0.0):
            optimizer.zero_grad()
            (model.loss(batch, forcing) / batch.num_trg_tokens).backward()
            optimizer.step_clipped(1.0)
        sequence_losses(model, [batch], 1.0)
        sources = [[4, 5, 6], [5, 6]]
        greedy_search(model, sources, 3)
        beam_search(model, sources, 3, 2)


def main(arguments: Sequence[str]) -> int:
    precision, num_layers = arguments
    config = Config(precision=precision, num_layers=int(num_layers), embedding_size=8, hidden_size=8)  # type: ignore[arg-type]
    _train_a_little(config)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
