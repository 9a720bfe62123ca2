"""What stands beside the engine, under PyTorch's names: data sets and their batches."""

from typing import TYPE_CHECKING

from minigrad.missing import for_module as _for_module
from minigrad.utils import data

__all__ = ["data"]

if not TYPE_CHECKING:  # a checker would take every name for known
    __getattr__ = _for_module(__name__)
