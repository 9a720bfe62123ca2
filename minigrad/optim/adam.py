"""Adam and AdamW; the arithmetic is ``kernels.adam_step_all``.

A row-wise gradient (of ``nn.Embedding(..., sparse=True)``) gives the same weights as the dense one, to the bit, but a
step costs only the rows it touches: see ``row_moments``. PyTorch has SparseAdam for such gradients, whose weights are
other ones: it leaves the moments of the other rows as they are.

Sources: Kingma & Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1;
Loshchilov & Hutter, "Decoupled weight decay regularization" (2019), algorithm 2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import numpy as np

import kernels
from minigrad.graphs import recording
from minigrad.lazy import LazyParameter
from minigrad.nn.checks import reject
from minigrad.optim.checks import check_at_least_zero, check_fractions, reject_others
from minigrad.optim.optimizer import Optimizer, Update, add_slot, count_step
from minigrad.optim.row_moments import RowMoments
from minigrad.rows import RowGradient
from minigrad.tensor import Tensor


class Adam(Optimizer):
    """Steps scaled by running averages of the gradient and its square.

    Args:
        params: parameters or groups.
        lr: step size.
        betas: decay of the two averages, each in [0, 1).
        eps: added to the root of the second average.
        weight_decay: L2 penalty, added to the gradient.
        amsgrad: not supported, must be False.
        maximize: climb: the gradient is taken with the other sign.
        others: PyTorch's ``foreach``, ``fused``, ``capturable`` and ``differentiable``, which must be off.
    """

    decoupled: ClassVar[bool] = False
    capturable: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **others: Any,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        defaults["maximize"] = maximize
        reject_others(self._name, others, *defaults)
        self._tables: dict[Tensor, RowMoments] = {}
        super().__init__(params, {**defaults, "decoupled_weight_decay": self.decoupled})

    def _check_group(self, group: dict[str, Any]) -> None:
        super()._check_group(group)
        check_at_least_zero(self._name, group, "eps")
        check_fractions(self._name, "betas", group["betas"], 2)
        reject(self._name, amsgrad=group.get("amsgrad"))

    def _update_all(self, updates: list[Update], group: dict[str, Any], grad_scale: Any) -> None:
        """One call for all arrays of a dtype that have made as many steps, which are usually all there are."""
        alike: defaultdict[tuple[int, np.dtype, type], list[tuple[Any, ...]]] = defaultdict(list)
        for param, grad, state in updates:
            step = count_step(state)
            m, v = add_slot(state, "exp_avg", param), add_slot(state, "exp_avg_sq", param)
            alike[step, param.dtype, type(param)].append((param, grad, m, v, state))
        for (step, *_), arrays in alike.items():
            params, grads, ms, vs, states = zip(*arrays, strict=True)
            scalars = kernels.adam_scalars(step, *self._hyperparameters(group))
            kernels.adam_step_all(params, grads, ms, vs, scalars, grad_scale)
            if (graph := recording()) is not None:
                graph.refresh(partial(self._next_scalars, states, group))

    def _update_rows(
        self, param: Tensor, grad: RowGradient, state: dict[str, Any], group: dict[str, Any], grad_scale: Any
    ) -> None:
        table = self._table(param, state)
        if table is None:
            return super()._update_rows(param, grad, state, group, grad_scale)
        scalars = kernels.adam_scalars(count_step(state), *self._hyperparameters(group))
        return table.step(grad, scalars, grad_scale)

    def _next_scalars(self, states: Iterable[dict[str, Any]], group: dict[str, Any]) -> np.ndarray:
        """What a captured update reads at its next replay, which is counted as a step."""
        return np.array(kernels.adam_scalars(max(map(count_step, states)), *self._hyperparameters(group)))

    def _hyperparameters(self, group: dict[str, Any]) -> tuple[float, float, float, float, float, bool]:
        beta1, beta2 = group["betas"]
        return group["lr"], beta1, beta2, group["eps"], group["weight_decay"], self.decoupled

    def _table(self, param: Tensor, state: dict[str, Any]) -> RowMoments | None:
        """What updates the rows of ``param``; None where it is not a lazy parameter, a matrix in C order."""
        if not isinstance(param, LazyParameter) or param.ndim != 2 or not param.is_contiguous():
            return None
        fresh = "exp_avg" not in state
        for name in ("exp_avg", "exp_avg_sq"):
            if state.get(name) is None:
                state[name] = LazyParameter(np.zeros(param.shape, param.dtype, like=param.raw_array()))
            elif not isinstance(state[name], LazyParameter):
                state[name] = LazyParameter(state[name].array)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        if param not in self._tables or not self._tables[param].belongs_to(param, m, v):
            if m.shape != param.shape or v.shape != param.shape or not (m.is_contiguous() and v.is_contiguous()):
                return None
            self._tables[param] = RowMoments(param, m, v, fresh)
        return self._tables[param]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for table in self._tables.values():
            table.flush()  # pending updates belong to the state that goes
        super().load_state_dict(state_dict)
        self._tables = {}


class AdamW(Adam):
    """Adam whose ``weight_decay`` shrinks the parameters directly, apart from the gradient."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)
