"""``save`` and ``load``: everything comes back as it was, nothing else is accepted, a failure leaves the old file."""

from __future__ import annotations

import os
import pickle
import threading
import tracemalloc

import numpy as np
import pytest

import minigrad
from minigrad import serialization
from minigrad.tensor import Tensor


def same(a, b) -> bool:
    """Equal structure, values, dtypes and shapes."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and np.array_equal(a.array, b.array) and a.shape == b.shape
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


NESTED = {
    "model": {"weight": minigrad.arange(6).reshape(2, 3).float(), "bias": minigrad.tensor([0.5, -0.5])},
    "optimizer": {"state": {0: {"step": 3, "m": minigrad.ones(2)}, 1: {"step": 4, "m": minigrad.zeros(0, 3)}}},
    "history": [1, 2.5, None, True, "text with \u00fcmlauts \u2713", [minigrad.tensor([True, False])], {}],
    "scalar": minigrad.tensor(7),
    "lr": 1e-300,
}


@pytest.mark.parametrize(
    "value",
    [
        NESTED,
        minigrad.tensor([1.5]),
        [minigrad.tensor([1]), minigrad.tensor(2.0)],
        {"fortran": Tensor(np.asfortranarray(np.arange(6.0).reshape(2, 3)))},
        {"transposed": minigrad.arange(6).reshape(2, 3).T, "strided": minigrad.arange(9)[::2]},
        {"empty": minigrad.zeros(0), "flat": minigrad.zeros(3, 0, 2)},
        {"infinite": minigrad.tensor([np.inf, -np.inf])},
        {1: "one", "1": "text one", 2: minigrad.tensor([2])},
        {"__tensor__": "a name that the format uses itself"},
        {},
        [],
        "text",
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_round_trip(value, tmp_path):
    path = tmp_path / "file.safetensors"
    minigrad.save(value, path)
    assert same(value, minigrad.load(path))


def test_two_names_that_would_meet_stay_apart(tmp_path):
    value = {"a.b": minigrad.tensor([1]), "a": {"b": minigrad.tensor([2])}}
    minigrad.save(value, tmp_path / "f")
    assert same(value, minigrad.load(tmp_path / "f"))


def test_equal_objects_give_equal_bytes():
    assert serialization.to_bytes(NESTED) == serialization.to_bytes(NESTED)


def test_what_is_loaded_is_writable_and_its_own():
    data = serialization.to_bytes({"w": minigrad.zeros(3)})
    first, second = serialization.from_bytes(data), serialization.from_bytes(data)
    first["w"][0] = 5.0
    assert second["w"].tolist() == [0.0, 0.0, 0.0]


def test_a_flat_state_can_be_read_by_safetensors(tmp_path):
    numpy_format = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "file.safetensors"
    minigrad.save({"weight": minigrad.ones(2, 2), "bias": minigrad.zeros(2)}, path)
    assert set(numpy_format.load_file(path)) == {"weight", "bias"}


def test_files_of_other_programs_load_as_a_dict(tmp_path):
    numpy_format = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "file.safetensors"
    numpy_format.save_file({"weight": np.eye(2, dtype=np.float32)}, path)
    assert same(minigrad.load(path), {"weight": minigrad.eye(2)})


def broken_files() -> dict[str, bytes]:
    whole = serialization.to_bytes({"w": minigrad.ones(100)})
    return {
        "a pickle": pickle.dumps({"w": 1}),
        "nothing": b"",
        "text": b"hello, this is no checkpoint",
        "cut": whole[:-10],
        "cut in the header": whole[:20],
        "longer": whole + b"x",
        "a huge header": (2**60).to_bytes(8, "little") + whole[8:],
    }


@pytest.mark.parametrize("kind", sorted(broken_files()))
def test_broken_and_foreign_files_are_refused(kind, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(broken_files()[kind])
    with pytest.raises(ValueError, match=r"file: not a readable safetensors file .* pickles are never loaded"):
        minigrad.load(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        minigrad.load(tmp_path / "none")


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_a_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="pickles are never loaded"):
        minigrad.load(tmp_path / "bomb")
    assert not (tmp_path / "exploded").exists()


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"model\.hook is a function"):
        minigrad.save({"model": {"hook": same}}, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, full_disk):
    path = tmp_path / "file"
    minigrad.save({"w": minigrad.ones(2)}, path)
    full_disk()
    with pytest.raises(OSError, match="No space left"):
        minigrad.save({"w": minigrad.zeros(2)}, path)
    assert minigrad.load(path)["w"].tolist() == [1.0, 1.0]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_other_programs_read_every_dtype_and_shape(tmp_path):
    """The format is written here; safetensors' own reader is the judge. No tensor is copied as a whole on the way."""
    from safetensors.numpy import load_file

    dtypes = ["float64", "float32", "int64", "int32", "int16", "int8", "uint8", "bool"]
    arrays = {
        f"{dtype} {shape}": np.ones(shape, dtype) for dtype in dtypes for shape in ((), (0,), (3,), (2, 0), (2, 5))
    }
    arrays["strided"] = np.arange(24.0).reshape(4, 6)[::2, ::3]
    arrays["big-endian"] = np.arange(3, dtype=">i4")
    serialization.save(arrays, tmp_path / "a.safetensors")
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("=")


