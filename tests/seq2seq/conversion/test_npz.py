"""Files of numpy.savez and dictionaries of words that are not what they say: one line, and nothing is run."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seq2seq.conversion import dictionaries, npz
from seq2seq.conversion.files import read_arrays
from seq2seq.run.errors import UserError


class Bomb:
    """What a pickle may do where it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch exploded",)


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as found:
        for name, data in members.items():
            found.writestr(name, data)
    return file.getvalue()


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def headed(header: str, numbers: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """A member with a header of its own."""
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header.encode("latin1") + numbers


ONE = saved(np.ones((2, 3), np.float32))
HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }\n"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "objects": (archive({"a.npy": saved(np.array([Bomb()], object))}), "of object, which are no numbers"),
    "texts": (archive({"a.npy": saved(np.array(["x"]))}), "which are no numbers"),
    "records": (archive({"a.npy": headed("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }\n",
                                         b"1234")}), "which are no numbers"),
    "compressed": (archive({"a.npy": ONE}, zipfile.ZIP_DEFLATED), "compressed members; expected them stored"),
    "a shape beyond its numbers": (archive({"a.npy": headed(HUGE, b"1234")}), "and fewer numbers"),
    "a negative shape": (archive({"a.npy": headed(HUGE.replace("1000000", "-1"), b"1234" * 9)}), "no archive|fewer"),
    "a program as a header": (archive({"a.npy": headed("__import__('os').system('touch exploded')\n")}), "no archive"),
    "an unclosed header": (archive({"a.npy": headed("{'descr': (((\n")}), "no archive"),
    "another version": (archive({"a.npy": headed(HUGE, version=b"\7\0")}), "no archive"),
    "no array": (archive({"a.npy": b"text"}), "no archive"),
    "a broken member": (archive({"a.npy": ONE}).replace(ONE[-8:], b"01234567", 1), "no archive"),
    "no numbers": (archive({"a.npy": saved(np.arange(3))}), "holds no arrays by name"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data, message = HOSTILE[case]
    Path("model.npz").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_arrays(Path("model.npz"))
    assert str(caught.value).startswith("model.npz: ")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    """Two entries of one member: a small file could stand for any amount of numbers."""
    data = bytearray(archive({"aa.npy": ONE, "ab.npy": ONE}))
    second = data.index(b"ab.npy")
    at = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)  # of the second entry of the directory
    data[at + 42 : at + 46] = (0).to_bytes(4, "little")  # where its member begins
    assert second > 0
    with pytest.raises(UserError, match="no archive of numpy"):
        npz.read(bytes(data))


def test_arrays_of_any_number_are_read() -> None:
    arrays = {
        "half": np.arange(6, dtype=np.float16).reshape(2, 3), "big": np.arange(3, dtype=">f4"),
        "none": np.ones((1, 0)), "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "one": np.array(2.5),
        "bytes": np.arange(3, dtype="i1"),
    }  # fmt: skip
    file = io.BytesIO()
    np.savez(file, **arrays)
    found = npz.read(file.getvalue())
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_what_python_2_wrote_is_read_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 2L), }\n"
    found = npz.read(archive({"a.npy": headed(header, np.array([3, 4], "<f4").tobytes())}))
    assert found["a"].tolist() == [[3, 4]]
    assert list(recwarn) == []


def test_what_is_no_npz_is_left_to_others() -> None:
    assert npz.is_one(archive({"a.npy": ONE}))
    assert not npz.is_one(archive({"archive/data.pkl": b"x"}))
    assert not npz.is_one(b"PK, but no archive")


WRONG = {
    "an id twice": ({"a": 0, "b": 0}, "has id 0 twice"),
    "a gap": ({"a": 2, "b": 4}, "has no word of id 3"),
    "a large id": ({"a": 10**12}, "has no word of id 2"),
    "a negative id": ({"a": -1}, "has no word of id 2"),
    "no number": ({"a": "0"}, "has 'a': '0'"),
    "true": ({"a": True}, "has 'a': True"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_dictionaries_are_refused(case: str) -> None:
    content, message = WRONG[case]
    with pytest.raises(UserError, match=message):
        dictionaries.tokens_of(content)


def test_the_marks_have_the_names_of_others() -> None:
    assert dictionaries.tokens_of({"UNK": 1, "a": 2, "eos": 0}) == ["</s>", "<unk>", "a"]
    assert dictionaries.tokens_of({"b": 3, "a": 2}) == ["</s>", "<unk>", "a", "b"]  # left open
    assert dictionaries.tokens_of({"<unk>": 1, "a": 2, "</s>": 0, "eos": 3}) == ["</s>", "<unk>", "a", "eos"]
    assert dictionaries.with_marks(["UNK"]) == ["UNK"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 0\nb: *x\n", "line 2 holds more than a word and its id"),
        ("a: [0, 1]\n", "line 1 holds more"),
        ("a: {b: 0}\n", "line 1 holds more"),
        ("{" * 10_000, "line 1 holds more|nesting"),
        ("a", "not valid YAML"),
        ("a: 0\nb\n", "not valid YAML"),
        ("a: zero\n", "not valid YAML"),
        ('a: "0\n', "not valid YAML"),
    ],
)
def test_other_yaml_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        dictionaries.from_yaml(text)


def test_yaml_makes_words_and_numbers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = '? !!python/object/apply:os.system "touch exploded"\n: 0\nyes: 1\nnull: 2\n~: 3\n1.5: 4\n"\\"": 5\n'
    assert dictionaries.from_yaml(text) == {"touch exploded": 0, "yes": 1, "null": 2, "~": 3, "1.5": 4, '"': 5}
    assert list(tmp_path.iterdir()) == []
