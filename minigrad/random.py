"""One counter-based stream for everything that is drawn: initialisation, dropout, sampling.

A draw is keyed by (seed, step, site): the run's seed, the training step, and the number of the draw inside that step.
Nothing else is state, so masks do not depend on threads or backends, and a run resumed at step n draws what the
uninterrupted run drew at step n. As in PyTorch the stream is one for all threads: no two draws have the same key, but
which thread draws which one is up to their order. The generator is Philox (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kernels import ProcessLock
from minigrad.device import device as Device
from minigrad.missing import for_module as _for_module
from minigrad.naming import described


class State(NamedTuple):
    """Where the stream stands: all of it, so saving these three integers saves the generator."""

    seed: int
    step: int
    site: int


_LIMITS = State(2**64, 2**32, 2**32)  # what the key of a draw has room for
_changing = ProcessLock()


class Generator:
    """A stream of draws, to be given as ``generator=``; everything that is given none draws from ``default_generator``.

    Args:
        device: "cpu": everything is drawn on the host.
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = Device(device)
        if self.device.type != "cpu":
            raise RuntimeError(f"Generator: device is {self.device}; expected cpu: everything is drawn on the host")
        self._state = State(0, 0, 0)

    def manual_seed(self, seed: int) -> Generator:
        """Restart the stream; returns self. ``seed``: any integer, taken modulo 2**64."""
        return self.seed_step(seed, 0)

    def seed_step(self, seed: int, step: int) -> Generator:
        """Place the stream at the first draw of training step ``step``; returns self."""
        for name, number in (("seed", seed), ("step", step)):
            if not hasattr(number, "__index__") or np.ndim(number):
                raise TypeError(f"manual_seed: {name} is {number!r}; expected an integer")
        if not 0 <= int(step) < _LIMITS.step:
            raise ValueError(f"seed_step: step is {step!r}; expected an integer from 0 to {_LIMITS.step - 1}")
        self.set_state(State(int(seed) % _LIMITS.seed, int(step), 0))
        return self

    def seed(self) -> int:
        """Restart the stream with a seed from the system; returns it."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self.initial_seed()

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return self._state.seed

    def get_state(self) -> State:
        """Where the stream stands, for ``set_state``."""
        return self._state

    def set_state(self, state: State) -> None:
        """Put the stream where ``get_state`` found it: the same draws follow."""
        if not isinstance(state, tuple | list) or len(state) != len(State._fields):
            raise TypeError(f"set_state: state is {state!r}; expected what get_state() returned")
        for name, value, limit in zip(State._fields, state, _LIMITS, strict=True):
            if not isinstance(value, int | np.integer) or not 0 <= value < limit:
                raise ValueError(f"set_state: {name} is {value!r}; expected an integer from 0 to {limit - 1}")
        with _changing.held:
            self._state = State(*map(int, state))

    def next_key(self) -> State:
        """The key of the next draw; every call gives another one."""
        with _changing.held:
            key = self._state
            self._state = State(key.seed, key.step, key.site + 1)
        return key


default_generator = Generator()
seed_step = default_generator.seed_step
seed = default_generator.seed
initial_seed = default_generator.initial_seed
get_state = default_generator.get_state
set_state = default_generator.set_state
next_key = default_generator.next_key
manual_seed = default_generator.manual_seed


def generator(stream: Generator | None = None) -> np.random.Generator:
    """A NumPy generator for one draw of host numbers (initialisation, shuffling), of ``stream`` or of all's."""
    if stream is not None and not isinstance(stream, Generator):
        raise TypeError(f"generator is {described(stream)}; expected a minigrad.Generator")
    seed, step, site = (default_generator if stream is None else stream).next_key()
    return np.random.Generator(np.random.Philox(key=[seed, (step << 32) | site]))


if not TYPE_CHECKING:  # a checker would take every name for known
    __path__: list[str] = []  # or ``from ... import`` would not ask on for a name that is not here
    __getattr__ = _for_module(__name__)
