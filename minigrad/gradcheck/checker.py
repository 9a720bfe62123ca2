"""The checker: gradients of the tape against central differences in float64.

For outputs y_k = fn(x) and random cotangents c_k the tape gives g = sum_k J_k^T c_k. Along a direction u

    analytic = <g, u>        numeric = sum_k <c_k, y_k(x + eps u) - y_k(x - eps u)> / (2 eps)

and the two agree up to the error of the central difference: truncation eps^2 |y'''| / 6 plus rounding 1e-16 |y| / eps.
With the default eps = 1e-5 both are near 1e-10 for values of order 1, which is why float64 is required and why a
tolerance far below 1e-6 would judge the difference quotient, not the gradient.

Functions with kinks (relu, max, a word that the model picks itself) must be sampled away from them by more than eps. A
direction that disagrees is measured once more, with a hundredth of the step, where rounding is still far below 1e-6: a
kink that lay within the step lies outside of most such small ones, while a wrong gradient is wrong at every step.

The relative error is |analytic - numeric| / (max(|analytic|, |numeric|) + atol / rtol), and a comparison passes if it
is at most rtol; that is the same as |analytic - numeric| <= atol + rtol * max(|analytic|, |numeric|), so derivatives
below atol / rtol are judged by their absolute error. NaN never passes.

Entries of c and u are random signs times numbers in [0.5, 1.5]: bounded away from 0 so that no entry of a wrong
gradient hides, and of root mean square near 1 (not of unit length) so that every coordinate moves by about eps. Where
very many coordinates move together (all parameters of a model) that would be a long way: truncation grows with the
square of the length eps sqrt(n), so ``gradcheck_module`` lowers eps until the length is at most 3e-3.

Sources: the directional check with bounded directions is Chainer's, the bilinear form Autograd's, the full Jacobian
the classic of Baydin et al., "Automatic differentiation in machine learning: a survey" (2018), section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import kernels
from minigrad.autograd import grad, no_grad
from minigrad.gradcheck.report import GradcheckError, GradcheckReport, GradcheckRow
from minigrad.tensor import Tensor

Arrays = list[np.ndarray]

LONGEST_STEP = 3e-3


@dataclass(frozen=True)
class _Tolerance:
    atol: float
    rtol: float

    def relative_error(self, analytic: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        """The definition of the module head, entry by entry; a non-finite side gives NaN, which never passes."""
        scale = np.maximum(np.abs(analytic), np.abs(numeric)) + self.atol / self.rtol
        with np.errstate(invalid="ignore"):
            return np.abs(analytic - numeric) / scale

    def row(self, name: str, analytic: np.ndarray, numeric: np.ndarray, where: Callable[[int], str]) -> GradcheckRow:
        """The worst of the comparisons; ``where`` names comparison number i."""
        if analytic.size == 0:
            return GradcheckRow(name, 0.0, 0.0, True, "nothing to compare: zero-size")
        errors = self.relative_error(analytic, numeric)
        worst = int(np.argmax(errors))  # a NaN counts as the maximum
        error, a, n = float(errors[worst]), float(analytic[worst]), float(numeric[worst])
        detail = f"{where(worst)}: analytic {a:.10g}, numeric {n:.10g}"
        return GradcheckRow(name, error, abs(a - n), error <= self.rtol, detail)


class _Subject:
    """The function under check, as a map from the checked tensors' arrays to its floating outputs' arrays."""

    def __init__(self, call: Callable[[], Any], names: list[str], checked: list[Tensor], watched: list[Tensor]) -> None:
        self.call = call
        self.names = names
        self.checked = checked
        self.watched = watched
        self.problems: list[str] = []

    def outputs(self) -> list[Tensor]:
        """The floating outputs; ValueError if one is not float64, or if there is none."""
        result = self.call()
        results = list(result) if isinstance(result, tuple | list) else [result]
        outputs = [t for t in results if isinstance(t, Tensor) and t.dtype.kind == "f"]
        if not outputs:
            raise ValueError(
                f"gradcheck: fn returned {type(result).__name__} without a floating Tensor to differentiate"
            )
        for position, output in enumerate(outputs):
            if output.dtype != np.float64:
                raise ValueError(f"gradcheck: output {position} of fn has dtype {output.dtype}; expected float64")
        return outputs

    def values(self) -> Arrays:
        """Copies of the outputs; nothing is recorded."""
        with no_grad():
            return [_copy(output) for output in self.outputs()]

    def difference(self, directions: list[np.ndarray | None], eps: float) -> Arrays:
        """(y(x + eps u) - y(x - eps u)) / (2 eps) per output; a direction per checked tensor, None to keep it."""
        originals = [_copy(tensor) for tensor in self.checked]

        def values_at(step: float) -> Arrays:
            for tensor, original, direction in zip(self.checked, originals, directions, strict=True):
                if direction is not None:
                    _assign(tensor, original + step * direction)
            return self.values()

        try:
            plus, minus = values_at(eps), values_at(-eps)
        finally:
            for tensor, original in zip(self.checked, originals, strict=True):
                _assign(tensor, original)
        return [(p - m) / (2 * eps) for p, m in zip(plus, minus, strict=True)]

    def gradients(self, outputs: list[Tensor], cotangents: Arrays, retain_graph: bool) -> list[np.ndarray | None]:
        """The tape's gradient per checked tensor, None where it has none. (The tape itself refuses wrong shapes.)"""
        pairs = zip(outputs, cotangents, strict=True)
        recorded = [(y, Tensor(kernels.like(c, y.array))) for y, c in pairs if y.requires_grad]
        if not recorded:
            return [None] * len(self.checked)
        tensors, seeds = [y for y, _ in recorded], [c for _, c in recorded]
        results = grad(tensors, self.checked, seeds, retain_graph=retain_graph, allow_unused=True)
        return [None if result is None else kernels.to_host(result.array) for result in results]

    def evaluate(self) -> list[Tensor]:
        """Recorded outputs, after checks that fn leaves its inputs alone and gives the same values twice."""
        before = [_copy(tensor) for tensor in self.watched]
        outputs = self.outputs()
        for position in self._restore(before):
            self.problems.append(f"fn changed input {position} in place")
        again = self.values()
        self._restore(before)
        if not all(_same(_copy(y), value) for y, value in zip(outputs, again, strict=True)):
            self.problems.append("fn is not deterministic: two evaluations at the same inputs differ")
        return outputs

    def _restore(self, before: Arrays) -> list[int]:
        """Give the inputs their values of ``before``; the numbers of those that had changed."""
        pairs = enumerate(zip(self.watched, before, strict=True))
        changed = [position for position, (tensor, value) in pairs if not _same(_copy(tensor), value)]
        for position in changed:
            _assign(self.watched[position], before[position])
        return changed


