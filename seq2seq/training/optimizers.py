"""The optimisers that a run may choose, by ``optimizer``: those of ``minigrad.optim`` with the run's settings.

Sources: docs/training.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from minigrad import Tensor, optim
from seq2seq.run.config import Config


def build_optimizer(config: Config, parameters: Iterable[Tensor]) -> optim.Optimizer:
    """The optimiser of ``config`` for these parameters, at its learning rate before any schedule."""
    if config.optimizer == "sgd":
        return optim.SGD(parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    betas = config.adam_beta1, config.adam_beta2
    return kind(parameters, config.lr, betas, config.adam_eps, config.weight_decay)


def numbers_kept(config: Config) -> int:
    """How many numbers the optimiser keeps for each weight: Adam's two moments, or a velocity."""
    if config.optimizer == "sgd":
        return 1 if config.momentum else 0
    return 2
