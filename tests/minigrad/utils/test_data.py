"""Data sets, samplers, collating and the loader without workers: by hand, against PyTorch, and what is refused."""

from __future__ import annotations

import itertools
from collections import Counter, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.utils import data

Pair = namedtuple("Pair", "x y")
SEEDED = minigrad.Generator


def plain(value: Any) -> Any:
    """Tensors as (dtype, lists), in containers as they are."""
    if hasattr(value, "detach"):
        return str(value.dtype).removeprefix("torch."), value.tolist()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        listed = [plain(each) for each in value]
        return (type(value).__name__, listed)
    return value


ITEMS: dict[str, Callable[[Any], list[Any]]] = {
    "floats": lambda t: [1.5, 2.0],
    "ints": lambda t: [1, 2],
    "bools": lambda t: [True, False],
    "text": lambda t: ["a", "b"],
    "bytes": lambda t: [b"a", b"b"],
    "tensors": lambda t: [t.ones(2), t.zeros(2)],
    "scalars": lambda t: [t.tensor(1), t.tensor(2)],
    "arrays": lambda t: [np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32)],
    "numpy numbers": lambda t: [np.int32(3), np.int32(4)],
    "tuples": lambda t: [(t.ones(1), 1, "x"), (t.zeros(1), 2, "y")],
    "lists": lambda t: [[1.0, "x"], [2.0, "y"]],
    "dicts": lambda t: [{"x": t.ones(1), "y": {"z": 1}}, {"x": t.zeros(1), "y": {"z": 2}}],
    "named tuples": lambda t: [Pair(t.ones(1), 1), Pair(t.zeros(1), 2)],
    "one": lambda t: [(1, [2.0])],
}


@pytest.mark.parametrize("name", ITEMS)
@pytest.mark.parametrize("function", ["default_collate", "default_convert"])
def test_collating_equals_pytorchs(name: str, function: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = (getattr(t.utils.data, function)(ITEMS[name](t)) for t in (minigrad, torch))
    assert plain(ours) == plain(theirs)


def test_collating_by_hand() -> None:
    found = data.default_collate([(minigrad.ones(2), 1, "a"), (minigrad.zeros(2), 2, "b")])
    assert plain(found) == ("list", [("float32", [[1, 1], [0, 0]]), ("int64", [1, 2]), ("tuple", ["a", "b"])])


@pytest.mark.parametrize(
    ("items", "error", "text"),
    [
        ([], ValueError, "the batch is empty"),
        (
            [minigrad.ones(2), minigrad.ones(3)],
            RuntimeError,
            r"the items have shapes \(2,\) and \(3,\); expected one shape",
        ),
        ([minigrad.ones(2), None], TypeError, "an item is None; expected a tensor, as the first"),
        ([[1], [1, 2]], RuntimeError, "the items have 1 to 2 entries"),
        ([None, None], TypeError, "an item is None; expected tensors, arrays, numbers"),
        ([np.array(["a"]), np.array(["b"])], TypeError, "an item is an array of shape"),
    ],
)
def test_what_is_not_collated(items: list, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"default_collate: {text}"):
        data.default_collate(items)


class Letters(data.Dataset):
    def __init__(self, text: str) -> None:
        self.text = text

    def __getitem__(self, index: int) -> str:
        return self.text[index]

    def __len__(self) -> int:
        return len(self.text)


class Stream(data.IterableDataset):
    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Any:
        return iter(self.text)

    def __len__(self) -> int:
        return len(self.text)


def test_data_sets() -> None:
    both = Letters("abc") + Letters("de")
    assert (len(both), [both[i] for i in range(-5, 5)]) == (5, list("abcde" * 2))
    assert both.cumulative_sizes == [3, 5]
    part = data.Subset(both, [4, 0, 3])
    assert (list(data.DataLoader(part, None)), len(part)) == (["e", "a", "d"], 3)
    assert "".join(Stream("ab") + Stream("c")) == "abc"
    stacked = data.StackDataset(Letters("abc"), Letters("xyz"))
    assert (stacked[1], len(stacked)) == (("b", "y"), 3)
    assert data.StackDataset(x=Letters("abc"), y=Letters("xyz"))[2] == {"x": "c", "y": "z"}
    table = data.TensorDataset(minigrad.arange(6).reshape(3, 2), minigrad.arange(3))
    assert plain(table[1]) == ("tuple", [("int64", [2, 3]), ("int64", 1)])
    assert data.Dataset[int] is not None


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [([3, 7], [3, 7]), ([0.5, 0.3, 0.2], [5, 3, 2]), ([0.33, 0.33, 0.34], [4, 3, 3]), ([10], [10])],
)
def test_random_split(lengths: list, sizes: list) -> None:
    parts = data.random_split(range(10), lengths, generator=SEEDED().manual_seed(3))
    assert [len(part) for part in parts] == sizes
    assert sorted(i for part in parts for i in part) == list(range(10))
    again = data.random_split(range(10), lengths, generator=SEEDED().manual_seed(3))
    assert [part.indices for part in parts] == [part.indices for part in again]


