"""One counter-based stream for everything that is drawn: initialisation, dropout, sampling.

A draw is keyed by (seed, step, site): the run's seed, the training step, and the number of the draw inside that step.
Nothing else is state, so masks do not depend on threads or backends, and a run resumed at step n draws what the
uninterrupted run drew at step n. As in PyTorch the stream is one for all threads: no two draws have the same key, but
which thread draws which one is up to their order. The generator is Philox (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kernels import ProcessLock
from minigrad.missing import for_module as _for_module


class State(NamedTuple):
    """Where the stream stands: all of it, so saving these three integers saves the generator."""

    seed: int
    step: int
    site: int


_state = State(0, 0, 0)
_changing = ProcessLock()


def manual_seed(seed: int) -> None:
    """Restart the stream: the same seed gives the same draws. ``seed``: any integer, taken modulo 2**64."""
    seed_step(seed, 0)


def seed_step(seed: int, step: int) -> None:
    """Place the stream at the first draw of training step ``step``.

    Raises:
        TypeError: a seed or a step that is no integer.
    """
    for name, number in (("seed", seed), ("step", step)):
        if not hasattr(number, "__index__") or np.ndim(number):
            raise TypeError(f"manual_seed: {name} is {number!r}; expected an integer")
    seed, step = int(seed), int(step)
    set_state(State(seed % 2**64, step, 0))


def get_state() -> State:
    """Where the stream stands, for ``set_state``."""
    return _state


def set_state(state: State) -> None:
    """Put the stream where ``get_state`` found it: the same draws follow."""
    if not isinstance(state, tuple | list) or len(state) != len(State._fields):
        raise TypeError(f"set_state: state is {state!r}; expected what get_state() returned")
    global _state
    with _changing.held:
        _state = State(*state)


def next_key() -> State:
    """The key of the next draw; every call gives another one."""
    global _state
    with _changing.held:
        key = _state
        _state = State(key.seed, key.step, key.site + 1)
    return key


def generator() -> np.random.Generator:
    """A NumPy generator for one draw of host numbers (initialisation, shuffling)."""
    seed, step, site = next_key()
    return np.random.Generator(np.random.Philox(key=[seed, (step << 32) | site]))


if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
