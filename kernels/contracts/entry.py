"""What a stub says, and the function that is made of it.

A stub declares an entry once: its arguments with shapes in the letters of the legend, its results, its docstring.

    @entry()
    def linear_forward(
        x: Annotated[Array, "M I"], weight: Annotated[Array, "O I"], bias: Annotated[Array | None, "O"]
    ) -> Annotated[Array, "M O"]:

An argument with a shape is an array, floating unless a mark says otherwise; "*" is any shape. A call checks the arrays
(`plan`), then values (`checks`), makes arrays contiguous, chooses the backend (`backend`), and calls its function of
the same name. What the arrays' kinds, dtypes, shapes and layouts say is kept: a decoding step repeats its calls.
"""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from operator import attrgetter
from types import ModuleType, NoneType
from typing import Any, NamedTuple, ParamSpec, TypeVar, get_args, get_type_hints

import numpy as np

from kernels.contracts.backend import backend_of, contiguous
from kernels.contracts.checks import Check, between, check_range
from kernels.contracts.plan import Mark, Plan, Slot, as_it_lies, updated
from kernels.contracts.shapes import Shape, Sizes

P = ParamSpec("P")
R = TypeVar("R")
Array = np.ndarray
MOST_KNOWN = 512  # calls of an entry that are kept


class Fields:
    """The arrays that a record holds, with their shapes; they are checked as if they were arguments.

    A "?" behind a shape is for a field that may be None.
    """

    def __init__(self, **shapes: str) -> None:
        self.shapes = shapes


class Counts:
    """The numbers of a record that letters stand for."""

    def __init__(self, **paths: str) -> None:
        self.paths = paths


class Argument:
    """What a stub says of one argument.

    Args:
        position, name: of the argument.
        hint: its annotation.
    """

    def __init__(self, position: int, name: str, hint: Any) -> None:
        self.position, self.name = position, name
        kind, *said = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        self.marks = frozenset(item for item in said if isinstance(item, Mark))
        self.ranges = [item for item in said if isinstance(item, between)]
        self.checks: list[Check] = [item for item in said if callable(item)]
        self.fields = {name: text for item in said if isinstance(item, Fields) for name, text in item.shapes.items()}
        self.counts = {letter: path for item in said if isinstance(item, Counts) for letter, path in item.paths.items()}
        self.shapes = [item for item in said if isinstance(item, str)]
        self.is_list = getattr(kind, "__name__", "") == "Sequence"
        self._optional = NoneType in get_args(kind)
        self.given = bool(self.fields) and hasattr(kind, "_replace")  # a record of arrays of the caller's own

    def slots(self, count: int) -> list[Slot]:
        """Its arrays; `count` is the length of a list."""
        texts = {f"{self.name}.{field}": text for field, text in self.fields.items()}
        for text in self.shapes:
            texts |= {f"{self.name}[{item}]": text for item in range(count)} if self.is_list else {self.name: text}
        optional = {name for name, text in texts.items() if self._optional or text.endswith("?")}
        bare = {name: text.rstrip("?") for name, text in texts.items()}
        shapes = {name: None if text == "*" else Shape(text) for name, text in bare.items()}
        return [Slot(name, shape, self.marks, name in optional) for name, shape in shapes.items()]

    def getters(self) -> list[tuple[int, Callable[[Any], Any] | None, bool]]:
        """Where its arrays are: the position, what takes them out of what is there, and whether that is a list."""
        fields: list[Any] = [attrgetter(path) for path in (*self.fields, *self.counts.values())]
        return [(self.position, getter, self.is_list) for getter in fields or [None] * len(self.shapes)]

    def counted(self, values: Any) -> Sizes:
        """What it says that letters stand for."""
        return {letter: attrgetter(path)(values[self.position]) for letter, path in self.counts.items()}

    def arrays(self, values: Any) -> list[Any]:
        """Its arrays among the arguments of a call."""
        value = values[self.position]
        if self.is_list:
            return [*value]
        return [attrgetter(field)(value) for field in self.fields] or [value] * len(self.shapes)

    def in_order(self, value: Any) -> Any:
        """Its value, with copies of arrays that do not lie in C order."""
        if self.fields:
            return value._replace(**{field: contiguous(getattr(value, field)) for field in self.fields})
        return [*map(contiguous, value)] if self.is_list else contiguous(value)


class Known(NamedTuple):
    """What follows from the kinds, dtypes, shapes and layouts of a call's arrays."""

    backend: ModuleType
    sizes: Sizes
    ordered: bool  # nothing is to be copied


