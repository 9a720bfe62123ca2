"""Threads that stand by in compiled code, so that sharing a kernel of a hundred microseconds is worth its while.

Code that steps in Python calls many small kernels. To wake a thread for one of them, and to hand it Python's lock,
costs as much as one takes. So a thread of the pool that has nothing to do looks at a board (`kernels.cpu.board`) for
some milliseconds before it sleeps, and `share` writes there what is to be done: the address of a compiled task and its
arguments. Nobody is waited for: what no helper claims the caller does itself, and helpers that sleep are called for the
next time. There is one board; a caller that finds it taken, by another thread of Python, works alone.
"""

import os
from typing import Any, NamedTuple

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from kernels import threads
from kernels.cpu.board import MOST_MEMBERS, PENDING, WORK, add, await_parts, claim, load, publish, relax, store
from kernels.cpu.jit import address_of, config, jit

# Places on the board: whether it is taken, how often the pool has called, how many stand by; then the work.
TAKEN, CALLS, WATCHING = WORK, WORK + 8, WORK + 16
TASK, FAILED, ARGUMENTS = range(WORK + 24, WORK + 27)
MOST_ARGUMENTS = 16
PATIENCE = 300_000  # looks at the board before a thread sleeps
TASK_TYPES = (types.int64[::1], types.int64)

_board = np.zeros(ARGUMENTS + MOST_ARGUMENTS, np.int64)
_addresses: dict[Any, int] = {}


class Meeting(NamedTuple):
    """What `share` must know of a task and of the threads that may take part."""

    board: np.ndarray
    task: int  # its address
    shared: bool  # whether others may take part


def meet(task: Any, parts: int) -> Meeting:
    """Call for threads that sleep, so that they take part in a task of so many parts, or in the next one.

    Args:
        task: a kernel of `jit` that takes (arguments (MOST_ARGUMENTS,) int64, part).
    """
    if task not in _addresses:
        _addresses[task] = address_of(task, TASK_TYPES)
    helpers = min(threads.spare(), parts - 1)
    absent = helpers - int(_board[WATCHING])
    if absent > 0:
        threads.wake(absent, helpers)
    return Meeting(_board, _addresses[task], helpers > 0)


@jit
def share(met: Any, arguments: Any, parts: Any) -> None:
    """task(arguments, part) for each part 0 .. parts - 1, by this thread and those that stand by.

    Args:
        met: a `Meeting`.
        arguments: (MOST_ARGUMENTS,) int64: numbers, and addresses of arrays that the caller holds.
        parts: independent of each other; at most as many as threads may work at once, or `MOST_MEMBERS`.

    Raises:
        MemoryError: a part failed, which can have no other reason.
    """
    board, task, shared = met
    done = True
    if not shared or add(board, TAKEN, 1):
        if shared:
            add(board, TAKEN, -1)
        for part in range(parts):
            done = call(task, arguments, part) and done
    else:
        board[TASK], board[FAILED] = task, 0
        for number in range(MOST_ARGUMENTS):  # as a slice it would compile Numba's message of wrong shapes
            board[ARGUMENTS + number] = arguments[number]
        publish(board, parts)
        while _do_part(board, 0):
            pass
        await_parts(board)
        done = load(board, FAILED) == 0
        add(board, TAKEN, -1)
    if not done:
        raise MemoryError("a kernel that threads share has no memory for its part")


@jit
def _watch(board: Any, member: Any, calls: Any) -> bool:
    """Do parts of what is on the board until nothing comes for a while, or the pool calls; True if it has called."""
    spins = 0
    add(board, WATCHING, 1)
    while spins < PATIENCE and load(board, CALLS) == calls:
        if _do_part(board, member):
            spins = 0
        else:
            spins += 1
            relax(spins)
    add(board, WATCHING, -1)
    return load(board, CALLS) != calls


@jit
def _do_part(board: Any, member: Any) -> bool:
    """Claim a part of what is on the board, do it and say that it is done; False if none is open."""
    part = claim(board, member)
    if part < 0:
        return False
    if not call(board[TASK], board[ARGUMENTS:], part):
        store(board, FAILED, 1)
    add(board, PENDING, -1)
    return True


class _Standby(threads.Standby):
    """What the pool's workers do before they sleep."""

    def calls(self) -> int:
        return int(_board[CALLS])

    def call(self) -> None:
        _board[CALLS] += 1

    def watch(self, member: int, calls: int) -> bool:
        return not config.DISABLE_JIT and bool(_watch(_board, member % MOST_MEMBERS, calls))


def _forget() -> None:
    """A forked child has none of the threads that may have been at the board."""
    _board[:] = 0


threads.stand_by(_Standby())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@intrinsic
def _pointer(typing_context: Any, place: Any, like: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), codegen


@intrinsic
def _call(typing_context: Any, task: Any, arguments: Any, part: Any) -> Any:
    """The compiled task(arguments, part) at an address; False if it raised."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        callee = builder.inttoptr(args[0], context.call_conv.get_function_type(types.void, TASK_TYPES).as_pointer())
        status, _ = context.call_conv.call_function(builder, callee, types.void, TASK_TYPES, args[1:])
        return status.is_ok

    return types.boolean(types.int64, *TASK_TYPES), codegen


call: Any = _call
pointer: Any = _pointer


@jit
def array_at(place: Any, shape: Any, like: Any) -> Any:
    """The array of this shape, and of the dtype of `like`, at an address."""
    return carray(pointer(place, like), shape)