def test_a_save_takes_no_memory_of_the_size_of_the_tensors(tmp_path):
    array = np.ones(2_000_000, np.float32)
    tracemalloc.start()
    try:
        serialization.save({"w": array}, tmp_path / "w")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < array.nbytes / 10


def test_what_has_no_place_in_the_format_is_refused(tmp_path):
    with pytest.raises(TypeError, match="save: w has dtype complex128; expected bool, integers or floating numbers"):
        serialization.save({"w": np.zeros(2, complex)}, tmp_path / "w")
    assert not list(tmp_path.iterdir())


def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path):
    path = tmp_path / "file"
    minigrad.save(NESTED, path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 64
        path.write_bytes(changed)
        if serialization.has_digest(bytes(changed)):
            with pytest.raises(ValueError, match="changed since it was written"):
                minigrad.load(path)
        else:  # a file of another program, for all that it says
            assert 8 <= place < 40


def test_a_symbolic_link_and_a_mode_stay(tmp_path):
    target, link = tmp_path / "elsewhere" / "weights", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    minigrad.save({"w": minigrad.ones(2)}, link)  # a link that leads to nothing yet
    target.chmod(0o640)
    minigrad.save({"w": minigrad.zeros(2)}, link)
    assert link.is_symlink()
    assert minigrad.load(target)["w"].tolist() == [0.0, 0.0]
    assert target.stat().st_mode & 0o7777 == 0o640
    assert [path.name for path in target.parent.iterdir()] == ["weights"]


def test_a_new_file_has_the_mode_of_the_umask(tmp_path):
    former = os.umask(0o027)
    try:
        minigrad.save({}, tmp_path / "f")
    finally:
        os.umask(former)
    assert (tmp_path / "f").stat().st_mode & 0o7777 == 0o640


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    minigrad.save({"w": minigrad.ones(1)}, path)
    assert minigrad.load(path)["w"].tolist() == [1.0]


def test_two_savers_of_one_file_leave_a_whole_one(tmp_path):
    path = tmp_path / "f"
    threads = [threading.Thread(target=minigrad.save, args=({"w": minigrad.ones(1000) * i}, path)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(minigrad.load(path)["w"].tolist())) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("key", [(1, 2), b"a", 1j, object(), frozenset()], ids=lambda key: type(key).__name__)
def test_keys_that_could_not_be_read_are_refused(tmp_path, key):
    with pytest.raises(TypeError, match=r"^save: the key .* in a is .*; expected strings, numbers, truths or None$"):
        minigrad.save({"a": {key: minigrad.ones(1)}}, tmp_path / "f")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "key", [np.int64(3), np.float32(0.5), np.bool_(True), "__metadata__", "\udc80", "a\udc80b", ""], ids=ascii
)
def test_unusual_keys_come_back(tmp_path, key):
    minigrad.save({key: minigrad.ones(2), "x": {key: 1}}, tmp_path / "f")
    found = minigrad.load(tmp_path / "f")
    assert found[key].tolist() == [1.0, 1.0]
    assert found["x"] == {key: 1}


def test_a_file_that_hides_its_digest_is_refused(tmp_path):
    path = tmp_path / "f"
    minigrad.save({"w": minigrad.ones(2)}, path)
    data = path.read_bytes()
    assert data.count(b'"sha256"') == 1
    path.write_bytes(data.replace(b'"sha256"', b'"sha257"'))
    with pytest.raises(ValueError, match="changed since it was written: it does not say its sha256"):
        minigrad.load(path)
