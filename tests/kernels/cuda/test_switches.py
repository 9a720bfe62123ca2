"""Switches are set for a while, whatever happens meanwhile."""

from __future__ import annotations

import pytest

from kernels.cuda.runtime.switches import switched, switches


def fails() -> None:
    with switched(persistent=False, marked=True):
        assert (switches.persistent, switches.marked) == (False, True)
        with switched():
            switches.step_graphs = False  # as where a device refuses a graph
        assert (switches.persistent, switches.step_graphs) == (False, True)
        raise ZeroDivisionError


def test_they_are_put_back() -> None:
    before = vars(switches).copy()
    with pytest.raises(ZeroDivisionError):
        fails()
    assert vars(switches) == before


def test_an_unknown_one_is_an_error() -> None:
    with pytest.raises(TypeError, match="fast"), switched(fast=True):
        pass