class Entry:
    """A kernel by name: how a call is checked, and which backend computes it.

    Args:
        stub: the declaration.
        by_reference: see `entry`.
    """

    def __init__(self, stub: Callable[..., Any], by_reference: bool) -> None:
        self._stub, self._name, self.by_reference = stub, stub.__name__, by_reference
        hints, parameters = get_type_hints(stub, include_extras=True), signature(stub).parameters
        self._positions = {name: position for position, name in enumerate(parameters)}
        self._defaults = [each.default for each in parameters.values()]
        self.arguments = [Argument(position, name, hints[name]) for name, position in self._positions.items()]
        self.ranges = [
            (each.position, each.name, bounds.low, bounds.high) for each in self.arguments for bounds in each.ranges
        ]
        self.checks = [(check, each.name, each.position) for each in self.arguments for check in each.checks]
        self._records_first = sorted(self.arguments, key=lambda each: not each.fields)  # they say what the rest must be
        self._getters = [getter for each in self._records_first for getter in each.getters()]
        self._lists = [each.position for each in self.arguments if each.is_list]
        arrays = [each for each in self.arguments if each.shapes or each.given]
        self._to_order = [each for each in arrays if as_it_lies not in each.marks]
        self._plans: dict[tuple[int, ...], Plan] = {}  # by the lengths of lists
        self._known: dict[Any, Known] = {}  # by the looks of arrays

    def arranged(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """All arguments in the order of the stub, which raises the usual TypeError for a wrong number or name."""
        self._stub(*args, **kwargs)
        values = [*args, *self._defaults[len(args) :]]
        for name, value in kwargs.items():
            values[self._positions[name]] = value
        return values

    def know(self, values: Any) -> Known:
        """What the arrays among the arguments say; checked, unless their like has been before.

        Raises:
            TypeError, ValueError: an array of another kind, dtype or shape than the stub says.
        """
        try:
            looks = self._looks(values)
        except AttributeError:
            looks = None  # something is no array, and the checks say what
        known = self._known.get(looks)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[looks] = self._check(values)
        return known

    def _looks(self, values: Any) -> tuple[Any, ...]:
        """All that `_check` may look at."""
        looks: list[Any] = []
        for position, get, is_list in self._getters:
            a = values[position] if get is None else get(values[position])
            if a is None or type(a) is int:
                looks.append(a)
            elif is_list:
                looks.append(tuple([(type(item), item.dtype, item.shape, item.flags.c_contiguous) for item in a]))
            else:
                looks.append((type(a), a.dtype, a.shape, a.flags.c_contiguous))
        return tuple(looks)

    def _check(self, values: Any) -> Known:
        lengths = tuple([len(values[position]) for position in self._lists])
        plan = self._plans.get(lengths)
        if plan is None:
            lengths_of = dict(zip(self._lists, lengths, strict=True))
            slots = [slot for each in self._records_first for slot in each.slots(lengths_of.get(each.position, 1))]
            names = {letter: f"{each.name}.{path}" for each in self.arguments for letter, path in each.counts.items()}
            plan = self._plans[lengths] = Plan(self._name, slots, names)
        arrays = [array for each in self._records_first for array in each.arrays(values)]
        counted = {letter: size for each in self.arguments for letter, size in each.counted(values).items()}
        on_device, dtype, sizes = plan.check(arrays, counted)
        ordered = all(array is None or array.flags.c_contiguous for array in arrays)
        return Known(backend_of(on_device, dtype), sizes, ordered)

    def call_on_copies(self, compute: Callable[..., Any], values: Any) -> Any:
        """`compute`, with copies instead of arrays in another order; what it updates in them is written back."""
        works, written = [*values], []
        for each in self._to_order:
            value = values[each.position]
            works[each.position] = each.in_order(value)
            if updated in each.marks:
                pairs = (value, works[each.position]) if each.is_list else ([value], [works[each.position]])
                written += [(array, work) for array, work in zip(*pairs, strict=True) if array is not work]
        result = compute(*works)
        for array, work in written:
            array[...] = work
        return result


ENTRIES: dict[str, Entry] = {}  # every kernel


def entry(*checks: Callable[..., None], by_reference: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a kernel's public function of its stub, and put it into the table.

    Args:
        checks: what no single argument can say; each is called with the entry's name and all arguments in their order,
            and raises.
        by_reference: a GPU has no kernel for it: the oracle computes it on the arrays there.
    """

    def declare(stub: Callable[P, R]) -> Callable[P, R]:
        name, made = stub.__name__, Entry(stub, by_reference)
        count, ranges, of_values = len(made.arguments), made.ranges, made.checks
        ENTRIES[name] = made

        @wraps(stub)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            values: Any = args if len(args) == count else made.arranged(args, kwargs)
            backend, sizes, ordered = made.know(values)
            for position, argument, low, high in ranges:
                if not low <= values[position] <= high:
                    check_range(name, argument, values[position], low, high)
            for check, argument, position in of_values:
                check(name, argument, values[position], sizes)
            for check_all in checks:
                check_all(name, *values)
            compute: Callable[..., R] = getattr(backend, name)
            return compute(*values) if ordered else made.call_on_copies(compute, values)

        return call

    return declare
