"""Pickles: what weights need comes through, and nothing else runs."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq.conversion import pickles, torch_files
from seq2seq.conversion.words import read_tokens
from seq2seq.run.errors import UserError

ROOT = Path(__file__).parents[3]


def read(data: bytes) -> Any:
    return pickles.read(io.BytesIO(data))


@pytest.mark.parametrize("protocol", range(6))
def test_what_weights_need_comes_through(protocol: int) -> None:
    held = {
        "step": 12, "rate": 1e-3, "name": "größe", "none": None, "raw": b"\x00\xff", "list": [1, [2, True]],
        "array": np.arange(6.0).reshape(2, 3).T, "ids": np.arange(3), "scalar": np.float32(0.5),
        "ordered": OrderedDict(a=1), "settings": Namespace(layers=2),
    }  # fmt: skip
    found = read(pickle.dumps(held, protocol))
    assert found.pop("settings") == {"layers": 2}
    for name in ("array", "ids"):
        np.testing.assert_array_equal(found.pop(name), held.pop(name))
    held.pop("settings")
    assert found == held


class Calls:
    """A pickle of it calls something when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


class Object:
    pass


def doubled() -> list[Any]:
    """Forty lists, each of which holds the one before twice: a terabyte if each were copied where it stands."""
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]
    return value


