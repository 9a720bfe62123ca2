"""Adam on row-wise gradients: to the bit what dense Adam does, whoever looks whenever, at the cost of the rows used."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
import minigrad as mg
import minigrad.nn.functional as F
from minigrad import nn, optim
from minigrad.lazy import LazyParameter
from minigrad.optim import row_moments

V = 6
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.95), "eps": 1e-3}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.3}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("RMSprop", {"momentum": 0.5}),
]


class Run:
    """A table under training; two of them that differ in ``sparse`` alone must agree to the bit."""

    def __init__(self, sparse: bool, option: tuple[str, dict], E: int = 5, dtype: Any = np.float32) -> None:
        values = np.random.default_rng(0).standard_normal((V, E)).astype(dtype)
        self.layer = nn.Embedding.from_pretrained(mg.tensor(values), freeze=False, sparse=sparse)
        self.layer.weight.data = mg.tensor(values)
        self.optimizer = getattr(optim, option[0])(self.layer.parameters(), **option[1])
        self.number = 0

    @property
    def weight(self) -> nn.Parameter:
        return self.layer.weight

    def step(self, ids: Any, loss: Any = None) -> None:
        """One step on ``ids``, whose gradient depends on the step and on the values read."""
        self.number += 1
        embedded = self.layer(mg.tensor(np.array(ids, np.int64)))
        pull = np.random.default_rng(self.number).standard_normal(embedded.shape).astype(embedded.dtype)
        self.optimizer.zero_grad()
        total = (embedded * embedded * mg.tensor(pull)).sum()
        (total if loss is None else total + loss(self.weight)).backward()
        self.optimizer.step()

    def content(self) -> dict[str, np.ndarray]:
        """Copies of the table and of what the optimiser keeps of it."""
        slots = {name: slot.array.copy() for name, slot in self.optimizer.state[self.weight].items()}
        return {"weight": self.weight.array.copy(), **slots}


def postponed(run: Run) -> int:
    """Steps with updates pending."""
    return run.optimizer._tables[run.weight]._count


def assert_same_bits(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in found.items():
        twin = expected[name]
        assert array.dtype == twin.dtype
        kind = f"u{array.itemsize}"
        np.testing.assert_array_equal(array.view(kind), twin.view(kind), err_msg=name)


def both(*arguments: Any, **keywords: Any) -> tuple[Run, Run]:
    return Run(True, *arguments, **keywords), Run(False, *arguments, **keywords)


STEPS = st.lists(
    st.tuples(
        st.lists(st.integers(0, V - 2), max_size=4),  # ids of the step: row V - 1 is never used
        st.integers(1, 12),  # how often it is repeated
        st.sampled_from([None, "all", "weight", "moment", "row", "copy"]),  # who looks after it
        st.sampled_from([1.0, 0.5, 2.0, 0.0]),  # factor on the learning rate
    ),
    min_size=1,
    max_size=5,
)


def look(run: Run, who: str | None) -> Any:
    if who == "all":
        return run.content()
    if who == "weight":
        return {"weight": run.weight.detach().numpy().copy()}
    if who == "moment" and "exp_avg" in run.optimizer.state[run.weight]:
        return {"v": run.optimizer.state_dict()["state"][0]["exp_avg_sq"].numpy().copy()}
    if who == "row":
        with mg.no_grad():
            return {"row": run.layer(mg.tensor([[3]])).array}
    return {"copy": copy.deepcopy(run.layer).weight.array} if who == "copy" else {}


@pytest.mark.parametrize("history", [3, 1024])
@pytest.mark.parametrize("option", OPTIONS, ids=str)
@given(steps=STEPS, E=st.integers(1, 20), dtype=st.sampled_from([np.float32, np.float64]))
def test_equals_the_dense_optimiser_to_the_bit(option: Any, history: int, steps: Any, E: int, dtype: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_moments, "HISTORY", history)
        runs = both(option, E, dtype)
        for ids, count, who, factor in steps:
            for run in runs:
                run.optimizer.param_groups[0]["lr"] *= factor
                for _ in range(count):
                    run.step(ids)
            assert_same_bits(look(runs[0], who), look(runs[1], who))
        assert_same_bits(runs[0].content(), runs[1].content())


def test_updates_are_postponed_and_rows_alone_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the tests of this file would hold for an optimiser that is never lazy."""
    run = Run(True, ("Adam", {}))
    replayed: list[list[int]] = []
    replay = kernels.adam_replay

    def counting(param: Any, m: Any, v: Any, rows: Any, first: Any, history: Any) -> None:
        replayed.append(rows.tolist())
        replay(param, m, v, rows, first, history)

    monkeypatch.setattr(kernels, "adam_replay", counting)
    for ids in ([0, 1], [2], [2], [1]):
        run.step(ids)
    assert (postponed(run), replayed) == (4, [[1]])  # row 1 before it is read again
    assert run.weight.pending is not None
    assert (run.weight.shape, run.weight.dtype, run.weight.numel(), run.weight.dim()) == ((V, 5), np.float32, V * 5, 2)
    assert postponed(run) == 4  # a shape is known without a flush
    assert run.weight.array is not None
    assert (postponed(run), replayed) == (0, [[1], [0, 2]])  # 3, 4, 5 have never moved
    assert run.weight.pending is None


