"""``python -m seq2seq.gradcheck --config FILE``: the gradients of your own model against finite differences.

Builds the model of a configuration (the options are those of ``seq2seq.train``) in float64 with its dropout, teacher
forcing and label smoothing, and checks the gradient of the training loss on a random batch: along 50 random directions
through all parameters together, and along some through each parameter alone. Vocabularies are cut to a few dozen
words, since a word that is not in the batch has no gradient to check.
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("gradcheck"))

import dataclasses
from collections.abc import Sequence

import numpy as np

from minigrad import Tensor, random
from minigrad.gradcheck import GradcheckReport, gradcheck_module
from seq2seq.models.model import build_model
from seq2seq.run import registry, settings
from seq2seq.run.cli import limit_threads, run_command
from seq2seq.run.config import Config
from seq2seq.run.devices import require
from seq2seq.sources import Batch, EncodedSplit, TextSource
from seq2seq.training import memory

_SRC_WORDS, _TRG_WORDS = 29, 31
_UNKNOWN_WORDS = 20  # that a decoder may only copy
_SENTENCE_LENGTHS = (5, 1, 3, 4)


def random_batch(config: Config) -> Batch:
    """Pairs of unequal lengths and random tokens, a function of the seed."""
    rng, source = np.random.default_rng(config.seed), registry.build("source", config)
    unknown = _UNKNOWN_WORDS if registry.reads(config).copies else 0
    src_words, trg_words = (words + unknown for words in _vocab_sizes(config))
    src = source.random_items(rng, rng.permutation(_SENTENCE_LENGTHS).tolist(), src_words)
    trg = TextSource().random_items(rng, rng.permutation(_SENTENCE_LENGTHS).tolist(), trg_words)
    return source.batch(EncodedSplit(src, trg), range(len(_SENTENCE_LENGTHS)))


def _vocab_sizes(config: Config) -> tuple[int, int]:
    return (_TRG_WORDS if config.share_vocab else _SRC_WORDS), _TRG_WORDS


def check_model(config: Config, num_directions: int = 50, directions_per_parameter: int = 2) -> GradcheckReport:
    """The report for the model of ``config``; a row for all parameters together and one for each.

    UserError where the machine has not got the memory for such a model.
    """
    config = dataclasses.replace(config, precision="fp64")
    memory.require_fit(memory.before_steps(config, _vocab_sizes(config)), len(_SENTENCE_LENGTHS))
    model = build_model(*_vocab_sizes(config), config)
    batch = random_batch(config)

    def loss() -> Tensor:
        random.seed_step(config.seed, 0)  # the same dropout masks and forced steps in every evaluation
        return model.loss(batch, config.teacher_forcing_ratio, config.label_smoothing) / batch.num_trg_tokens

    model.train()
    counts = {"num_directions": num_directions, "directions_per_parameter": directions_per_parameter}
    return gradcheck_module(loss, model.named_parameters(), **counts, raise_exception=False)


def gradcheck(arguments: Sequence[str] | None = None) -> int:
    """Check as the command line says; the exit code: 0 if all gradients are right, else 1."""
    config = settings.parse(arguments, "gradcheck")
    require(config.device, config.precision)
    limit_threads(config.threads)
    report = check_model(config)
    print(report)
    return 0 if report else 1


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(gradcheck, arguments)
