"""Wrong arguments: every public function answers with a sentence of its own, or computes something."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, creation, nn, ops
from minigrad.nn import functional as F
from minigrad.ops.op import METHODS
from tests.minigrad.against_torch import check

ALLOWED = (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError)
RAW = re.compile(
    r"NoneType|tuple index|list index|zip\(\)|ufunc|\baxis\b|\baxes\b|(?<!from_)numpy|np\.|has no attribute|unhashable|"
    r"could not be broadcast|unsupported operand|not supported between|annot interpret|invalid literal|must be real|"
    r"not iterable|<lambda>|<locals>|integer is required|cannot be interpreted|ambiguous|bytes-like|dimensional, but|"
    r"not subscriptable|"
    r"not enough values|too many values|inhomogeneous|could not convert|no loop|safe|out of bounds for array"
)
MATRIX = np.arange(6, dtype=np.float64).reshape(2, 3) / 4

# A plausible value for every argument, by its name; other arguments are left to their defaults.
PLAUSIBLE: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("x", "a", "b", "input", "x1", "x2", "base"), lambda: Tensor(MATRIX.copy())),
    "target": lambda: Tensor(np.array([0, 1])),
    "targets": lambda: Tensor(np.array([0, 1])),
    "tensors": lambda: [Tensor(MATRIX.copy()), Tensor(MATRIX.copy())],
    "tensor": lambda: Tensor(np.array([0, 1])),
    "logits": lambda: Tensor(MATRIX.copy()),
    "index": lambda: Tensor(np.array([[0], [1]])),
    "ids": lambda: Tensor(np.array([0, 1])),
    "weight": lambda: Tensor(MATRIX.copy()),
    "other": lambda: Tensor(MATRIX.copy()),
    "mask": lambda: Tensor(MATRIX > 0.5),
    "condition": lambda: Tensor(MATRIX > 0.5),
    "value": lambda: 1.0,
    "src": lambda: 1.0,
    "source": lambda: 0,
    "destination": lambda: 1,
    "dim": lambda: 0,
    "dim0": lambda: 0,
    "dim1": lambda: 1,
    "axis0": lambda: 0,
    "axis1": lambda: 1,
    "k": lambda: 1,
    "repeats": lambda: 2,
    "chunks": lambda: 2,
    "split_size": lambda: 1,
    "num_samples": lambda: 1,
    "dtype": lambda: np.dtype(np.float64),
    "equation": lambda: "ij,ij->i",
    "data": lambda: [1.0, 2.0],
    "size": lambda: (2, 3),
    "fill_value": lambda: 1.0,
    "start": lambda: 0,
    "end": lambda: 4,
    "steps": lambda: 3,
    "n": lambda: 3,
    "low": lambda: 5,
    "high": lambda: (2,),
    "pad": lambda: (1, 1),
    "bias": lambda: None,
    "shifts": lambda: 1,
    "length": lambda: 1,
    "mat1": lambda: Tensor(MATRIX.copy()),
    "mat2": lambda: Tensor(MATRIX.T.copy()),
    "hook": lambda: len,
    "batch1": lambda: Tensor(MATRIX[None].copy()),
    "p": lambda: 0.5,
    "alpha": lambda: 1.0,
    "batch2": lambda: Tensor(MATRIX.T[None].copy()),
    "array": lambda: MATRIX.copy(),
    "lengths": lambda: [1, 3],
    "normalized_shape": lambda: (3,),
    **dict.fromkeys(("query", "keys", "values"), lambda: Tensor(MATRIX[None].copy())),
    "memory_lengths": lambda: [1, 0],
}
# What is attended to has a value of another kind.
ATTENDED = dict.fromkeys(("key", "value"), lambda: Tensor(MATRIX[None].copy()))
HOSTILE: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "a string": lambda: "a",
    "no list": list,
    "a list of strings": lambda: [1, "a"],
    "a list of None": lambda: [None],
    "a dict": dict,
    "an object": object,
    "a fraction": lambda: 1.5,
    "-9": lambda: -9,
    "9": lambda: 9,
    "True": lambda: True,
    "NaN": lambda: float("nan"),
    "a slice": lambda: slice(2),
    "a function": lambda: len,
    "bytes": lambda: b"a",
    "a tuple of tuples": lambda: ((1, 2), (3,)),
    "dims twice": lambda: (0, 0),
    "no elements": lambda: Tensor(np.zeros(0)),
    "a 0-d tensor": lambda: Tensor(np.array(1.0)),
    "integers": lambda: Tensor(np.array([[7, -7]])),
    "truths": lambda: Tensor(np.array([True, False])),
    "five": lambda: Tensor(np.ones((5, 5))),
    "tensors of two shapes": lambda: [Tensor(np.ones(2)), Tensor(np.ones((3, 3)))],
    "an array of objects": lambda: np.array([None]),
    "strings": lambda: np.array(["a"]),
    "complex": lambda: 1j,
    "float16": lambda: np.float16,
    "a half array": lambda: np.ones((2, 3), np.float16),
    "bfloat16": lambda: minigrad.bfloat16,
}


def public_functions() -> Iterator[tuple[str, Callable]]:
    for name in ops.__all__:
        if inspect.isfunction(getattr(ops, name)):
            yield f"ops.{name}", getattr(ops, name)
    for name in F.__all__:
        yield f"F.{name}", getattr(F, name)
    for name in METHODS:
        yield f"Tensor.{name}", getattr(Tensor, name)
    for name in (
        "tensor",
        "as_tensor",
        "from_numpy",
        "zeros",
        "ones",
        "empty",
        "full",
        "arange",
        "linspace",
        "eye",
        "rand",
        "randn",
        "randint",
        "randperm",
        "zeros_like",
        "ones_like",
        "empty_like",
        "full_like",
        "rand_like",
        "randn_like",
    ):
        yield f"creation.{name}", getattr(creation, name)


def calls(function: Callable) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Calls in which one argument is hostile and the others are plausible."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    plausible = PLAUSIBLE | (ATTENDED if any(p.name == "query" for p in parameters) else {})
    for hostile, value in HOSTILE.items():
        for target in parameters:
            if target.kind is target.VAR_KEYWORD:
                continue
            given = [value() if p is target else plausible[p.name]() for p in positional]
            if target.kind is target.VAR_POSITIONAL:
                yield f"*{target.name} = {hostile}", [*given, value()], {}
            elif target in positional:
                yield f"{target.name} = {hostile}", given, {}
            else:
                yield f"{target.name} = {hostile}", given, {target.name: value()}


SKIPPED = {"lstm_layer", "gru_layer", "cho_gru_layer", "attentive_layer"}  # their modules check what they give them


@pytest.mark.parametrize(
    "function",
    [pytest.param(f, id=name) for name, f in public_functions() if name.partition(".")[2] not in SKIPPED],
)
def test_a_wrong_argument_is_refused_in_a_sentence(function: Callable) -> None:
    wrong = []
    for what, args, options in calls(function):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning)
                function(*args, **options)
        except ALLOWED as error:
            if RAW.search(str(error)) or not re.match(r"\w+(\(\))?:? ", str(error)):
                wrong.append(f"{what}: {type(error).__name__}: {error}")
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


X = minigrad.ones(2, 3)
EXAMPLES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "cat of a tensor": (
        lambda: minigrad.cat(X),
        TypeError,
        "cat: tensors is a tensor of shape (2, 3) and dtype float32; expected a list or tuple of tensors",
    ),
    "cat of 0-d": (
        lambda: minigrad.cat([minigrad.tensor(1.0)]),
        RuntimeError,
        "cat: tensor 0 is 0-d; expected at least 1 dimension (stack joins numbers)",
    ),
    "cat of nothing": (lambda: minigrad.cat([]), ValueError, "cat: tensors is empty; expected at least one tensor"),
    "cat of numbers": (
        lambda: minigrad.cat([X, 1.0]),
        TypeError,
        "cat: tensors is a list with 1.0; expected a list or tuple of tensors",
    ),
    "stack of nothing": (
        lambda: minigrad.stack(()),
        ValueError,
        "stack: tensors is empty; expected at least one tensor",
    ),
    "topk of 0-d": (
        lambda: minigrad.tensor(1.0).topk(2),
        RuntimeError,
        "topk: k is 2; expected 0 to 1, the size of dimension -1",
    ),
    "topk of a fraction": (lambda: X.topk(1.5), TypeError, "topk: k is 1.5; expected an integer"),
    "split of 0-d": (
        lambda: minigrad.tensor(1.0).split(1),
        RuntimeError,
        "split: the tensor is 0-d; expected at least 1 dimension",
    ),
    "repeat": (
        lambda: X.repeat(2),
        RuntimeError,
        "repeat: repeats are (2,); expected 2 or more, none negative, for shape (2, 3)",
    ),
    "expand": (
        lambda: X.expand(3),
        RuntimeError,
        "expand: sizes are (3,); expected 2 or more that fit shape (2, 3) from the right, "
        "where only a size of 1 stretches and -1 keeps one",
    ),
    "expand by -1": (
        lambda: X.expand(-1, 2, 3),
        RuntimeError,
        "expand: sizes are (-1, 2, 3); expected 2 or more that fit shape (2, 3) from the right, "
        "where only a size of 1 stretches and -1 keeps one",
    ),
    "reshape by a fraction": (
        lambda: X.reshape(2.0, 3),
        TypeError,
        "reshape: shape holds 2.0; expected integers",
    ),
    "zeros": (lambda: minigrad.zeros(-1, 2), RuntimeError, "zeros: sizes are (-1, 2); expected 0 or more"),
    "dimension": (
        lambda: X.sum(2),
        IndexError,
        "sum: dim is out of range: got 2; expected -2 to 1 for 2 dimensions",
    ),
    "dimension of std": (
        lambda: X.std(-3),
        IndexError,
        "std: dim is out of range: got -3; expected -2 to 1 for 2 dimensions",
    ),
    "dimension twice": (
        lambda: X.sum((0, -2)),
        RuntimeError,
        "sum: dim (0, -2) names a dimension twice; expected each once",
    ),
    "a loss of a list": (
        lambda: nn.MSELoss()([1.0], X),
        TypeError,
        "MSELoss: input is a list with 1.0; expected a tensor",
    ),
    "a loss of an array": (
        lambda: nn.CrossEntropyLoss()(X, np.zeros(2)),
        TypeError,
        "CrossEntropyLoss: target is an array of shape (2,) and dtype float64; expected a tensor",
    ),
    "shapes": (
        lambda: X + minigrad.ones(2),
        RuntimeError,
        "add: shapes (2, 3) and (2,) do not broadcast; expected equal sizes, or 1, from the right",
    ),
    "shapes in place": (
        lambda: X[0].__iadd__(X),
        RuntimeError,
        "add_: result has shape (2, 3); expected (3,), the shape of x",
    ),
    "matmul": (
        lambda: minigrad.ones(2, 3, 4) @ minigrad.ones(3, 4, 2),
        RuntimeError,
        "matmul: shapes (2,) and (3,) do not broadcast; expected equal sizes, or 1, from the right",
    ),
    "a string": (lambda: X * "2", TypeError, "mul: b is '2'; expected a tensor or a number"),
    "None": (lambda: X - None, TypeError, "sub: b is None; expected a tensor or a number"),
    "keepdim": (lambda: X.sum(0, 1), TypeError, "sum: keepdim is 1; expected True or False"),
    "nested unequally": (
        lambda: minigrad.tensor([[1.0], [1.0, 2.0]]),
        ValueError,
        "tensor: data is nested unequally; expected lists of one length per level",
    ),
    "no numbers": (
        lambda: minigrad.tensor(["a"]),
        TypeError,
        "tensor: data is a list with 'a'; expected numbers, or nested lists of them",
    ),
    "size": (lambda: X.size(2), IndexError, "size: dim is out of range: got 2; expected -2 to 1"),
    "a negative power": (
        lambda: minigrad.arange(3) ** -1,
        RuntimeError,
        "pow: an integer is raised to a negative power; expected a floating base or exponent",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_sentence_of(name: str) -> None:
    call, error, sentence = EXAMPLES[name]
    with pytest.raises(error) as refusal:
        call()
    assert str(refusal.value) == sentence


def test_an_empty_list_of_tensors_joins_as_in_torch() -> None:
    """A tensor of shape (0,) fits anywhere, and counts for the dtype."""
    check(lambda t, x: t.cat([t.tensor([], dtype=t.float64), x, t.tensor([])]), [[1.0, 2.0]])
    check(lambda t, x: t.cat([x, t.tensor([]), x * 2], dim=1), [[1.0, 2.0]])
    check(lambda t, x: t.cat([t.tensor([]), x.long()], dim=-1), [[1.0, 2.0]])
    check(lambda t, x: t.cat([t.tensor([]), t.tensor([])]), [1.0])
    with pytest.raises(
        RuntimeError, match=r"cat: tensor 1 has shape \(0, 3\); expected \(1, 2\) except in dimension 0"
    ):
        minigrad.cat([minigrad.ones(1, 2), minigrad.ones(0, 3)])