def test_no_array_of_the_size_of_the_table_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(True, ("Adam", {}))
    run.step([1])
    monkeypatch.setattr("minigrad.rows.RowGradient.dense_array", lambda self: pytest.fail("made dense"))
    run.step([2])
    run.optimizer.step_clipped(1.0)
    sgd = Run(True, ("SGD", {}))
    sgd.step([2])


def test_options_that_change_on_the_way() -> None:
    runs = both(("Adam", {"lr": 0.01}))
    for run in runs:
        group = run.optimizer.param_groups[0]
        scheduler = optim.lr_scheduler.ExponentialLR(run.optimizer, 0.9)
        for number in range(40):
            run.step([number % 3])
            scheduler.step()
            if number == 20:
                group.update(betas=(0.5, 0.9), weight_decay=0.1)
            if number == 30:
                group.update(weight_decay=0, eps=1e-4)
    assert postponed(runs[0]) > 0
    assert_same_bits(runs[0].content(), runs[1].content())


@pytest.mark.parametrize("looks", [False, True])
def test_an_l2_term_that_is_switched_off_leaves_moments_behind(looks: bool) -> None:
    """In rows without a gradient too, which move on, whoever looked at the table."""
    dense, sparse = (Run(one, ("Adam", {"lr": 0.1, "weight_decay": 0.1})) for one in (False, True))
    for decay in (0.1, 0.0, 0.0, 0.0):
        for run in (dense, sparse):
            run.optimizer.param_groups[0]["weight_decay"] = decay
            run.step([0])
            if looks:
                run.weight.detach().numpy().copy()
    assert_same_bits(sparse.content(), dense.content())


def test_an_eps_of_zero_makes_the_rows_nan_that_dense_adam_makes_nan() -> None:
    runs = both(("Adam", {"eps": 0.0}))
    with np.errstate(invalid="ignore"):
        for run in runs:
            run.step([1])
            run.step([2])
    assert_same_bits(runs[0].content(), runs[1].content())
    assert np.isnan(runs[0].weight.array[5]).all()


