"""The op table: a row for every function of ``minigrad.ops``.

The rows drive ``python -m minigrad.gradcheck`` and the generic tests: forward against the oracle, gradient, layouts,
zero sizes, refused calls.
"""

from minigrad.gradcheck import (
    cases_elementwise,
    cases_fused,
    cases_losses,
    cases_products,
    cases_reduce,
    cases_select,
    cases_shape,
)
from minigrad.gradcheck.op_case import OpCase

OP_TABLE: tuple[OpCase, ...] = (
    *cases_elementwise.CASES,
    *cases_reduce.CASES,
    *cases_shape.CASES,
    *cases_select.CASES,
    *cases_products.CASES,
    *cases_fused.CASES,
    *cases_losses.CASES,
)
