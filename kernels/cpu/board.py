"""A board at which threads meet without leaving compiled code: one piece of work in parts, for whoever comes to claim.

    who has the work                                    who helps
      write on the board what it is
      publish it: all parts are open, all are pending     wait until a part is open
      claim a part and do it, until none is open          claim a part and do it
      wait until none is pending                          one less is pending

A claim is one atomic step: it clears the bit of an open part, and only who found it set has the part. What is on the
board is replaced when all its parts are done, so whoever has a part may read it, and a claim that comes late is a claim
of the next work. Each thread asks for the same part first, which its caches may hold from the work before.

Who has the work waits for parts that are claimed, never for a helper to come.
"""

import os
import threading
import time
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.jit import config, jit

OPEN, PENDING, WORK = 0, 8, 16  # places on the board; the bits of open parts, the number pending, then the work
GONE = -(1 << 63)  # in the place of open parts: no bit of a part, and negative
MOST_MEMBERS = 62
SPINS = 2000  # looks at the board after which the core is offered to others, who may be the ones waited for


@jit
def publish(board: np.ndarray, parts: int) -> None:
    """Open the parts of what is on the board."""
    store(board, PENDING, parts)
    store(board, OPEN, (1 << parts) - 1)


@jit
def claim(board: np.ndarray, member: int) -> int:
    """The number of a part that is now the caller's to do, the member's own one if it is open; -1 if none is."""
    parts = load(board, OPEN)
    while parts > 0:
        part = member
        while not (parts >> part) & 1:
            part = (part + 1) % (MOST_MEMBERS + 1)
        parts = close(board, OPEN, 1 << part)
        if (parts >> part) & 1:
            return part
    return -1


@jit
def await_parts(board: np.ndarray) -> None:
    """Wait until all parts are done; RuntimeError if a helper failed at one."""
    spins = 0
    while load(board, PENDING) > 0:
        if load(board, OPEN) < 0:
            raise RuntimeError("a thread failed at its part of a product")
        spins += 1
        relax(spins)


@jit
def relax(spins: int) -> None:
    """Between two looks at the board: the core's other thread goes first, now and then any other."""
    pause()
    if spins % SPINS == 0:
        offer_core()


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Pointer to board[place], the first two arguments."""
    board = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(board.data, [args[1]])


@intrinsic
def _load(typing_context: Any, board: Any, place: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, args), "acquire", 8)

    return types.int64(board, types.intp), codegen


@intrinsic
def _store(typing_context: Any, board: Any, place: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _place(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(board, types.intp, types.int64), codegen


@intrinsic
def _add(typing_context: Any, board: Any, place: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _place(context, builder, signature, args), args[2], "acq_rel")

    return types.int64(board, types.intp, types.int64), codegen


@intrinsic
def _close(typing_context: Any, board: Any, place: Any, bit: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("and", _place(context, builder, signature, args), builder.not_(args[2]), "acq_rel")

    return types.int64(board, types.intp, types.int64), codegen


def _call_void(builder: Any, name: str, result: ir.Type, *arguments: Any) -> None:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), arguments)


@intrinsic
def _pause(typing_context: Any) -> Any:
    """The processor's hint that this is a waiting loop, where LLVM has a name for it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        family = binding.get_default_triple().split("-")[0]
        if family in ("x86_64", "i686"):
            _call_void(builder, "llvm.x86.sse2.pause", ir.VoidType())
        elif family in ("aarch64", "arm64"):
            _call_void(builder, "llvm.aarch64.hint", ir.VoidType(), ir.IntType(32)(1))
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _offer_core(typing_context: Any) -> Any:
    """sched_yield, where the system has it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if hasattr(os, "sched_yield"):
            _call_void(builder, "sched_yield", ir.IntType(32))
        return context.get_dummy_value()

    return types.void(), codegen


_one_at_a_time = threading.Lock()


def _load_in_python(board: np.ndarray, place: int) -> int:
    return int(board[place])


def _store_in_python(board: np.ndarray, place: int, value: int) -> None:
    with _one_at_a_time:
        board[place] = value


def _add_in_python(board: np.ndarray, place: int, value: int) -> int:
    """board[place] += value; returns what it held before."""
    with _one_at_a_time:
        before = int(board[place])
        board[place] = before + value
    return before


def _close_in_python(board: np.ndarray, place: int, bit: int) -> int:
    """Clear a bit of board[place]; returns what it held before."""
    with _one_at_a_time:
        before = int(board[place])
        board[place] = before & ~bit
    return before


def _wait_in_python() -> None:
    time.sleep(0)


load: Any = _load_in_python if config.DISABLE_JIT else _load
store: Any = _store_in_python if config.DISABLE_JIT else _store
add: Any = _add_in_python if config.DISABLE_JIT else _add
close: Any = _close_in_python if config.DISABLE_JIT else _close
pause: Any = _wait_in_python if config.DISABLE_JIT else _pause
offer_core: Any = _wait_in_python if config.DISABLE_JIT else _offer_core
