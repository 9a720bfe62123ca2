"""Sources of numbers: what they read, keep, learn and refuse, by value."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import EncodedSplit, Ragged
from seq2seq.sources.frames import FrameSource
from seq2seq.sources.rows import RowItems, RowLearner, RowSide
from seq2seq.sources.vectors import VectorSource
from seq2seq.text.codec import TextCodec

KINDS = {"vectors": VectorSource, "frames": FrameSource}


def draw(count: int, size: int = 3, seed: int = 0, most: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((rng.integers(1, most + 1), size)).astype(np.float32) for _ in range(count)]


def vectors_of(count: int, **how: int) -> list[np.ndarray]:
    return [rows[0] for rows in draw(count, **how)]


# --- files ------------------------------------------------------------------------------------------------------------
def test_vectors_are_views_of_a_mapped_file(write_rows) -> None:
    examples = vectors_of(5)
    path = write_rows("vectors", examples, "abcde").split(",")[0]
    rows = VectorSource().read_rows(path)
    np.testing.assert_array_equal(np.concatenate(rows), examples)
    assert {one.shape for one in rows} == {(1, 3)}
    assert not rows[0].flags.owndata
    assert not rows[0].flags.writeable
    base = rows[0]
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)


def test_regions_are_rows_of_one_example(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.save(tmp_path / "r.npy", array)
    rows = VectorSource().read_rows(str(tmp_path / "r.npy"))
    np.testing.assert_array_equal(rows, array)


def test_frames_are_cut_by_their_lengths(write_rows) -> None:
    examples = draw(6)
    found = FrameSource().read_rows(write_rows("frames", examples, "abcdef").split(",")[0])
    assert len(found) == 6
    for rows, expected in zip(found, examples, strict=True):
        np.testing.assert_array_equal(rows, expected)


def test_a_batch_is_padded_with_zeros() -> None:
    examples = draw(4, seed=1)
    split = EncodedSplit(RowItems(examples), Ragged([[4], [5, 6], [], [7]]))
    batch = FrameSource().batch(split, [2, 0, 3])
    assert batch.src.dtype == np.float32
    for column, number in enumerate((2, 0, 3)):
        length = len(examples[number])
        assert batch.src_lengths[column] == length
        np.testing.assert_array_equal(batch.src[:length, column], examples[number])
        assert not batch.src[length:, column].any()
    assert batch.num_src_tokens == sum(len(examples[number]) for number in (2, 0, 3))
    assert FrameSource().collate([])[0].shape == (0, 0, 0)


def test_items_are_cut_and_taken() -> None:
    examples = draw(5)
    items = RowItems(examples)
    assert list(items.lengths) == [len(rows) for rows in examples]
    for part, numbers in ((items.part(1, 3), [1, 2]), (items.take([4, 0]), [4, 0])):
        assert len(part) == 2
        for found, number in zip((part[0], part[1]), numbers, strict=True):
            np.testing.assert_array_equal(found, examples[number])


# --- data sets --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_several_targets_are_pairs_in_training_and_references_elsewhere(kind: str, write_rows) -> None:
    examples = vectors_of(3) if kind == "vectors" else draw(3)
    lines = ["a cat\ta tom", "a dog", " \tb\t"]
    spec, other = (write_rows(kind, examples, lines, name) for name in ("train", "valid"))
    source = KINDS[kind]()
    data = source.load(Config(source=kind, data=spec, valid=other))
    assert [trg for _, trg in data.split("train")] == ["a cat", "a tom", "a dog", "b"]
    assert data.split("train")[0][0] is data.split("train")[1][0]
    assert [trg for _, trg in data.split("valid")] == ["a cat", "a dog", "b"]
    assert data.references("valid") == [("a cat", "a tom"), ("a dog",), ("b",)]
    assert data.trg_language == "en"
    assert list(data.checksums) == [*spec.split(","), *other.split(",")]
    assert source.read_examples("test", other).references == data.references("valid")


def test_equal_examples_are_held_out_together(write_rows) -> None:
    examples = [np.full(2, k % 60, np.float32) for k in range(180)]
    data = VectorSource().load(Config(source="vectors", data=write_rows("vectors", examples, ["x"] * 180)))
    valid, train = ({float(rows[0, 0]) for rows, _ in data.split(name)} for name in ("valid", "train"))
    assert (len(valid), len(train)) == (2, 58)
    assert len(data.split("valid")) == 6
    backwards = VectorSource().load(
        Config(source="vectors", data=write_rows("vectors", examples[::-1], ["x"] * 180, "other"))
    )
    assert {float(rows[0, 0]) for rows, _ in backwards.split("valid")} == valid


def test_numbers_are_standardised_by_those_of_training_alone(write_rows) -> None:
    rng = np.random.default_rng(0)
    train = (rng.standard_normal((50, 3)) * [1, 5, 0] + [100, -2, 7]).astype(np.float32)
    spec, valid = write_rows("vectors", train, ["a\tb"] * 50), write_rows("vectors", train[:3] + 1, ["a"] * 3, "valid")
    config = Config(source="vectors", data=spec, valid=valid, trg_tokenizer="space", min_freq=1)
    codec, encoded = TextCodec.build_encoded(VectorSource().load(config), config)
    given = np.concatenate([encoded["train"].src[number] for number in range(0, 100, 2)])
    deviation = np.array([1.0, 1.0, 0.0])  # what never changes is only brought to zero
    np.testing.assert_allclose(given.mean(0), 0, atol=2e-5)
    np.testing.assert_allclose(given.std(0), deviation, atol=1e-5)
    scale = train.astype(np.float64).std(0)
    scale[2] = 1
    expected = (train[0] + 1 - train.mean(0, dtype=np.float64)) / scale
    np.testing.assert_allclose(encoded["valid"].src[0][0], expected, atol=2e-5)
    assert codec.source.num_inputs == 3
    plain = TextCodec.build(VectorSource().load(config), Config(**{**config.as_dict(), "standardize": False}))
    np.testing.assert_array_equal(plain.source.encode([train[:1]])[0], train[:1])


def test_what_is_kept_is_what_was_learnt() -> None:
    side, _ = RowLearner(_dataset(draw(9)), True).learn(np.ones(9, bool))
    again = FrameSource().restored(json.loads(json.dumps(side.stored())))
    np.testing.assert_array_equal(again.mean, side.mean)
    np.testing.assert_array_equal(again.scale, side.scale)
    assert again.fingerprint() == side.fingerprint() != RowSide(side.mean, side.mean).fingerprint()


def _dataset(examples: list[np.ndarray]):
    from seq2seq.sources import Dataset

    return Dataset("toy", "xx", "xx", {"train": [(rows, "a") for rows in examples]})


def test_examples_that_are_left_out_teach_nothing() -> None:
    examples = draw(9)
    kept = np.array([True] * 8 + [False])
    side, items = RowLearner(_dataset(examples), True).learn(kept)
    rows = np.concatenate(examples[:8])
    np.testing.assert_allclose(side.mean, rows.mean(0), rtol=1e-5)
    assert len(items) == 9


# --- what is refused --------------------------------------------------------------------------------------------------
def save(tmp_path: Path, array: np.ndarray) -> str:
    np.save(tmp_path / "x.npy", array)
    return str(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2)), "numbers of float64; expected an array of float32"),
        (np.zeros((3, 2), ">f4"), "numbers of >f4; expected an array of float32"),
        (np.zeros((3, 2), np.int32), "numbers of int32"),
        (np.zeros(3, np.float32), r"shape \(3,\); expected 2 or 3 dimensions"),
        (np.zeros((3, 0), np.float32), r"shape \(3, 0\)"),
        (np.where(np.arange(10)[:, None] == 6, np.nan, np.zeros((10, 2), np.float32)), "row 7 holds a number that"),
        (np.where(np.arange(10)[:, None] == 0, np.inf, np.zeros((10, 2), np.float32)), "row 1 holds a number that"),
    ],
)
def test_arrays_that_are_no_vectors(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        VectorSource().read_rows(save(tmp_path, array))


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    path = Path(save(tmp_path, np.zeros((300, 7), np.float32)))
    whole = path.read_bytes()
    objects = io.BytesIO()
    np.save(objects, np.array([{}]), allow_pickle=True)
    nested = b"\x93NUMPY\x01\x00\xf6\x1f" + b"(" * 8182
    for content in (b"", b"text\n", whole[:60], whole[:-5], objects.getvalue(), b"PK\x03\x04", nested):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.npy: cannot be read"):
            VectorSource().read_rows(str(path))
        with pytest.raises(UserError, match=r"x\.npy: cannot be read"):
            FrameSource().read_rows(str(path))
    with pytest.raises(UserError, match="no such file"):
        VectorSource().read_rows(str(tmp_path / "none.npy"))
    with pytest.raises(UserError, match="not a regular file"):
        FrameSource().read_rows(str(tmp_path))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([2, 0, 3], "example 2 has 0 frames"),
        ([2, -1, 4], "example 2 has -1 frames"),
        ([2, 2], "the lengths add up to 4, the number of rows is 5"),
        ([[5]], r"lengths: int64 of shape \(1, 1\); expected integers"),
        ([2.0, 3.0], "lengths: float64"),
        (np.array([2**63, 2**63, 5], np.uint64), "add up to 18,446,744,073,709,551,621"),
    ],
)
def test_lengths_that_do_not_fit(tmp_path: Path, lengths: object, message: str) -> None:
    np.savez(tmp_path / "x.npz", rows=np.zeros((5, 2), np.float32), lengths=lengths)
    with pytest.raises(UserError, match=message):
        FrameSource().read_rows(str(tmp_path / "x.npz"))


def test_archives_without_what_is_needed_or_with_too_much(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, frames=np.zeros((5, 2), np.float32))
    with pytest.raises(UserError, match="expected an archive with rows and lengths"):
        FrameSource().read_rows(str(path))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("lengths.npy", b"")
        members.writestr("rows.npy", bytes(100 << 20))
    with pytest.raises(UserError, match="not a zip bomb"):
        FrameSource().read_rows(str(path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "numbers"}, r"data is 'numbers'; expected VECTORS\.npy,TEXT\.txt for source vectors"),
        ({"data": "x.tsv"}, r"data is 'x\.tsv'; expected VECTORS\.npy,TEXT\.txt"),
        ({"src_tokenizer": "char"}, "src_tokenizer is 'char'; source vectors has no text on that side"),
        ({"src_language": "de"}, "src_language is 'de'"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str, write_rows) -> None:
    spec = write_rows("vectors", vectors_of(4), "abcd")
    with pytest.raises(UserError, match=message):
        VectorSource().load(Config(**{"source": "vectors", "data": spec, **settings}))


def test_counts_and_sizes_must_agree(write_rows) -> None:
    spec = write_rows("frames", draw(4), "abc")
    with pytest.raises(UserError, match=r"train\.npz has 4 examples, .*train\.en has 3 lines; expected equal numbers"):
        FrameSource().load(Config(source="frames", data=spec))
    spec, other = write_rows("frames", draw(4), "abcd"), write_rows("frames", draw(4, size=5), "abcd", "valid")
    config = Config(source="frames", data=spec, valid=other, trg_tokenizer="space", min_freq=1)
    with pytest.raises(UserError, match="example 5 has 5 numbers in a row; expected 3, as in training"):
        TextCodec.build_encoded(FrameSource().load(config), config)


def test_what_a_program_gives_is_checked() -> None:
    side, _ = RowLearner(_dataset(draw(3)), True).learn(np.ones(3, bool))
    (found,) = side.checked([np.ones(3, np.float32)], "translate", "sentence")
    assert found.shape == (1, 3)
    for given, message in (
        ("text", "expected arrays of float32"),
        (7, "expected arrays of float32"),
        ([[1.0, 2.0]], "example 1 is"),
        ([np.ones(3)], "example 1: numbers of float64"),
        ([np.ones((0, 3), np.float32)], "example 1: no rows"),
        ([np.full(3, np.nan, np.float32)], "row 1 holds"),
    ):
        with pytest.raises(UserError, match=message):
            side.checked(given, "translate", "sentence")
    with pytest.raises(UserError, match="example 2 has 4 numbers in a row; expected 3"):
        side.encode(side.checked([np.ones(3, np.float32), np.ones(4, np.float32)], "translate", "sentence"))


@pytest.mark.parametrize(
    "stored",
    [
        {"mean": [], "scale": []},
        {"mean": [1.0], "scale": [1.0, 2.0]},
        {"mean": [1.0], "scale": ["1"]},
        {"mean": [True], "scale": [1.0]},
        {"mean": [1e300], "scale": [1.0]},
        {"mean": "12", "scale": [1.0, 2.0]},
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_stored_figures_are_not_trusted(stored: dict) -> None:
    with pytest.raises(UserError, match="src_"):
        RowSide.restored(stored)