def _copy(tensor: Tensor) -> np.ndarray:
    """The values on the host, where the checker computes, wherever the tensor lies."""
    return np.array(kernels.to_host(tensor.array))


def _assign(tensor: Tensor, values: np.ndarray) -> None:
    tensor.array[...] = kernels.like(values, tensor.array)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _random_direction(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)


def _directional_rows(
    subject: _Subject,
    groups: list[tuple[str, list[int], int]],
    tolerance: _Tolerance,
    eps: float,
    seed: int,
    longest: float = np.inf,
) -> list[GradcheckRow]:
    """A row per group (name, numbers of checked tensors, directions): its tensors move together, at random."""
    rng = np.random.default_rng(seed)
    outputs = subject.evaluate()
    if subject.problems:
        return []
    cotangents = [_random_direction(rng, y.shape) for y in outputs]
    gradients = subject.gradients(outputs, cotangents, retain_graph=False)

    def row(name: str, members: list[int], num_directions: int) -> GradcheckRow:
        analytic, numeric = np.zeros(num_directions), np.zeros(num_directions)
        size = sum(subject.checked[i].numel() for i in members)
        step = min(eps, longest / max(size, 1) ** 0.5)
        for k in range(num_directions):
            directions: list[np.ndarray | None] = [None] * len(gradients)
            for i in members:
                directions[i] = direction = _random_direction(rng, subject.checked[i].shape)
                if (gradient := gradients[i]) is not None:
                    analytic[k] += np.vdot(gradient, direction)
            for length in (step, step / 100):
                difference = subject.difference(directions, length)
                numeric[k] = sum(float(np.vdot(c, d)) for c, d in zip(cotangents, difference, strict=True))
                if tolerance.relative_error(analytic[k], numeric[k]) <= tolerance.rtol:
                    break
        note = "" if any(gradients[i] is not None for i in members) else " (the tape gives no gradient)"
        return tolerance.row(name, analytic, numeric, lambda k: f"along direction {k}{note}")

    return [row(*group) for group in groups]


