"""Several threads at one recurrence, without leaving compiled code.

A recurrence over few rows streams its matrices past them at every step, and one core cannot read as fast as several.
So one thread, the leader, goes through the steps, and the columns of its products are cut into a part for each member
of a team: the leader and helpers, who wait for products in a loop (`help_leader`):

    leader                                              helper
      write the product on the board
      publish it: all parts are open, all are pending     wait until a part is open, or the leader is gone
      claim a part and do it, until none is open          claim a part and do it
      wait until none is pending                          one less is pending

A claim is one atomic step: it clears the bit of an open part, and only who found it set has the part. A product is
replaced on the board when all its parts are done, so whoever has a part may read it, and a claim that comes late is a
claim of the next product. Each member asks for the same part first, which its caches may hold from the step before.

The leader waits for parts that are claimed, never for a helper to come. No sum is cut, and a column's bits do not
depend on the columns beside it, so nor do the results on who does what.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.jit import config, jit
from kernels.cpu.panels import panel_columns
from kernels.cpu.product import multiply_rows_as, slot_of, workspace
from kernels.threads import get_num_threads, run

OPEN, PENDING, PRODUCT = 0, 8, 16  # places on the board; the bits of open parts, the number pending, then the product
AT, STRIDE, ROWS, START, STOP, DEPTH, COLUMNS, OUT_AT, LDC, MORE = range(10)  # of a product, see `multiply`
FIELDS = 10
GONE = -(1 << 63)  # in the place of open parts: no bit of a part, and negative
MOST_MEMBERS = 62
SPINS = 2000  # looks at the board after which the core is offered to others, who may be the ones waited for
LEAST_WEIGHTS = 1 << 17  # numbers of a matrix that a member should have; with fewer, meeting costs more than it saves


class Team(NamedTuple):
    """The arrays of all products of one recurrence, flat, and where the members meet.

    The panels are called what the numbers are, float32 or float64, whatever they hold, and the slot says what that is:
    so what goes through the steps is compiled once for all forms of weights.
    """

    board: np.ndarray  # (PRODUCT + FIELDS,) int64
    source: np.ndarray  # holds the left-hand sides
    panels: np.ndarray  # holds the matrices
    out: np.ndarray  # holds the results
    a: np.ndarray  # (members, .) work space for `multiply_rows_as`
    slot: int  # see `multiply_rows_as`


class Rows(NamedTuple):
    """Rows of a matrix that lies in a flat array."""

    at: Any  # where the first begins
    stride: int  # from one to the next
    size: int  # how many


class Matrix(NamedTuple):
    """A `Prepacked` among the panels of a team, in elements of these."""

    start: Any
    stop: int
    depth: int
    columns: int


def team_size(weights: int) -> int:
    """Members that a recurrence over few rows is worth; weights: the numbers of its smallest large matrix."""
    return max(1, min(get_num_threads(), weights // LEAST_WEIGHTS, MOST_MEMBERS))


def make_team(source: np.ndarray, panels: np.ndarray, out: np.ndarray, rows: int, depth: int, members: int = 1) -> Team:
    """A team for products of up to `rows` rows with up to `depth` numbers each."""
    a, numbers = np.empty((members, workspace(rows, depth)), source.dtype), panels.view(source.dtype)
    return Team(np.zeros(PRODUCT + FIELDS, np.int64), source.reshape(-1), numbers, out.reshape(-1), a, slot_of(panels))


def run_teams(work: Callable[[int, Team], None], teams: Sequence[Team]) -> None:
    """work(number, team) for each team, by its leader; all teams and members at the same time."""
    leaders = len(teams)
    helping = [(team, member) for team in teams for member in range(1, len(team.a))]

    def task(number: int) -> None:
        team, member = (teams[number], 0) if number < leaders else helping[number - leaders]
        try:
            if number < leaders:
                work(number, team)
                team.board[OPEN] = GONE
            help_leader(team, member)  # a leader finds itself gone; it is compiled together with the rest all the same
        finally:
            team.board[OPEN] = GONE  # where a member has failed, nobody must wait for its part

    run(task, leaders + len(helping))


@jit
def multiply(team: Any, rows: Rows, matrix: Matrix, out: Rows, more: bool) -> None:
    """The leader's call: out (+)= rows of the source times a matrix, by all members.

    Args:
        rows: of the team's source.
        matrix: of the team's panels.
        out: of the team's results.
        more: add to the result instead of overwriting it.
    """
    board, (at, stride, count), (start, stop, depth, columns) = team.board, rows, matrix
    if len(team.a) == 1:
        multiply_rows_as(
            team.slot, team.source, False, at, stride, count, team.a[0], team.panels[start:stop], depth,
            columns, 0, columns, team.out, out.at, out.stride, more,
        )  # fmt: skip
        return
    for field, value in enumerate((at, stride, count, start, stop, depth, columns, out.at, out.stride, int(more))):
        board[PRODUCT + field] = value
    publish(board, len(team.a))
    while do_part(team, 0):
        pass
    await_parts(board)


@jit
def help_leader(team: Any, member: int) -> None:
    """A helper's call: do parts until the leader is gone."""
    spins = 0
    while load(team.board, OPEN) >= 0:
        if do_part(team, member):
            spins = 0
        else:
            spins += 1
            relax(spins)


@jit
def do_part(team: Any, member: Any) -> bool:
    """Claim a part of the product on the board, compute it and say that it is done; False if none is open."""
    part, product = claim(team.board, member), team.board[PRODUCT:]
    if part < 0:
        return False
    columns, width, parts = product[COLUMNS], panel_columns(team.panels), len(team.a)
    panels = (columns + width - 1) // width
    first, last = part * panels // parts * width, min((part + 1) * panels // parts * width, columns)
    multiply_rows_as(
        team.slot, team.source, False, product[AT], product[STRIDE], product[ROWS], team.a[member],
        team.panels[product[START] : product[STOP]], product[DEPTH], columns, first, last,
        team.out, product[OUT_AT], product[LDC], product[MORE] != 0,
    )  # fmt: skip
    add(team.board, PENDING, -1)
    return True


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