def test_shares_are_rounded_as_pytorch_rounds_them() -> None:
    torch = pytest.importorskip("torch")
    for size in (10, 11, 101):
        for shares in ([0.7, 0.2, 0.1], [0.5, 0.5], [1 / 3, 1 / 3, 1 / 3], [1.0]):
            ours, theirs = (t.utils.data.random_split(range(size), shares) for t in (minigrad, torch))
            assert [len(part) for part in ours] == [len(part) for part in theirs]


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 5))
def test_random_orders(size: int, wanted: int, seed: int) -> None:
    sampler = data.RandomSampler(range(size), num_samples=wanted, generator=SEEDED().manual_seed(seed))
    counts = Counter(sampler)
    assert (sum(counts.values()), len(sampler)) == (wanted, wanted)
    assert max(counts.values()) - min(counts[i] for i in range(size)) <= 1
    again = data.RandomSampler(range(size), True, wanted, SEEDED().manual_seed(seed))
    drawn = list(again)
    assert len(drawn) == wanted
    assert set(drawn) <= set(range(size))


def test_weights_decide_what_is_drawn() -> None:
    minigrad.manual_seed(0)
    counts = Counter(data.WeightedRandomSampler([1, 0, 3], 4000))
    assert counts[1] == 0
    assert counts[2] / 4000 == pytest.approx(0.75, abs=0.04)
    assert sorted(data.WeightedRandomSampler(np.array([0.2, 0.1, 0.7]), 3, replacement=False)) == [0, 1, 2]
    assert sorted(data.SubsetRandomSampler([4, 7, 9])) == [4, 7, 9]
    assert list(data.SequentialSampler("abc")) == [0, 1, 2]


@given(st.integers(0, 20), st.integers(1, 7), st.booleans())
def test_batches_of_indices(size: int, batch_size: int, drop_last: bool) -> None:
    sampler = data.BatchSampler(range(size), batch_size, drop_last)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    kept = size - size % batch_size if drop_last else size
    assert [i for batch in batches for i in batch] == list(range(kept))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_a_loader() -> None:
    table = data.TensorDataset(minigrad.arange(7), minigrad.arange(14).reshape(7, 2))
    loader = data.DataLoader(table, batch_size=3)
    assert [x.tolist() for x, _ in loader] == [[0, 1, 2], [3, 4, 5], [6]]
    assert (len(loader), [len(x) for x, _ in data.DataLoader(table, 3, drop_last=True)]) == (3, [3, 3])
    assert [x.item() for x, _ in data.DataLoader(table, batch_size=None)] == list(range(7))
    chosen = data.DataLoader(table, batch_sampler=[[6, 0], [1]])
    assert ([x.tolist() for x, _ in chosen], len(chosen)) == ([[6, 0], [1]], 2)
    assert [x.tolist() for x, _ in data.DataLoader(table, 2, sampler=[5, 4, 0])] == [[5, 4], [0]]
    joined = data.DataLoader(Letters("abcde"), 2, collate_fn="".join)
    assert list(joined) == list(joined) == ["ab", "cd", "e"]