def _jacobian_rows(subject: _Subject, tolerance: _Tolerance, eps: float) -> list[GradcheckRow]:
    """A row per checked tensor: every entry d output / d input compared, the worst one named."""
    outputs = subject.evaluate()
    if subject.problems:
        return []
    return [_jacobian_row(subject, outputs, index, tolerance, eps) for index in range(len(subject.checked))]


def _jacobian_row(
    subject: _Subject, outputs: list[Tensor], index: int, tolerance: _Tolerance, eps: float
) -> GradcheckRow:
    tensor = subject.checked[index]
    entries = [(k, coordinates) for k, y in enumerate(outputs) for coordinates in np.ndindex(y.shape)]
    analytic = np.zeros((len(entries), *tensor.shape))
    for row, (k, coordinates) in enumerate(entries):
        cotangents = [np.zeros(y.shape) for y in outputs]
        cotangents[k][coordinates] = 1.0
        gradient = subject.gradients(outputs, cotangents, retain_graph=True)[index]
        analytic[row] = 0.0 if gradient is None else gradient
    numeric = np.zeros_like(analytic)
    for coordinates in np.ndindex(tensor.shape):
        directions: list[np.ndarray | None] = [None] * len(subject.checked)
        directions[index] = one = np.zeros(tensor.shape)
        one[coordinates] = 1.0
        difference = subject.difference(directions, eps)
        numeric[(slice(None), *coordinates)] = np.concatenate([d.ravel() for d in difference])

    def where(flat: int) -> str:
        row, *coordinates = (int(i) for i in np.unravel_index(flat, analytic.shape))
        return f"d output {entries[row][0]}{list(entries[row][1])} / d {subject.names[index]}{coordinates}"

    return tolerance.row(subject.names[index], analytic.ravel(), numeric.ravel(), where)


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    mode: Literal["directional", "jacobian"] = "directional",
    eps: float = 1e-5,
    atol: float = 1e-9,
    rtol: float = 1e-6,
    num_directions: int = 4,
    seed: int = 0,
    raise_exception: bool = True,
    names: Sequence[str] | None = None,
) -> GradcheckReport:
    """Check the gradients of ``fn(*inputs)`` with respect to every input that requires grad.

    Arguments:
        fn: takes the inputs, returns a Tensor or a tuple of Tensors, float64, of any shape; other outputs are ignored.
        inputs: a Tensor or a sequence; checked ones are float64 leaves that require grad, of any shape and layout.
            Their values are perturbed in place during the check and restored.
        mode: "directional" costs 2 evaluations per input and direction; "jacobian" costs 2 per input entry and
            names the wrong entry, for tiny shapes.
        eps: the step of the central difference; atol, rtol: see the definition of the relative error above.
        num_directions: random directions per input (directional mode).
        seed: of the random cotangents and directions.
        raise_exception: raise GradcheckError on failure; otherwise only the report tells.
        names: a name per input for the report; default "input 0", "input 1", ...

    Returns a GradcheckReport with a row per checked input, true if all passed. Besides wrong values it reports a
    missing gradient; a function that is not deterministic or changes its inputs gets no rows but a problem each.

    Raises GradcheckError (an AssertionError); ValueError for inputs that cannot be checked; RuntimeError from the tape,
    for example for a gradient of another shape than its input.
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    labels = [f"input {i}" for i in range(len(given))] if names is None else list(names)
    if len(labels) != len(given):
        raise ValueError(f"gradcheck: names has {len(labels)} entries; expected one per input, {len(given)}")
    named = [(n, t) for n, t in zip(labels, given, strict=True) if isinstance(t, Tensor) and t.requires_grad]
    watched = [t for t in given if isinstance(t, Tensor)]
    subject = _subject(lambda: fn(*given), named, watched)
    tolerance = _Tolerance(atol, rtol)
    if mode == "jacobian":
        rows = _jacobian_rows(subject, tolerance, eps)
    elif mode == "directional":
        groups = [(name, [i], num_directions) for i, (name, _) in enumerate(named)]
        rows = _directional_rows(subject, groups, tolerance, eps, seed)
    else:
        raise ValueError(f"gradcheck: mode is {mode!r}; expected 'directional' or 'jacobian'")
    return _finish(rows, subject, raise_exception)


def gradcheck_module(
    loss_fn: Callable[[], Any],
    named_parameters: Iterable[tuple[str, Tensor]],
    *,
    num_directions: int = 50,
    directions_per_parameter: int = 2,
    eps: float = 1e-5,
    atol: float = 1e-9,
    rtol: float = 1e-6,
    seed: int = 0,
    raise_exception: bool = True,
) -> GradcheckReport:
    """Check a whole model: ``loss_fn()`` with respect to its parameters.

    Arguments:
        loss_fn: computes the loss (or any Tensors) from the parameters; the same values on every call, so a model
            with dropout restarts its random stream inside, or is put into evaluation mode.
        named_parameters: (name, float64 Tensor) pairs, as ``module.named_parameters()`` gives them.
        num_directions: random directions in the space of all parameters together: the first row, "all parameters".
        directions_per_parameter: random directions of each parameter alone, a row each.
        eps, atol, rtol, seed, raise_exception: as for ``gradcheck``.

    Returns and raises as ``gradcheck``.
    """
    named = [(name, parameter) for name, parameter in named_parameters if parameter.requires_grad]
    subject = _subject(loss_fn, named, [parameter for _, parameter in named])
    groups = [("all parameters", list(range(len(named))), num_directions)]
    groups += [(name, [i], directions_per_parameter) for i, (name, _) in enumerate(named)]
    rows = _directional_rows(subject, groups, _Tolerance(atol, rtol), eps, seed, LONGEST_STEP)
    return _finish(rows, subject, raise_exception)


def _subject(call: Callable[[], Any], named: list[tuple[str, Tensor]], watched: list[Tensor]) -> _Subject:
    if not named:
        raise ValueError("gradcheck: no input requires grad, so there is nothing to check")
    for name, tensor in named:
        if tensor.dtype != np.float64:
            raise ValueError(f"gradcheck: {name} has dtype {tensor.dtype}; expected float64 (use .double())")
        if not tensor.is_leaf:
            raise ValueError(f"gradcheck: {name} is the result of an operation; expected a leaf that requires grad")
    return _Subject(call, [name for name, _ in named], [tensor for _, tensor in named], watched)


def _finish(rows: Sequence[GradcheckRow], subject: _Subject, raise_exception: bool) -> GradcheckReport:
    report = GradcheckReport(tuple(rows), tuple(subject.problems))
    if raise_exception and not report:
        raise GradcheckError(report)
    return report
