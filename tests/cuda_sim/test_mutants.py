"""Are the tests of the kernels sharp? Each mutant of mutants.py is noticed; the kernels as they are raise no alarm."""

from __future__ import annotations

import re

import mutants
import pytest
from harness import MACHINE, Rig, sources
from mutants import CHECKS, STATEMENT, SYNCHRONISED, Mutant

from kernels.cuda import SOURCE_FOLDER

MUTANTS = list(mutants.mutants())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: re.sub(r"[^\w.:+*<=>-]+", "_", mutant.name))
def test_a_mutant_is_noticed(rig: Rig, mutant: Mutant) -> None:
    letters = mutants.run(mutant, until_noticed=True)
    assert set(letters) - {"."}, f"no schedule notices: {mutant.name}"


@pytest.mark.parametrize("check", CHECKS)
def test_no_false_alarm(rig: Rig, check: str) -> None:
    assert mutants.noticed(SOURCE_FOLDER, check, 5) == "."


def test_a_kernel_without_a_mistake_passes(rig: Rig) -> None:
    """In the process of its own, too: nothing but the mistake makes a mutant fail."""
    source = "runtime/column_sums.cu"
    letters = mutants.run(Mutant("none", source, sources()[source], "sums"), until_noticed=True)
    assert letters == "." * len(mutants.SCHEDULES)


def test_every_statement_has_its_mutants() -> None:
    counts = {name: len(STATEMENT.findall(text)) for name, text in sources().items() if name != MACHINE}
    synchronised = {name for name, count in counts.items() if count}
    assert synchronised == set(SYNCHRONISED)
    removed = {mutant.text for mutant in MUTANTS if mutant.name.startswith("no ")}
    assert len(removed) == sum(counts.values()) > 30
