"""Settings that mean something only beside certain values of another one: given beside others they are a mistake."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from seq2seq.run.config import BASE, Config
from seq2seq.run.errors import UserError

DEFAULTS = {field.name: field.default for field in BASE}

# The setting, the one it belongs to, and with which values of that; with () any but its default.
BELONGS_TO: dict[str, tuple[str, tuple[str, ...]]] = {
    "subword_alpha": ("subword_model", ("unigram",)),
    "subword_nbest": ("subword_alpha", ()),
    "bpe_dropout": ("subword_model", ("bpe",)),
    "momentum": ("optimizer", ("sgd",)),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "adam_eps"), ("optimizer", ("adam", "adamw"))),
    "exclude_from_weight_decay": ("weight_decay", ()),
    "lr_steps": ("lr_schedule", ("cosine", "step", "exponential")),
    "lr_factor": ("lr_schedule", ("step", "exponential", "plateau")),
    "lr_patience": ("lr_schedule", ("plateau",)),
    "min_lr": ("lr_schedule", ("cosine", "step", "exponential", "plateau")),
    "forcing_end": ("forcing_decay", ("linear", "exponential", "inverse-sigmoid")),
    "forcing_steps": ("forcing_decay", ("linear", "exponential", "inverse-sigmoid")),
}


def check(config: Config, given: Collection[str] | None = None) -> None:
    """UserError for a setting that would do nothing, since it belongs to another choice.

    Args:
        given: of which settings alone that is a mistake; by default of all.
    """
    for name in _idle(config):
        if given is not None and name not in given:
            continue
        owner, values = BELONGS_TO[name]
        belongs = f"{name} belongs to {owner}" + (f" {' or '.join(values)}" if values else "")
        raise UserError(f"{belongs}; this run has {owner + ' ' + str(getattr(config, owner)) if values else 'none'}")


def left_behind(former: Config, config: Config, given: Collection[str]) -> dict[str, Any]:
    """The settings that belong to a choice which is another one than before, with their defaults, unless given: a run
    that goes on by another schedule leaves the speed of the former one behind."""
    return {
        name: DEFAULTS[name]
        for name, (owner, values) in BELONGS_TO.items()
        if values and name not in given and getattr(config, owner) != getattr(former, owner)
    }


def _idle(config: Config) -> Iterator[str]:
    """The settings that are not as by default although they do nothing."""
    for name, (owner, values) in BELONGS_TO.items():
        found = getattr(config, owner)
        if getattr(config, name) != DEFAULTS[name] and (found not in values if values else found == DEFAULTS[owner]):
            yield name
