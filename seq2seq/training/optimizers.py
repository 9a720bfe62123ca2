"""The optimisers that a run may choose, by ``optimizer``: those of ``minigrad.optim`` with the run's settings.

Sources: docs/training.md.
"""

from __future__ import annotations

from typing import Any

from minigrad import nn, optim
from seq2seq.run.config import Config


def build_optimizer(config: Config, model: nn.Module) -> optim.Optimizer:
    """The optimiser of ``config`` for a model's parameters, at its learning rate before any schedule."""
    groups = _groups(config, model)
    if config.optimizer == "sgd":
        return optim.SGD(groups, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = optim.AdamW if config.optimizer == "adamw" else optim.Adam
    betas = config.adam_beta1, config.adam_beta2
    return kind(groups, config.lr, betas, config.adam_eps, config.weight_decay)


def _groups(config: Config, model: nn.Module) -> list[dict[str, Any]]:
    """The parameters that the weight decay is for, and where some are excluded, those without one."""
    parameters, excluded = list(model.parameters()), config.exclude_from_weight_decay
    if excluded == "none":
        return [{"params": parameters}]
    without = {id(parameter) for parameter in parameters if parameter.ndim < 2}
    if excluded == "vectors-and-embeddings":
        without |= {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decayed, others = ([p for p in parameters if (id(p) in without) == is_out] for is_out in (False, True))
    return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]


def numbers_kept(config: Config) -> int:
    """How many numbers the optimiser keeps for each weight: Adam's two moments, or a velocity."""
    if config.optimizer == "sgd":
        return 1 if config.momentum else 0
    return 2
