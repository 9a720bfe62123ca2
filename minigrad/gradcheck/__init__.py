"""Gradient checking: is a hand-written backward the derivative of its forward?

``gradcheck(fn, inputs)`` compares with central differences in float64; ``gradcheck_module`` does so for whole models;
``python -m minigrad.gradcheck`` runs the table of every op of the engine.
"""

from minigrad.gradcheck.checker import gradcheck, gradcheck_module
from minigrad.gradcheck.report import GradcheckError, GradcheckReport, GradcheckRow

__all__ = ["GradcheckError", "GradcheckReport", "GradcheckRow", "gradcheck", "gradcheck_module"]