@given(order=st.lists(st.integers(-7, 6), min_size=1, max_size=9), size=st.integers(1, 4), nested=st.booleans())
def test_rows_of_tensors_are_those_collated_one_by_one(order: list[int], size: int, nested: bool) -> None:
    table: Any = data.TensorDataset(
        minigrad.arange(7), minigrad.arange(28.0).reshape(7, 2, 2).permute(0, 2, 1), minigrad.arange(7) > 2
    )
    if nested:
        table, order = data.Subset(data.Subset(table, range(6, -1, -1)), order), [*range(len(order))]
    one_by_one = data.DataLoader(table, size, sampler=order, collate_fn=lambda items: data.default_collate(items))
    for batch, expected in zip(data.DataLoader(table, size, sampler=order), one_by_one, strict=True):
        assert plain(batch) == plain(expected)


def test_rows_keep_their_gradient_and_their_errors() -> None:
    x = minigrad.ones(3, requires_grad=True)
    ((rows,),) = data.DataLoader(data.TensorDataset(x), 3, sampler=[2, 0, 2])
    rows.sum().backward()
    assert x.grad.tolist() == [1, 0, 2]
    for order in ([3], [minigrad.tensor(3)]):
        with pytest.raises(IndexError, match="index 3 is out of bounds"):
            list(data.DataLoader(TABLE, 1, sampler=order))
    assert [rows.tolist() for (rows,) in data.DataLoader(TABLE, 2, sampler=[*minigrad.tensor([1, 0])])] == [[1, 0]]


class AtOnce(Letters):
    def __getitems__(self, indices: list[int]) -> list[str]:
        return [self.text[i].upper() for i in indices]


def test_items_that_are_fetched_at_once() -> None:
    assert list(data.DataLoader(AtOnce("abc"), 2)) == [["A", "B"], ["C"]]
    assert list(data.DataLoader(data.Subset(AtOnce("abc"), [2, 0]), 2)) == [["C", "A"]]


