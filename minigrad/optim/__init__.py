"""Optimisers and learning-rate schedules with PyTorch's names, defaults and update formulas."""

from typing import TYPE_CHECKING

from minigrad.missing import for_module as _for_module
from minigrad.optim import lr_scheduler
from minigrad.optim.adam import Adam, AdamW
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.rmsprop import RMSprop
from minigrad.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]

if not TYPE_CHECKING:  # a checker would take every name for known
    __getattr__ = _for_module(__name__)
