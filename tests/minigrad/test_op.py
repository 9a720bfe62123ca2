"""An op is named in one place: the lines that the documents add to one file give function, method, row and check."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad
from minigrad import ops
from minigrad.ops.op import CASES, METHODS, OPS, unary

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "autograd.md").read_text(encoding="utf-8")
USE = """
import minigrad, inspect
x = minigrad.tensor([-2.0, 0.0, 800.0], requires_grad=True)
print(minigrad.softplus(input=x))
x.softplus().sum().backward()
print(x.grad)
print(minigrad.softplus.__doc__)
from minigrad.gradcheck.__main__ import main
main(["softplus"])
try:
    minigrad.softplus(None)
except TypeError as error:
    print(error)
"""


@pytest.fixture
def engine_with_softplus(tmp_path: Path) -> Path:
    """A copy of the engine, with the lines of the documents at the end of the file that they name."""
    pattern = r"## Adding an operation.*?`(?P<file>minigrad/\S+)`.*?```python\n(?P<lines>.*?)```"
    found = re.search(pattern, PAGE, re.DOTALL)
    assert found
    shutil.copytree(ROOT / "minigrad", tmp_path / "minigrad", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / found["file"]).open("a", encoding="utf-8") as source:
        source.write("\n\n" + found["lines"])
    return tmp_path


def test_one_edit_in_one_file_is_an_op(engine_with_softplus: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(engine_with_softplus), str(ROOT)])}
    command = [sys.executable, "-W", "error", "-c", USE]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=engine_with_softplus)
    assert result.returncode == 0, result.stderr
    values, grad, doc, *table, refusal = result.stdout.splitlines()
    assert values == "tensor([1.2693e-01, 6.9315e-01, 8.0000e+02], grad_fn=<Softplus>)"
    assert grad == "tensor([0.1192, 0.5   , 1.    ])"
    assert doc.startswith("log(1 + e**x), a smooth relu")
    assert table[-1].startswith("1 of 1 passed")
    assert refusal == "softplus: x is None; expected a tensor or a number"


def test_what_is_offered_is_what_is_named() -> None:
    assert list(OPS) == ops.__all__
    assert [name for name in OPS if getattr(minigrad, name) is not OPS[name]] == []
    assert [name for name, method in METHODS.items() if getattr(minigrad.Tensor, name) is not method] == []
    assert [name for name in METHODS if name not in OPS and not name.endswith("_")] == [
        "register_hook", "retain_grad", "to", "type", "type_as", "cpu", "cuda", "contiguous", "new_tensor", "new_full",
        "new_zeros", "new_ones",
    ]  # fmt: skip
    assert {case.function for case in CASES} <= set(OPS)


@pytest.mark.parametrize(("name", "kept"), [("exp", 1), ("neg", 0), ("log", 1)])
def test_only_what_the_derivative_names_is_kept(name: str, kept: int) -> None:
    x = minigrad.tensor([0.5, 2.0], requires_grad=True)
    y = getattr(x, name)()
    saved = y.grad_fn.ctx.saved
    assert len(saved) == kept
    assert all(array is (x if name == "log" else y).array for array in saved)


def test_a_derivative_names_only_x_and_y() -> None:
    with pytest.raises(TypeError, match="the derivative reads x, z; expected x, y, both or none"):
        unary(lambda grad, x, z: grad * x * z, oracle=abs)