# --- whoever looks ----------------------------------------------------------------------------------------------------
def test_what_was_exposed_before_is_never_stale() -> None:
    """Arrays, views, detached tensors and state dicts taken early, and moments, all kept over the whole training."""
    runs = both(("Adam", {}))
    kept: list[list[Any]] = []
    for run in runs:
        run.step([0, 1])
        state = run.optimizer.state_dict()["state"][0]
        weight = run.weight
        kept.append([weight.array, weight.array[0:2], weight.detach(), run.layer.state_dict(), weight.view(-1)])
        kept[-1] += [state["exp_avg"].array, state["exp_avg_sq"]]
    for number in range(5):
        for run in runs:
            run.step([2 + number % 2])
        for mine, other in zip(*kept, strict=True):
            mine, other = (item["weight"] if isinstance(item, dict) else item for item in (mine, other))
            np.testing.assert_array_equal(*(x.array if isinstance(x, mg.Tensor) else x for x in (mine, other)))
    assert postponed(runs[0]) == 0
    kept.clear()
    del mine, other, state, weight
    for run in runs:
        run.step([3])
    assert postponed(runs[0]) == 1  # nobody holds them any more
    assert_same_bits(runs[0].content(), runs[1].content())


def test_the_check_above_sees_a_stale_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LazyParameter, "is_shared", lambda self: False)
    with pytest.raises(AssertionError):
        test_what_was_exposed_before_is_never_stale()