def test_a_stream() -> None:
    assert list(data.DataLoader(Stream("abcde"), 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(data.DataLoader(Stream("abcde"), 2, drop_last=True)) == [["a", "b"], ["c", "d"]]
    assert list(data.DataLoader(Stream("ab"), None)) == ["a", "b"]
    lengths = [len(data.DataLoader(Stream("abcde"), 2, drop_last=drop)) for drop in (False, True)]
    assert [*lengths, len(data.DataLoader(Stream("abcde"), None))] == [3, 2, 5]


def test_the_generator_makes_the_order() -> None:
    def epochs(generator: Any) -> list:
        loader = data.DataLoader(range(20), 6, shuffle=True, generator=generator)
        return [[batch.tolist() for batch in loader] for _ in range(2)]

    first = epochs(SEEDED().manual_seed(1))
    assert first == epochs(SEEDED().manual_seed(1)) != epochs(SEEDED().manual_seed(2))
    assert first[0] != first[1]
    minigrad.manual_seed(5)
    before = minigrad.random.get_state()
    epochs(SEEDED())
    assert minigrad.random.get_state() == before, "a generator of its own leaves the others' stream alone"
    shared = epochs(None)
    minigrad.manual_seed(5)
    assert shared == epochs(None)


def test_a_generator_is_a_stream_of_its_own() -> None:
    generator = minigrad.Generator()
    assert generator.manual_seed(7) is generator
    assert generator.initial_seed() == 7
    state = generator.get_state()
    draws = [
        minigrad.rand(3, generator=generator), minigrad.randn(3, generator=generator),
        minigrad.randint(0, 9, (3,), generator=generator), minigrad.randperm(5, generator=generator),
        minigrad.tensor([1.0, 2, 3]).multinomial(2, generator=generator),
        minigrad.empty(3).uniform_(generator=generator), minigrad.empty(3).normal_(generator=generator),
    ]  # fmt: skip
    generator.set_state(state)
    assert minigrad.rand(3, generator=generator).tolist() == draws[0].tolist()
    minigrad.manual_seed(7)
    assert minigrad.initial_seed() == 7
    assert minigrad.rand(3).tolist() == draws[0].tolist()
    assert generator.seed() == generator.initial_seed() != 7
    with pytest.raises(RuntimeError, match="device is cuda; expected cpu"):
        minigrad.Generator("cuda")


TABLE = data.TensorDataset(minigrad.arange(3))
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"batch_size": 0}, ValueError, "batch_size is 0; expected an integer above 0"),
    ({"num_workers": -1}, ValueError, "num_workers is -1; expected an integer of 0 or more"),
    ({"timeout": -1}, ValueError, "timeout is -1"),
    ({"shuffle": True, "sampler": [1]}, ValueError, "sampler and shuffle=True exclude each other"),
    ({"batch_sampler": [[1]], "batch_size": 2}, ValueError, "batch_sampler and batch_size=2 exclude each other"),
    ({"batch_sampler": [[1]], "drop_last": True}, ValueError, "batch_sampler and drop_last=True"),
    ({"batch_size": None, "drop_last": True}, ValueError, "batch_size=None and drop_last=True"),
    ({"prefetch_factor": 2}, ValueError, "num_workers=0 and prefetch_factor=2 exclude each other"),
    ({"persistent_workers": True}, ValueError, "num_workers=0 and persistent_workers=True"),
    ({"num_workers": 1, "prefetch_factor": 0}, ValueError, "prefetch_factor is 0"),
    ({"num_workers": 1, "multiprocessing_context": "fork"}, ValueError, "multiprocessing_context is 'fork'; exp"),
    ({"dataset": Stream("ab"), "shuffle": True}, ValueError, "an IterableDataset and shuffle=True"),
    ({"dataset": Stream("ab"), "sampler": [1]}, ValueError, "an IterableDataset and sampler="),
    ({"shuffle": "yes"}, TypeError, "shuffle is 'yes'"),
    ({"collate_fn": 3}, TypeError, "collate_fn is 3; expected a function"),
]


