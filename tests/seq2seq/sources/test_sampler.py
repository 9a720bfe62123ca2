"""Batching: every pair once, order a function of (seed, epoch), limits kept, little padding."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.run.errors import UserError
from seq2seq.sources import BatchSampler, evaluation_batches

LENGTHS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)
SETTINGS = st.fixed_dictionaries(
    {"batch_size": st.integers(1, 9), "pool": st.integers(1, 4), "max_tokens": st.none() | st.integers(1, 300)}
)


def sides(lengths: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [src for src, _ in lengths], [trg for _, trg in lengths]


def padded_size(lengths: list[tuple[int, int]], batch: np.ndarray) -> int:
    """Positions of src (with <sos>, <eos>) and of trg_output (with <eos>) in one padded batch."""
    src, trg = sides([lengths[i] for i in batch])
    return len(batch) * (max(src) + 2 + max(trg) + 1)


@given(LENGTHS, SETTINGS, st.integers(0, 2**40), st.integers(0, 99))
def test_every_pair_once_within_the_limits(lengths, settings, seed, epoch) -> None:
    batches = BatchSampler(*sides(lengths), seed=seed, **settings).batches(epoch)
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= settings["batch_size"]
        if settings["max_tokens"] is not None and len(batch) > 1:
            assert padded_size(lengths, batch) <= settings["max_tokens"]


@given(LENGTHS.filter(lambda lengths: len(lengths) > 20), st.integers(0, 2**40), st.integers(0, 99))
def test_order_is_a_function_of_seed_and_epoch(lengths, seed, epoch) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = BatchSampler(*sides(lengths), batch_size=2, seed=seed, pool=2)
        sampler.batches(epoch + 7)
        return [batch.tolist() for batch in sampler.batches(epoch)]

    assert order(seed, epoch) == order(seed, epoch)
    assert order(seed, epoch) != order(seed, epoch + 1)
    assert order(seed, epoch) != order(seed + 1, epoch)


def test_order_never_changes_between_versions() -> None:
    batches = BatchSampler([3, 1, 2, 5, 4], [1, 2, 3, 4, 5], batch_size=2, seed=1234).batches(3)
    assert [batch.tolist() for batch in batches] == [[0, 1], [4], [2, 3]]


def test_a_pool_is_sorted_by_target_then_source() -> None:
    src, trg = [3, 1, 2, 9, 1], [2, 2, 1, 0, 7]
    batches = evaluation_batches(src, trg, batch_size=2)
    assert [batch.tolist() for batch in batches] == [[3, 2], [1, 0], [4]]
    sampled = {tuple(batch.tolist()) for batch in BatchSampler(src, trg, 2, seed=0).batches(0)}
    assert sampled == {(3, 2), (1, 0), (4,)}


def test_max_tokens_cuts_before_the_limit_and_isolates_giants() -> None:
    # Positions of a pair: src + 2 and trg + 1. Three pairs of 4 + 2 fill 18; the giant of 102 + 51 stands alone.
    src, trg = [2, 2, 2, 2, 100], [1, 1, 1, 1, 50]
    batches = evaluation_batches(src, trg, batch_size=8, max_tokens=18)
    assert [batch.tolist() for batch in batches] == [[0, 1, 2], [3], [4]]
    assert len(evaluation_batches(src, trg, batch_size=8, max_tokens=17)[0]) == 2
    giant_first = evaluation_batches([50, 2, 2, 2], [0, 1, 1, 1], batch_size=8, max_tokens=18)
    assert [batch.tolist() for batch in giant_first] == [[0], [1, 2, 3]]


def test_pools_of_like_lengths_have_little_padding() -> None:
    rng = np.random.default_rng(0)
    src = rng.integers(4, 40, 12_800)
    trg = np.maximum(1, src + rng.integers(-3, 4, 12_800))
    lengths = list(zip(src.tolist(), trg.tolist(), strict=True))
    real = sum(s + 2 + t + 1 for s, t in lengths)

    def share(pool: int) -> float:
        batches = BatchSampler(src, trg, 128, seed=1, pool=pool).batches(0)
        return real / sum(padded_size(lengths, batch) for batch in batches)

    assert share(1) < 0.65
    assert share(100) > 0.9


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("pool", 0), ("max_tokens", 0), ("seed", -1)])
def test_settings_out_of_range(name: str, value: int) -> None:
    settings = {"batch_size": 2, "seed": 0, name: value}
    with pytest.raises(UserError, match=f"{name} is {value}; expected at least {value + 1}"):
        BatchSampler([1], [1], **settings)


@pytest.mark.parametrize("name", ["batch_size", "pool", "max_tokens", "seed"])
@pytest.mark.parametrize("value", [1.5, "2", math.inf, True])
def test_settings_are_integers(name: str, value: object) -> None:
    settings: dict[str, Any] = {"batch_size": 2, "seed": 0, name: value}
    with pytest.raises(UserError, match=f"{name} is {value!r}; expected an integer of at least {int(name != 'seed')}"):
        BatchSampler([1], [1], **settings)


@pytest.mark.parametrize(
    ("epoch", "kind"), [(-1, "at least 0"), (0.5, "an integer of at least 0"), (None, "an integer")]
)
def test_epochs_are_counted_from_0(epoch: Any, kind: str) -> None:
    with pytest.raises(UserError, match=f"epoch is {epoch}; expected {kind}"):
        BatchSampler([1], [1], 2, 0).batches(epoch)


@pytest.mark.parametrize("lengths", [[-1], [1.5], [math.nan], ["a"], [[1, 2]], 3, None])
def test_lengths_are_integers(lengths: Any) -> None:
    for src, trg, name in ((lengths, [1], "src_lengths"), ([1], lengths, "trg_lengths")):
        with pytest.raises(UserError, match=f"{name} is .*; expected a list of integers, none negative"):
            BatchSampler(src, trg, 2, 0)
        with pytest.raises(UserError, match=f"{name} is "):
            evaluation_batches(src, trg, 2)


def test_lengths_belong_together() -> None:
    with pytest.raises(UserError, match="src_lengths are 2, trg_lengths 1; expected one of each for a pair"):
        BatchSampler([1, 2], [1], 2, 0)
