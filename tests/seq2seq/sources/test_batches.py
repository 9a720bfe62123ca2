"""Padding, the shift for teacher forcing, reversal: by value, and against a direct construction by Hypothesis."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.run.errors import UserError
from seq2seq.sources import EncodedSplit, NumberedTokens, Ragged, TextSource, drop_long, encode_split
from seq2seq.text.tokenizers import CharTokenizer, SpaceTokenizer
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID, Vocabulary

ID_LISTS = st.lists(st.tuples(*[st.lists(st.integers(0, 9), max_size=6)] * 2), min_size=1, max_size=8)


def split_of(pairs: list[tuple[list[int], list[int]]]) -> EncodedSplit:
    return EncodedSplit(Ragged(src for src, _ in pairs), Ragged(trg for _, trg in pairs))


def test_encode_split_by_value() -> None:
    src_vocabulary, trg_vocabulary = Vocabulary(["a", "b"]), Vocabulary(["un", "deux"])
    pairs = [("ab", "deux un"), ("", "trois"), ("ba b", "")]
    split = encode_split(iter(pairs), CharTokenizer(), SpaceTokenizer(), src_vocabulary, trg_vocabulary)
    assert len(split) == 3
    assert [split.src[i].tolist() for i in range(3)] == [[4, 5], [], [5, 4, 0, 5]]
    assert [split.trg[i].tolist() for i in range(3)] == [[5, 4], [0], []]
    assert split.src.lengths.tolist() == [2, 0, 4]
    assert split.src[0].dtype == np.int32


def test_ids_cannot_be_written_by_accident() -> None:
    ragged = Ragged([[1, 2], [3]])
    for ids in (ragged[0], ragged.flat, ragged.part(0, 1)[0], ragged.renumbered([0, 5, 6, 7])[0]):
        with pytest.raises(ValueError, match="read-only"):
            ids[0] = 7


def lists_of(ragged: Ragged) -> list[list[int]]:
    return [ids.tolist() for ids in ragged]


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=8), st.data())
def test_parts_and_new_numbers(lists: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged(lists)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(lists))] * 2)))
    part = ragged.part(start, stop)
    assert (lists_of(ragged), lists_of(part)) == (lists, lists[start:stop])
    assert part.lengths.tolist() == [len(ids) for ids in lists[start:stop]]
    assert lists_of(part.renumbered(np.arange(10) * 10)) == [[10 * i for i in ids] for ids in lists[start:stop]]
    assert part.renumbered(np.arange(10)).flat.dtype == np.int32


def test_a_split_is_cut_into_parts() -> None:
    pairs = [([4], [5, 6]), ([], [7]), ([8, 8], [])]
    parts = split_of(pairs).cut([1, 0, 2])
    assert [len(part) for part in parts] == [1, 0, 2]
    assert [list(zip(lists_of(part.src), lists_of(part.trg), strict=True)) for part in parts] == [
        pairs[:1], [], pairs[1:]
    ]  # fmt: skip


def test_numbered_tokens_by_value() -> None:
    numbered = NumberedTokens(iter([["b", "a"], [], ["a", "c", "a"]]))
    assert numbered.tokens == ["b", "a", "c"]
    assert lists_of(numbered.numbers) == [[0, 1], [], [1, 2, 1]]
    assert numbered.counts(np.array([True, True, True])) == {"b": 1, "a": 3, "c": 1}
    assert numbered.counts(np.array([True, True, False])) == {"b": 1, "a": 1, "c": 0}
    assert lists_of(numbered.encode(Vocabulary(["c", "a"]))) == [[0, 5], [], [5, 4, 5]]
    assert lists_of(NumberedTokens([[], []]).encode(Vocabulary(["c"]))) == [[], []]


def test_batch_by_value() -> None:
    batch = TextSource().batch(split_of([([9], [9]), ([4, 5, 6], [7]), ([8], [4, 5])]), [2, 1])
    assert batch.src.tolist() == [[2, 2], [8, 4], [3, 5], [1, 6], [1, 3]]
    assert batch.src_lengths.tolist() == [3, 5]
    assert batch.trg_input.tolist() == [[2, 2], [4, 7], [5, 1]]
    assert batch.trg_output.tolist() == [[4, 7], [5, 3], [3, 1]]
    assert batch.trg_lengths.tolist() == [3, 2]
    assert batch.indices.tolist() == [2, 1]
    assert (batch.num_src_tokens, batch.num_trg_tokens) == (8, 5)


def test_reversal_leaves_the_marks_in_place() -> None:
    source, split = TextSource(TextSource.Options(reverse_source=True)), split_of([([4, 5, 6], [7, 8]), ([4], [9])])
    batch = source.batch(split, [0, 1])
    assert batch.src.tolist() == [[2, 2], [6, 4], [5, 3], [4, 1], [3, 1]]
    assert batch.trg_output.tolist() == [[7, 9], [8, 3], [3, 1]]


AROUND = {"both": ([SOS_ID], [EOS_ID]), "end": ([], [EOS_ID]), "none": ([], [])}


@given(ID_LISTS, st.booleans(), st.sampled_from(list(AROUND)), st.data())
def test_batches_pad_and_shift(
    pairs: list[tuple[list[int], list[int]]], reverse: bool, marks: str, data: st.DataObject
) -> None:
    indices = data.draw(st.permutations(range(len(pairs))))
    source = TextSource(TextSource.Options(reverse_source=reverse, source_marks=marks))
    before, behind = AROUND[marks]
    assert source.marks == len(before) + len(behind)
    batch = source.batch(split_of(pairs), np.array(indices))
    for array in (batch.src, batch.trg_input, batch.trg_output):
        assert array.dtype == np.int64
        assert array.flags.c_contiguous
    for column, index in enumerate(indices):
        src, trg = pairs[index]
        expected = [*before, *(src[::-1] if reverse else src), *behind] or [EOS_ID]
        if src:
            assert source.own(np.array(expected)).tolist() == src
        assert batch.src[:, column].tolist() == expected + [PAD_ID] * (len(batch.src) - len(expected))
        padding = [PAD_ID] * (len(batch.trg_input) - len(trg) - 1)
        assert batch.trg_input[:, column].tolist() == [SOS_ID, *trg, *padding]
        assert batch.trg_output[:, column].tolist() == [*trg, EOS_ID, *padding]
        assert (batch.src_lengths[column], batch.trg_lengths[column]) == (len(expected), len(trg) + 1)
    assert len(batch.src) == batch.src_lengths.max()
    assert len(batch.trg_output) == batch.trg_lengths.max()


def test_other_marks_are_refused() -> None:
    with pytest.raises(UserError, match="source_marks is 'sos'; expected both, end, none"):
        TextSource(TextSource.Options(source_marks="sos"))


def test_the_names_of_version_0_1_still_work() -> None:
    from seq2seq.data import BatchSampler, make_batch, pad_sources
    from seq2seq.errors import UserError
    from seq2seq.tokenizers import SpaceTokenizer
    from seq2seq.vocabulary import Vocabulary

    assert make_batch(split_of([([4, 5], [7])]), [0], reverse_source=True).src.tolist() == [[2], [5], [4], [3]]
    assert pad_sources([[4, 5]])[0].tolist() == [[2], [4], [5], [3]]
    with pytest.raises(UserError, match="seed is -1"):
        BatchSampler([1], [1], 1, -1)
    assert Vocabulary.build([SpaceTokenizer().tokenize("a b")]).tokens[-2:] == ("a", "b")


def test_sources_alone() -> None:
    src, lengths = TextSource(TextSource.Options(reverse_source=True)).collate([[4], [5, 6]])
    assert src.tolist() == [[2, 2], [4, 6], [3, 5], [1, 3]]
    assert lengths.tolist() == [3, 4]
    assert TextSource().collate([])[0].shape == (0, 0)


def test_drop_long_counts_what_it_drops() -> None:
    split = split_of([([4], [5, 6]), ([4, 4, 4], [5]), ([], [7, 7, 7]), ([8, 8], [])])
    left, dropped = drop_long(split, 2)
    assert dropped == 2
    assert [(left.src[i].tolist(), left.trg[i].tolist()) for i in range(len(left))] == [([4], [5, 6]), ([8, 8], [])]
    assert drop_long(split, 3) == (split, 0)


@pytest.mark.parametrize(
    ("value", "kind"), [(0, "at least 1"), (-1, "at least 1"), (1.5, "an integer"), (None, "an integer")]
)
def test_drop_long_takes_a_number_of_tokens(value: Any, kind: str) -> None:
    with pytest.raises(UserError, match=f"max_length is {value}; expected {kind}"):
        drop_long(split_of([([4], [5])]), value)
