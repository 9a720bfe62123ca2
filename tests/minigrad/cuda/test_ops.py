"""Every op of the table on a GPU: the values and gradients of the host, the same refusals."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, manual_seed
from minigrad.gradcheck import GradcheckError, gradcheck
from minigrad.gradcheck.op_table import OP_TABLE
from minigrad.ops.op_case import OpCase, Sample

pytestmark = pytest.mark.usefixtures("cuda")

PLAIN = {"allclose", "equal"}  # give a bool, which the table makes a tensor
WITHOUT_GRADIENT = {"floor_divide", "unique"}  # their backward is refused
SIZES = ((3, 2, 4), (1, 3, 2), (0, 2, 3))
each_case = pytest.mark.parametrize("case", OP_TABLE, ids=lambda case: case.name)


def flat(result: Any) -> list[Any]:
    """The tensors and plain values of a result, in order."""
    if isinstance(result, tuple | list):
        return [part for item in result for part in flat(item)]
    return [result]


def on_cuda(value: Any) -> Any:
    return value.to("cuda") if isinstance(value, Tensor) else value


def assert_same(got: Any, want: Any, what: str) -> None:
    if not isinstance(want, Tensor):
        assert got == want, what
        return
    assert got.dtype == want.dtype, what
    assert got.shape == want.shape, what
    np.testing.assert_allclose(got.cpu().detach().numpy(), want.detach().numpy(), rtol=1e-9, atol=1e-12, err_msg=what)


def cotangent(x: Tensor) -> np.ndarray:
    return np.cos(np.arange(x.numel())).reshape(x.shape).astype(x.dtype)


def run(case: OpCase, sample: Sample, device: str) -> tuple[list[Any], list[Any]]:
    """Outputs and gradients of a call on a device."""
    manual_seed(3)  # some ops draw, and what they draw does not depend on the device
    leaves = sample.tensors()
    inputs = leaves if device == "cpu" else [leaf.to(device) for leaf in leaves]
    outputs = flat(case.op(*inputs, **sample.options))
    loss: Any = 0
    for output in outputs:
        if isinstance(output, Tensor) and output.requires_grad and case.name not in WITHOUT_GRADIENT:
            weights = Tensor(cotangent(output)).to(output.device)
            loss = loss + (output * weights).sum()
    if isinstance(loss, Tensor):
        loss.backward()
    return outputs, [leaf.grad for leaf in leaves]


@each_case
def test_values_and_gradients_are_those_of_the_host(case: OpCase, cuda: ModuleType) -> None:
    for seed, dims in enumerate(SIZES):
        sample = case.draw(seed, dims)
        want, want_grads = run(case, sample, "cpu")
        got, got_grads = run(case, sample, "cuda")
        assert len(got) == len(want)
        for position, (a, b) in enumerate(zip(got, want, strict=True)):
            assert_same(a, b, f"output {position} of {dims}")
            if isinstance(b, Tensor) and isinstance(a, Tensor):
                assert a.is_cuda or case.name in PLAIN, f"output {position} of {dims} is on the host"
        for position, (a, b) in enumerate(zip(got_grads, want_grads, strict=True)):
            assert (a is None) == (b is None), f"gradient {position} of {dims}"
            if b is not None:
                dense = b.to_dense() if b.is_sparse else b
                assert_same(a, dense, f"gradient {position} of {dims}")
                assert not a.is_cuda  # of a leaf on the host


def test_the_checker_takes_inputs_that_lie_there(count_case: Any) -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3)).to("cuda").requires_grad_()
    assert gradcheck(lambda x: (x.exp() / 7).cumsum(1), [x])
    assert gradcheck(lambda x: (x * x).sum(0), [x], mode="jacobian")
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: x * x.detach(), [x])
    with pytest.raises(RuntimeError, match="two devices"):
        (x * 2).backward(Tensor(np.ones((2, 3))))
    count_case()


@pytest.mark.parametrize("case", [case for case in OP_TABLE if case.differentiable], ids=lambda case: case.name)
def test_gradients_are_those_of_the_differences(case: OpCase, count_case: Any) -> None:
    sample = case.draw(7, (2, 2, 3))

    def fn(*tensors: Tensor) -> Any:
        outputs = flat(case.op(*map(on_cuda, tensors), **sample.options))
        return tuple(output.cpu() for output in outputs if output.is_floating_point())

    gradcheck(fn, sample.tensors())
    count_case()