def test_what_is_there_twice_stays_one_object() -> None:
    found = read(pickle.dumps(doubled()))
    assert found[0] is found[1]


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a command": (pickle.dumps(Calls(__import__("os").system, "echo")), "names (posix|nt).system"),
    "eval": (pickle.dumps(Calls(eval, "1")), "names builtins.eval"),
    "a module": (pickle.dumps(Calls(__import__, "this")), "names builtins.__import__"),
    "inside": (pickle.dumps({"a": [np.ones(2), Calls(exec, "1")]}), "names builtins.exec"),
    "of protocol 0": (b"cos\nsystem\n(S'echo'\ntR.", "names os.system"),
    "an instance": (b"(S'echo'\nios\nsystem\n.", "names os.system"),
    "an extension": (b"\x82\x01.", "no pickle of weights"),
    "an object": (pickle.dumps(Object()), "names .*Object"),
    "numpy's loader": (b"cnumpy\nload\n(S'x'\ntR.", "names numpy.load"),
    "an array of objects": (pickle.dumps(np.array([None, {}], object)), "no pickle of weights"),
    "a huge place": (b"]r\xff\xff\xff\x7f.", "asks for place 2,147,483,647"),
    "a huge text": (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x00a.", "no pickle of weights"),
    "a huge number": (b"I" + b"9" * 10_000 + b"\n.", "no pickle of weights"),
    "a reference": (b"Pkey\n.", "no pickle of weights"),
    "a class's attribute": (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", "names numpy.ndarray.__init__"),
    "a list that holds itself": (pickle.dumps(endless()), "holds itself"),
    "no pickle": (b"weights", "no pickle of weights"),
    "nothing": (b"", "no pickle of weights"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_run_is_refused_by_name(name: str) -> None:
    data, message = HOSTILE[name]
    with pytest.raises(UserError, match=message) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_records_hold_what_was_stored_and_do_nothing() -> None:
    known = pickles.KNOWN | dict.fromkeys(("tests.", "io.", "builtins."), pickles.Record)
    held = {"path": Calls(open, "never"), "words": Calls(dict, [("a", 1)])}
    found = pickles.read(io.BytesIO(pickle.dumps(held)), known)
    assert found == {"path": {}, "words": {}}
    assert not Path("never").exists()
    with pytest.raises(UserError, match=r"names (posix|nt)\.system"):
        pickles.read(io.BytesIO(HOSTILE["a command"][0]), known)


def test_dictionaries_of_dl4mt_are_read(tmp_path: Path) -> None:
    """Of Python 2, whose texts are bytes, and of Python 3; hostile ones are refused."""
    path = tmp_path / "words.pkl"
    path.write_bytes(b"(dp0\nS'eos'\np1\nI0\nsS'UNK'\np2\nI1\nsS'gr\\xc3\\xb6\\xc3\\x9fe'\np3\nI2\ns.")
    assert read_tokens(str(path), list) == ["</s>", "<unk>", "größe"]
    path.write_bytes(pickle.dumps(OrderedDict(eos=0, UNK=1, haus=2)))
    assert read_tokens(str(path), list) == ["</s>", "<unk>", "haus"]
    for data, reason in ((HOSTILE["eval"][0], "names builtins.eval"), (pickle.dumps([1]), "holds no dictionary")):
        path.write_bytes(data)
        with pytest.raises(UserError, match=reason) as caught:
            read_tokens(str(path), list)
        assert str(caught.value).startswith(str(path))


FUZZ = """
import io, random, sys
from seq2seq.conversion import torch_files
from seq2seq.run.errors import UserError

kinds = {"archive": torch_files.read_archive, "legacy": torch_files.read_legacy}
seen = []
files = [(kinds[path.rsplit("/", 1)[1]], open(path, "rb").read()) for path in sys.argv[1:]]
NAMES = [b"cos\\nsystem\\n(S'echo'\\ntR", b"cbuiltins\\neval\\n(S'1'\\ntR", b"\\x8c\\x02os\\x8c\\x06system\\x93"]
sys.addaudithook(lambda event, arguments: seen.append((event, arguments)))
rng, refused = random.Random(0), 0
for number in range(1000):
    read, data = files[number % len(files)]
    data, way = bytearray(data), number % 5
    place = rng.randrange(len(data))
    if way == 0:
        data[place] ^= 1 << rng.randrange(8)
    elif way == 1:
        del data[place:]
    elif way == 2:
        data[place : place + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    elif way == 3:
        data[place:place] = rng.choice(NAMES)
    else:
        at = data.find(b"torch._utils")
        data[at : at + 12] = rng.choice([b"os\\nsystem\\n", b"subprocess", b"builtins"]).ljust(12, b"x")
    try:
        read(bytes(data))
    except UserError as error:
        refused += 1
        assert "\\n" not in str(error), error
harmless = {"pickle.find_class", "object.__getattr__", "object.__setattr__", "builtins.id"}
harmful = {event for event, _ in seen} - harmless
print(sorted(harmful), refused)
"""


def test_a_thousand_broken_and_hostile_files_run_nothing(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    held = {"model": torch.nn.LSTM(3, 4).state_dict(), "step": 1}
    for name in ("archive", "legacy"):
        torch.save(held, tmp_path / name, _use_new_zipfile_serialization=name == "archive")
    paths = [str(tmp_path / name) for name in ("archive", "legacy")]
    result = subprocess.run([sys.executable, "-c", FUZZ, *paths], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    harmful, refused = result.stdout.strip().rsplit(" ", 1)
    assert harmful == "[]"
    assert int(refused) > 500


KINDS = "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
def test_tensors_of_every_kind(legacy: bool) -> None:
    torch = pytest.importorskip("torch")
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    held = {
        "whole": whole, "transposed": whole.t(), "cut": whole[1:3, ::2], "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3), "parameter": torch.nn.Parameter(torch.ones(2)),
        **{str(kind): torch.tensor([1, 0, 1]).to(kind) for kind in map(torch.__dict__.get, KINDS)},
    }  # fmt: skip
    file = io.BytesIO()
    torch.save(held, file, _use_new_zipfile_serialization=not legacy)
    found = (torch_files.read_legacy if legacy else torch_files.read_archive)(file.getvalue())
    assert set(found) == set(held)
    for name, tensor in held.items():
        expected = tensor.detach().float().numpy() if tensor.dtype == torch.bfloat16 else tensor.detach().numpy()
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype


def test_a_tensor_beyond_its_storage_is_refused() -> None:
    storage = torch_files._Storage("<f4", 6)
    for offset, sizes, strides in (
        (0, (7,), (1,)),
        (3, (2, 2), (3, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), ()),
    ):
        with pytest.raises(UserError, match="holds a tensor that"):
            torch_files._Tensor(storage, offset, sizes, strides)
    torch_files._Tensor(storage, 2, (2, 2), (2, 1))
    torch_files._Tensor(storage, 6, (0, 5), (5, 1))