@pytest.mark.parametrize("lost", ["a step", "a row"])
def test_the_comparison_sees_a_replay_that_leaves_something_out(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = kernels.adam_replay

    def wrong(param: Any, m: Any, v: Any, rows: Any, first: Any, history: Any) -> None:
        if lost == "a row":
            replay(param, m, v, rows[1:], first[1:], history)
        else:
            replay(param, m, v, rows, np.minimum(first + 1, len(history)), history)

    monkeypatch.setattr(kernels, "adam_replay", wrong)
    runs = both(("Adam", {}))
    for run in runs:
        for ids in ([0, 1], [2], [3]):
            run.step(ids)
    with pytest.raises(AssertionError):
        assert_same_bits(runs[0].content(), runs[1].content())


def test_other_ops_read_and_write_the_table() -> None:
    """A sum, an assignment, copy_, another initialisation, new data, load_state_dict: all between lazy steps."""

    def fill(run: Run) -> None:
        run.weight.data = mg.tensor(np.full((V, 5), 0.25, np.float32))

    def load(run: Run) -> None:
        run.layer.load_state_dict({"weight": run.weight.array * 2})

    @mg.no_grad()
    def assign(run: Run) -> None:
        run.weight[2] = run.weight[0] * 2
        run.weight[4:] += 1

    def moments(run: Run) -> None:
        state = run.optimizer.state[run.weight]
        with mg.no_grad():
            state["exp_avg"][5] = 0.5  # a row that was at rest
            state["exp_avg_sq"].mul_(2.0)

    def anew(run: Run) -> None:
        state = run.optimizer.state[run.weight]
        state["exp_avg"] = mg.tensor(state["exp_avg"].array * 0.5)

    runs = both(("Adam", {"lr": 0.02}))
    for change in (lambda run: run.weight.sum(), assign, moments, fill, load, anew, lambda run: repr(run.weight)):
        for run in runs:
            for ids in ([0, 1], [2], [1, 3]):
                run.step(ids)
            change(run)
            run.step([4])
        assert postponed(runs[0]) > 0
        assert_same_bits(look(runs[0], "row"), look(runs[1], "row"))
    assert_same_bits(runs[0].content(), runs[1].content())


def test_tied_tables_and_dense_gradients_in_between() -> None:
    """The table is also an output layer at some steps: its gradient is dense then."""
    runs = both(("AdamW", {"lr": 0.02}))
    hidden = mg.tensor(np.random.default_rng(5).standard_normal((3, 5)).astype(np.float32))
    for run in runs:
        for number in range(8):
            tied = (lambda weight: F.linear(hidden, weight).exp().sum()) if number % 3 == 2 else None
            run.step([number % V, 1], loss=tied)
    assert_same_bits(runs[0].content(), runs[1].content())


def test_two_optimisers_over_one_table_and_one_that_is_dropped() -> None:
    runs = both(("Adam", {}))
    for run in runs:
        first, second = run.optimizer, optim.AdamW(run.layer.parameters(), lr=0.01)
        sgd = optim.SGD(run.layer.parameters(), lr=0.1)
        for optimizer, ids in ((first, [0]), (second, [1]), (second, [2]), (first, [2]), (sgd, [0]), (second, [3])):
            run.optimizer = optimizer
            run.step(ids)
        run.optimizer = first
        del second, optimizer
    assert_same_bits(runs[0].content(), runs[1].content())


def test_copies_of_model_and_optimiser_go_their_own_way() -> None:
    runs = list(both(("Adam", {})))
    for run in runs:
        for ids in ([0, 1], [2]):
            run.step(ids)
    copies = copy.deepcopy(runs)
    for run in runs:
        run.step([5])
    for run in copies:
        run.step([0])
        run.step([1])
    assert postponed(copies[0]) == 2
    assert_same_bits(copies[0].content(), copies[1].content())
    assert_same_bits(runs[0].content(), runs[1].content())


@pytest.mark.parametrize("option", OPTIONS[:4], ids=str)
def test_going_on_from_a_file_is_exact(option: Any, tmp_path: Any) -> None:
    straight, dense = both(option)
    plan = [[0, 1], [2], [2, 3], [1], [4], [0]]
    for run in (straight, dense):
        for ids in plan:
            run.step(ids)
    begun = Run(True, option)
    for ids in plan[:3]:
        begun.step(ids)
    assert postponed(begun) == 3
    saved = {"optimizer": begun.optimizer.state_dict(), "layer": dict(begun.layer.state_dict())}
    mg.save(saved, tmp_path / "state.safetensors")
    loaded = mg.load(tmp_path / "state.safetensors")
    resumed = Run(True, option)
    resumed.step([5])  # which is to be forgotten, also what it postponed
    resumed.layer.load_state_dict(loaded["layer"])
    resumed.optimizer.load_state_dict(loaded["optimizer"])
    resumed.number = 3
    for ids in plan[3:]:
        resumed.step(ids)
    assert postponed(resumed) == 3
    assert_same_bits(resumed.content(), straight.content())
    assert_same_bits(straight.content(), dense.content())


def test_loading_an_optimiser_state_first_flushes() -> None:
    runs = both(("Adam", {}))
    for run in runs:
        run.step([0])
        state = copy.deepcopy(run.optimizer.state_dict())
        run.step([1])
        run.step([2])
        run.optimizer.load_state_dict(state)
        run.step([3])
    assert_same_bits(runs[0].content(), runs[1].content())


def test_tables_that_cannot_wait_are_updated_whole() -> None:
    """A plain tensor, a view, memory in another order: the same numbers, nothing postponed."""
    values = np.random.default_rng(0).standard_normal((V, 5)).astype(np.float32)
    tables: list[Any] = [
        mg.tensor(values).requires_grad_(),
        nn.Parameter(np.asfortranarray(values)),
        nn.Parameter(np.concatenate([values, values])[:V]),
        nn.Parameter(mg.tensor(values), requires_grad=True),
    ]
    results = []
    for number, weight in enumerate(tables):
        optimizer = optim.Adam([weight], lr=0.1)
        for ids in ([0, 1], [2], [1]):
            optimizer.zero_grad()
            (F.embedding(mg.tensor(ids), weight, sparse=number < 3) ** 2).sum().backward()
            optimizer.step()
        results.append(weight.detach().array.copy())
    for found in results[:3]:
        np.testing.assert_array_equal(found, results[3])


def test_bad_ids_are_refused_as_ever() -> None:
    run = Run(True, ("Adam", {}))
    run.step([0])
    run.step([1])
    with pytest.raises(IndexError, match=r"ids holds 6; expected 0\.\.V-1 = 0\.\.5"):
        run.step([0, 6])
    with pytest.raises(IndexError, match="ids holds -1"):
        run.step([-1])
    with pytest.raises(TypeError, match="ids has dtype float32"):
        run.layer(mg.ones(2))
