"""The op table: a row for every function of ``minigrad.ops``, beside the function (``@op``) or in ``cases_*.py``.

The rows drive ``python -m minigrad.gradcheck`` and the generic tests: forward against the oracle, gradient, layouts,
zero sizes, refused calls.
"""

from typing import Any

from minigrad.gradcheck import (
    cases_fused,
    cases_losses,
    cases_products,
    cases_select,
    cases_shape,
)
from minigrad.gradcheck.checker import gradcheck
from minigrad.gradcheck.report import GradcheckReport
from minigrad.ops.op import CASES
from minigrad.ops.op_case import OpCase, Sample, floating_outputs
from minigrad.tensor import Tensor

OP_TABLE: tuple[OpCase, ...] = (
    *CASES,
    *cases_shape.CASES,
    *cases_select.CASES,
    *cases_products.CASES,
    *cases_fused.CASES,
    *cases_losses.CASES,
)


def check_gradient(case: OpCase, sample: Sample, output: int | None = None, **settings: Any) -> GradcheckReport:
    """``gradcheck`` of a row at ``sample``; with ``output`` of that floating output alone."""

    def fn(*tensors: Tensor) -> Any:
        result = case.op(*tensors, **sample.options)
        return result if output is None else floating_outputs(result)[output]

    return gradcheck(fn, sample.tensors(), **settings)
