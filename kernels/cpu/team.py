"""Several threads at one recurrence, without leaving compiled code.

A recurrence over few rows streams its matrices past them at every step, and one core cannot read as fast as several.
So one thread, the leader, goes through the steps, and the columns of its products are cut into a part for each member
of a team: the leader and helpers, who wait at a board for products in a loop (`help_leader`, `kernels.cpu.board`).

No sum is cut, and a column's bits do not depend on the columns beside it, so nor do the results on who does what.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.board import (
    GONE,
    MOST_MEMBERS,
    OPEN,
    PENDING,
    WORK,
    add,
    await_parts,
    claim,
    load,
    publish,
    relax,
)
from kernels.cpu.jit import jit
from kernels.cpu.panels import panel_columns
from kernels.cpu.product import multiply_rows_as, slot_of, workspace
from kernels.threads import get_num_threads, run

AT, STRIDE, ROWS, START, STOP, DEPTH, COLUMNS, OUT_AT, LDC, MORE = range(10)  # of a product, see `multiply`
FIELDS = 10
LEAST_WEIGHTS = 1 << 17  # numbers of a matrix that a member should have; with fewer, meeting costs more than it saves


class Team(NamedTuple):
    """The arrays of all products of one recurrence, flat, and where the members meet.

    The panels are called what the numbers are, float32 or float64, whatever they hold, and the slot says what that is:
    so what goes through the steps is compiled once for all forms of weights.
    """

    board: np.ndarray  # (WORK + FIELDS,) int64
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
    return Team(np.zeros(WORK + FIELDS, np.int64), source.reshape(-1), numbers, out.reshape(-1), a, slot_of(panels))


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
        board[WORK + field] = value
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
    part, product = claim(team.board, member), team.board[WORK:]
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
