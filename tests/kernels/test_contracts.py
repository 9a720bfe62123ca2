"""What a stub says is what a call checks: letters, dtypes, layouts, lists, records, and what is kept of a call."""

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import pytest

import kernels
from kernels import cpu
from kernels.contracts import ENTRIES
from kernels.contracts.checks import between
from kernels.contracts.entry import Array, Fields, entry
from kernels.contracts.plan import as_it_lies, gradient, integers, mixed, on_host, updated
from kernels.contracts.shapes import Shape


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("text", "array", "sizes", "shown"),
    [
        ("M I", (2, 3), {"M": 2, "I": 3}, "(M, I)"),
        ("4H", (8,), {"H": 2}, "(4H,)"),
        ("S 9", (2, 9), {"S": 2}, "(S, 9)"),
        ("*S E", (2, 3, 4), {"*S": (2, 3), "E": 4}, "(*ids.shape, E)"),
        ("*S", (2, 3), {"*S": (2, 3)}, "ids.shape"),
        ("", (), {}, "()"),
    ],
)
def test_shapes(text, array, sizes, shown):
    shape = Shape(text)
    assert {letter: read(array) for letter, read in shape.readers().items()} == sizes
    assert shape.expected(sizes) == array
    assert shape.text({"*S": "ids"}) == shown
    assert shape.fits_rank(len(array))
    assert not shape.fits_rank(shape.rank - 1)
    assert shape.fits_rank(shape.rank + 1) == shape.starred


def test_a_text_that_is_no_shape():
    with pytest.raises(ValueError, match="'N,H' is no shape"):
        Shape("N,H")


@pytest.fixture
def declare(monkeypatch):
    """declare(stub, ...) makes an entry whose backend gives its arguments back."""

    def make(stub, *checks):
        call = entry(*checks)(stub)
        monkeypatch.setattr(cpu, stub.__name__, lambda *values: values, raising=False)
        del ENTRIES[stub.__name__]
        return call

    return make


def layer(
    dy: Annotated[Array, "M O", gradient],
    x: Annotated[Array, "M I"],
    weight: Annotated[Array, "2O I"],
    bias: Annotated[Array | None, "O"] = None,
    ids: Annotated[Array | None, "M", integers] = None,
    p: Annotated[float, between(0, 1)] = 0.5,
) -> Any:
    """A stub."""


GOOD = {"dy": zeros(3, 4), "x": zeros(3, 5), "weight": zeros(8, 5)}
BAD = [
    ({"x": zeros(3)}, ValueError, "layer: x has shape (3,); expected 2 dimensions (M, I)"),
    ({"dy": zeros(2, 4)}, ValueError, "dy has shape (2, 4); expected (M, O) = (3, 4) from x (3, 5) and weight (8, 5)"),
    ({"weight": zeros(8, 4)}, ValueError, "weight has shape (8, 4); expected (2O, I) = (8, 5) from x (3, 5)"),
    ({"bias": zeros(3)}, ValueError, "bias has shape (3,); expected (O,) = (4,) from weight (8, 5)"),
    ({"bias": zeros(4, dtype=np.float32)}, TypeError, "bias has dtype float32; expected float64 as dy"),
    ({"x": zeros(3, 5, dtype=np.int64)}, TypeError, "x has dtype int64; expected float32 or float64"),
    ({"ids": zeros(3)}, TypeError, "ids has dtype float64; expected an integer dtype"),
    ({"x": [[1.0]]}, TypeError, "x is a builtins.list; expected a NumPy array"),
    ({"x": None}, TypeError, "layer: x is None; expected an array"),
    ({"p": 2}, ValueError, "layer: p is 2; expected a value in [0, 1]"),
    ({"q": 2}, TypeError, "unexpected keyword argument 'q'"),
]


@pytest.mark.parametrize(("change", "error", "text"), BAD, ids=[text for _, _, text in BAD])
def test_a_call_is_checked_each_time(declare, change, error, text):
    """Also after one that was right, whose facts are kept."""
    call = declare(layer)
    call(**GOOD)
    for _ in range(2):
        with pytest.raises(error, match=re.escape(text)):
            call(**GOOD | change)


def test_defaults_and_names_are_those_of_the_stub(declare):
    call = declare(layer)
    assert call(GOOD["dy"], GOOD["x"], weight=GOOD["weight"])[3:] == (None, None, 0.5)
    assert call(*GOOD.values(), p=1)[5] == 1
    assert call.__doc__ == "A stub."


def ordering(
    param: Annotated[Array, "M N", updated],
    grads: Annotated[Sequence[Array], "*", mixed],
    raw: Annotated[Array, "N M", as_it_lies],
) -> Any:
    """A stub."""


def test_layouts(declare, monkeypatch):
    call = declare(ordering)

    def backend(param, grads, raw):
        assert param.flags.c_contiguous
        assert all(grad.flags.c_contiguous for grad in grads)
        assert raw.flags.f_contiguous
        param += 1

    monkeypatch.setattr(cpu, "ordering", backend)
    param = np.asfortranarray(zeros(2, 3))
    call(param, (zeros(4), zeros(4, 4, dtype=np.float32).T), zeros(2, 3).T)
    np.testing.assert_array_equal(param, np.ones((2, 3)))
    with pytest.raises(TypeError, match=re.escape("grads[1] has dtype int64")):
        call(param, [zeros(4), zeros(4, dtype=np.int64)], zeros(2, 3).T)


def of_record(
    dy: Annotated[Array, "M"], cache: Annotated[Any, Fields(x="M I")], raw: Annotated[Array, "9", on_host]
) -> Any:
    """A stub."""


def test_records_say_what_the_others_must_be(declare):
    call = declare(of_record)
    cache = SimpleNamespace(x=zeros(3, 2))
    call(zeros(3), cache, zeros(9, dtype=np.float32))
    with pytest.raises(ValueError, match=re.escape("dy has shape (4,); expected (M,) = (3,) from cache.x (3, 2)")):
        call(zeros(4), cache, zeros(9))
    with pytest.raises(TypeError, match=re.escape("dy has dtype float32; expected float64 as cache.x")):
        call(zeros(3, dtype=np.float32), cache, zeros(9))


def test_checks_of_a_whole_call_see_all_arguments(declare):
    seen = []
    declare(layer, lambda *values: seen.append(values))(**GOOD)
    assert seen[0][0] == "layer"
    assert len(seen[0]) == 7


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_docstrings_give_the_shapes_of_the_stub(name):
    """Wherever a text begins an argument with a shape in letters."""
    for argument in ENTRIES[name].arguments:
        said = re.search(rf"\b{argument.name}: (\([A-Z0-9, ]*\))", getattr(kernels, name).__doc__)
        for letters in argument.shapes if said and argument.shapes != ["*"] else ():
            assert said[1] == Shape(letters).text({}), argument.name
