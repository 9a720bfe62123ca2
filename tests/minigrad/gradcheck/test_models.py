"""Whole models through ``gradcheck_module``, and the command ``python -m minigrad.gradcheck``."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import ops
from minigrad.gradcheck import GradcheckError, gradcheck_module
from minigrad.gradcheck.__main__ import check_case, main
from minigrad.ops.op_case import OpCase, Sample, normal
from minigrad.tensor import Tensor


class TwoLayers:
    """tanh(x W1 + b) W2 with a squared loss; ``frozen`` is not trained, ``unused`` has no influence."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x, self.target = Tensor(rng.standard_normal((5, 3))), Tensor(rng.standard_normal((5, 2)))
        shapes = {"first": (4, 3), "bias": (4,), "second": (2, 4), "unused": (3,)}
        self.parameters = {n: Tensor(rng.standard_normal(s), requires_grad=True) for n, s in shapes.items()}
        self.parameters["frozen"] = Tensor(rng.standard_normal(2))

    def loss(self) -> Tensor:
        p = self.parameters
        hidden = ops.tanh(ops.linear(self.x, p["first"], p["bias"]))
        error = ops.linear(hidden, p["second"], p["frozen"]) - self.target
        return (error * error).mean()


def test_a_model_passes_with_a_row_per_trained_parameter(count_case):
    model = TwoLayers()
    before = {name: p.array.copy() for name, p in model.parameters.items()}
    report = gradcheck_module(model.loss, model.parameters.items())
    assert [row.name for row in report.rows] == ["all parameters", "first", "bias", "second", "unused"]
    assert all(row.relative_error < 1e-7 for row in report.rows)
    for name, parameter in model.parameters.items():
        np.testing.assert_array_equal(parameter.array, before[name])
        assert parameter.grad is None
    count_case()


def test_a_parameter_cut_from_the_tape_fails_in_its_row_and_in_the_joint_one():
    model = TwoLayers()

    def loss():
        return model.loss() + (model.parameters["bias"].detach() * 0.01).sum()

    report = gradcheck_module(loss, model.parameters.items(), raise_exception=False)
    assert {row.name for row in report.rows if not row.passed} == {"all parameters", "bias"}
    with pytest.raises(GradcheckError, match="bias"):
        gradcheck_module(loss, model.parameters.items())


def test_float32_parameters_are_refused():
    weight = Tensor(np.zeros(2, np.float32), requires_grad=True)
    with pytest.raises(ValueError, match="weight has dtype float32; expected float64"):
        gradcheck_module(lambda: weight.sum(), [("weight", weight)])


def test_the_command_passes_for_some_ops(capsys):
    assert main(["matmul", "setitem", "--samples", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["op", "worst", "relative", "error"]
    assert [line.split()[0] for line in lines[1:4]] == ["setitem", "setitem[advanced]", "matmul"]
    assert lines[4].startswith("3 of 3 passed, 3 samples each")


def test_the_command_fails_for_a_wrong_op(capsys, monkeypatch):
    wrong = OpCase("tanh", lambda x: ops.tanh(x).detach() + x, np.tanh, lambda rng, dims: Sample((normal(rng, dims),)))
    monkeypatch.setitem(main.__globals__, "OP_TABLE", (wrong,))
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert "0 of 1 passed" in out


def test_the_command_refuses_unknown_ops(capsys):
    with pytest.raises(SystemExit) as error:
        main(["matmull"])
    assert error.value.code == 2
    assert "no such op: matmull" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--samples", "--seed"])
@pytest.mark.parametrize("value", ["-1", "x", "1.5", "", "9" * 30, "9" * 5000, "\u0661"])
def test_numbers_have_ranges_and_mistakes_are_one_line(capsys, option, value):
    with pytest.raises(SystemExit) as error:
        main([f"{option}={value}"])
    assert error.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: argument {option}: ")
    assert (line.count("\n"), len(line) < 200) == (1, True)


def test_no_samples_are_no_check(capsys):
    with pytest.raises(SystemExit):
        main(["--samples", "0"])
    assert capsys.readouterr().err == "error: argument --samples: '0'; expected a whole number, 1 to 10000\n"


def test_an_op_that_raises_is_a_failed_row():
    def broken(x):
        raise ArithmeticError("no luck")

    row = check_case(OpCase("broken", broken, np.tanh, lambda rng, dims: Sample((normal(rng, dims),))), 2, 0)
    assert not row.passed
    assert "sample 0 raised ArithmeticError: no luck" in row.detail


def test_a_problem_without_a_row_fails_the_op():
    case = OpCase("dropout", lambda x: ops.dropout(x, 0.5), np.copy, lambda rng, dims: Sample((normal(rng, (99,)),)))
    row = check_case(case, 1, 0)
    assert not row.passed
    assert "not deterministic" in row.detail
