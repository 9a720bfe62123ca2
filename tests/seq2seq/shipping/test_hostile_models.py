"""A thousand model files, of two forms, that are broken or made to harm are refused in one line each, or are the model;
none runs anything, writes anything, or takes memory for what it says and does not hold."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from seq2seq.shipping import model_file
from tests.seq2seq.tiny_translators import translator

ROOT = Path(__file__).parents[3]

# Run with the file that is mutated and a place for the mutants. A digest is no secret: half of them have their own.
FUZZ = """
import hashlib, json, os, random, sys
from pathlib import Path
from seq2seq import Translator
from seq2seq.run.errors import UserError

good, place = map(Path, sys.argv[1:])
data, rng, seen = good.read_bytes(), random.Random(0), []
size = int.from_bytes(data[:8], "little")
header, tail = json.loads(data[8 : 8 + size]), data[8 + size :]
meta = header["__metadata__"]
(structure,) = (key for key in meta if key != "sha256")
sentence = "1 2 3"
expected = Translator.load(good).translate([sentence])
hostile = [None, True, -1, 0, 1 << 40, 1e308, "../../etc/passwd", "__import__('os').system('echo')", "\\0", "cuda:9",
           [], {}, [[[]]], {"__reduce__": ["os.system", "echo"]}, "x" * 10_000, float("nan")]


RUN = "compile", "exec", "subprocess", "socket", "pickle", "marshal", "ctypes", "shutil"
WRITE = "system", "exec", "fork", "remove", "rename", "mkdir", "rmdir", "chmod"


def leaves(value, path=()):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield value, key
        yield from leaves(child)


def packed(header):
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return with_digest(len(text).to_bytes(8, "little") + text + tail)


def with_digest(data):
    zeros = data[:35] + b"0" * 64 + data[99:]
    return data[:35] + hashlib.sha256(zeros).hexdigest().encode() + data[99:]


def mutant(number):
    way, changed = number % 6, bytearray(data)
    where = rng.randrange(len(changed) if number % 4 else size)
    if way == 0:
        changed[where] ^= 1 << rng.randrange(8)
    elif way == 1:
        del changed[where:]
    elif way == 2:
        changed[where : where + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    elif way == 3:
        inner = json.loads(meta[structure])
        owner, key = rng.choice(list(leaves(inner)))
        owner[key] = rng.choice(hostile)
        return packed(header | {"__metadata__": meta | {structure: json.dumps(inner)}})
    elif way == 4:
        arrays = json.loads(json.dumps(header))
        name = rng.choice([name for name in arrays if name != "__metadata__"])
        key = rng.choice(["shape", "data_offsets", "dtype"])
        arrays[name][key] = rng.choice([*hostile, [1 << 40, 1 << 40], [-1, 2], [0, 1 << 60], "F64", "BOOL"])
        return packed(arrays)
    else:
        changed[where] ^= 1 << rng.randrange(8)
        return with_digest(bytes(changed))
    return bytes(changed)


def harmful(event, arguments):
    if event == "open":
        path, _, flags = arguments
        return path != str(place) and not isinstance(path, int) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    return event.split(".")[0] in RUN or event.split(".")[-1] in WRITE


files = [mutant(number) for number in range(500)]
refused, watched = 0, False


def hook(event, arguments):
    if watched and harmful(event, arguments):
        seen.append((event, arguments))


sys.addaudithook(hook)
for number, changed in enumerate(files):
    place.write_bytes(changed)
    watched = True
    try:
        found = Translator.load(place)
    except UserError as error:
        refused += 1
        watched = False
        assert "\\n" not in str(error), (number, str(error))
    else:
        watched = False
        found.translate([sentence])
found = [str(event) for event in seen]
watched = True
open(place, "ab").close()  # which the hook must see, or it would have seen nothing before either
watched = False
assert len(seen) == len(found) + 1, "the hook is blind"
print(json.dumps({"refused": refused, "harmful": found}))
"""


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is one of Linux")
@pytest.mark.parametrize("form", ["full", "int8"])
def test_five_hundred_hostile_files(tmp_path: Path, form: str) -> None:
    ours = translator("bilstm", "attention", embedding_size=8, hidden_size=12, bridge=True)
    model_file.write(tmp_path / "good", ours.model, ours.codec, ours.settings, form)
    command = [sys.executable, "-c", FUZZ, str(tmp_path / "good"), str(tmp_path / "mutant")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limited)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["harmful"] == []
    assert found["refused"] > 400