@pytest.mark.parametrize(("options", "error", "text"), WRONG)
def test_what_a_loader_refuses(options: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"DataLoader: {text}"):
        data.DataLoader(**{"dataset": TABLE, **options})


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: data.DataLoader([], shuffle=True), ValueError, "RandomSampler: the data set is empty"),
        (lambda: setattr(data.DataLoader(TABLE), "batch_size", 2), ValueError, "batch_size cannot be changed"),
        (lambda: data.Dataset()[0], NotImplementedError, "Dataset has no __getitem__"),
        (lambda: iter(data.IterableDataset()), NotImplementedError, "IterableDataset has no __iter__"),
        (lambda: list(data.Sampler()), NotImplementedError, "Sampler has no __iter__"),
        (lambda: len(data.DataLoader(data.IterableDataset())), TypeError, "has no len"),
        (lambda: data.TensorDataset(), ValueError, "got no tensors"),
        (lambda: data.TensorDataset(minigrad.ones(2), minigrad.ones(3)), ValueError, "tensor 1 has 3 rows; expected 2"),
        (lambda: data.TensorDataset([1, 2]), TypeError, "tensor 0 is a list of 2; expected a tensor"),
        (lambda: data.TensorDataset(minigrad.tensor(1)), ValueError, "tensor 0 is 0-d"),
        (lambda: data.ConcatDataset([]), ValueError, "datasets is empty"),
        (lambda: data.ConcatDataset([Stream("a")]), TypeError, "use ChainDataset"),
        (lambda: data.ChainDataset([[1]]), TypeError, "data set 0 is a list of 1; expected an IterableDataset"),
        (lambda: (Letters("ab") + Letters("c"))[3], IndexError, "index is 3; expected -3 to 2"),
        (lambda: data.StackDataset(Letters("a"), Letters("bc")), ValueError, r"\[1, 2\] items; expected one length"),
        (lambda: data.random_split(range(5), [2, 2]), ValueError, "add up to 5"),
        (lambda: data.random_split(range(5), [-1, 6]), ValueError, "expected 0 or more"),
        (lambda: data.random_split(range(5), [2.5, 2.5]), ValueError, "expected integers that add up to 5"),
        (lambda: data.RandomSampler([1], num_samples=0), ValueError, "num_samples is 0"),
        (lambda: data.RandomSampler([1], replacement=1), TypeError, "replacement is 1; expected True or False"),
        (lambda: data.WeightedRandomSampler([1.0], 0), ValueError, "num_samples is 0"),
        (lambda: data.WeightedRandomSampler([[1.0]], 1), ValueError, r"weights have shape \(1, 1\)"),
        (lambda: data.BatchSampler([1], 0, False), ValueError, "batch_size is 0"),
    ],
)
def test_other_mistakes(call: Callable, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_a_data_set_that_raises_stop_iteration_is_an_error() -> None:
    """It would end the epoch without a word."""

    class Ending(data.Dataset[int]):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> int:
            return index if index < 4 else next(iter(()))

    with pytest.raises(RuntimeError, match="DataLoader: the data set, or its collate_fn, raised StopIteration"):
        list(data.DataLoader(Ending(), batch_size=2))


@pytest.mark.parametrize("stream", [3, "cpu", np.random.default_rng(0)], ids=lambda value: type(value).__name__)
def test_generators_are_streams(stream: Any) -> None:
    with pytest.raises(TypeError, match=r"generator is .*; expected a minigrad.Generator"):
        list(data.DataLoader(data.TensorDataset(minigrad.ones(4)), generator=stream))
    with pytest.raises(TypeError, match=r"generator is .*; expected a minigrad.Generator"):
        data.random_split(range(4), [2, 2], generator=stream)


def test_the_timeout_is_a_number() -> None:
    with pytest.raises(TypeError, match="DataLoader: timeout is 'long'; expected a number"):
        data.DataLoader(data.TensorDataset(minigrad.ones(4)), timeout="long")


def test_states_of_generators_are_checked() -> None:
    stream = minigrad.Generator()
    for state in ((1.5, 0, 0), ("a", 0, 0), (-1, 0, 0), (2**64, 0, 0), (1, 2**32, 0), (1, 0, 2**32)):
        with pytest.raises(ValueError, match=r"set_state: (seed|step|site) is .*; expected an integer from 0 to"):
            stream.set_state(state)
    for step in (-1, 2**32):
        with pytest.raises(ValueError, match=r"seed_step: step is .*; expected an integer from 0 to 4294967295"):
            stream.seed_step(3, step)
    stream.seed_step(3, 2**32 - 1)
    expected = list(data.RandomSampler(range(9), generator=stream))
    stream.set_state(tuple(np.array((3, 2**32 - 1, 0))))
    assert list(data.RandomSampler(range(9), generator=stream)) == expected


class Counting(data.IterableDataset[int]):
    """Its own iterator, which begins anew whenever one is asked for."""

    count = 0

    def __iter__(self) -> Counting:
        self.count = 0
        return self

    def __next__(self) -> int:
        if self.count == 3:
            raise StopIteration
        self.count += 1
        return self.count


def test_a_stream_that_is_its_own_iterator_ends() -> None:
    batches = itertools.islice(data.DataLoader(Counting(), batch_size=2), 9)
    assert [batch.tolist() for batch in batches] == [[1, 2], [3]]


@pytest.mark.parametrize("batch_size", [2, None])
def test_a_collate_fn_that_raises_stop_iteration_is_an_error(batch_size: int | None) -> None:
    loader = data.DataLoader(Counting(), batch_size=batch_size, collate_fn=lambda items: next(iter(())))
    with pytest.raises(RuntimeError, match="DataLoader: the data set, or its collate_fn, raised StopIteration"):
        list(loader)
