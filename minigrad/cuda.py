"""``torch.cuda``'s questions, so that code which asks before it uses a GPU runs unchanged; the answer is no GPU."""

from __future__ import annotations


def is_available() -> bool:
    """Whether tensors can live on a GPU: not in this version."""
    return False


def device_count() -> int:
    """The number of usable GPUs: none."""
    return 0


def manual_seed_all(seed: int) -> None:
    """Nothing to seed: minigrad has one counter-based stream for all devices (``minigrad.manual_seed``)."""


manual_seed = manual_seed_all


def synchronize() -> None:
    """Nothing to wait for on the CPU."""


def empty_cache() -> None:
    """Nothing is cached on the CPU."""
