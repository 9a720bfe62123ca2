"""decode.py, which is shipped beside a model and trusts no file: a broken or hostile one ends in one line."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq.shipping import decode, model_file
from tests.seq2seq.tiny_translators import translator

HOSTILE: list[Any] = [
    None, True, -1, 0, 1 << 40, 1e308, float("nan"), "../../x", "x" * 10_000, [], {}, [[[]]], [1 << 40, 1 << 40],
    [-1, 2], {"__reduce__": ["os.system", "echo"]},
]  # fmt: skip
ZEROS, DIGEST = b"0" * 64, slice(35, 99)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Of whatever lies in a value: what holds it, and under which key."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield value, key
        yield from places(child)


def mutant(data: bytes, way: int, rng: random.Random) -> bytes:
    """Another file: cut off, with other bits, or other settings, text, shapes or places, and its own digest."""
    end = 8 + int.from_bytes(data[:8], "little")
    where = rng.randrange(end if rng.random() < 0.5 else len(data))
    if way == 0:
        return data[:where]
    if way == 1:
        return signed(data[:where] + bytes([data[where] ^ 1 << rng.randrange(8)]) + data[where + 1 :])
    header = json.loads(data[8:end])
    about = json.loads(header["__metadata__"]["minigrad"])
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    owner, key = rng.choice([*places(tensors if way == 2 else about)])
    owner[key] = rng.choice(HOSTILE)
    header = {"__metadata__": header["__metadata__"] | {"minigrad": json.dumps(about)}} | tensors
    text = json.dumps(header, separators=(",", ":")).encode()
    return signed(len(text).to_bytes(8, "little") + text + data[end:])


def signed(data: bytes) -> bytes:
    """With the digest of what it is now, which is no secret."""
    zeroed = data[: DIGEST.start] + ZEROS + data[DIGEST.stop :]
    return zeroed.replace(ZEROS, hashlib.sha256(zeroed).hexdigest().encode(), 1)


def test_broken_and_hostile_files_end_in_one_line(tmp_path: Path) -> None:
    ours = translator("bilstm", "attention", embedding_size=4, hidden_size=4, num_layers=2, bridge=True)
    good, changed, source = (tmp_path / name for name in ("good", "changed", "source.txt"))
    model_file.write(good, ours.model, ours.codec, ours.settings)
    source.write_text("w1 w2 w3\n")
    assert signed(good.read_bytes()) == good.read_bytes()
    rng, refused = random.Random(0), 0
    for number in range(160):
        changed.write_bytes(mutant(good.read_bytes(), number % 4, rng))
        try:
            found = list(decode.translations(str(changed), str(source)))
        except SystemExit as error:
            refused += 1
            told = str(error)
            assert told.startswith(str(changed))
            assert "\n" not in told
        else:
            assert len(found) == 1
    assert refused > 80


@pytest.mark.parametrize(
    ("key", "given", "reason"),
    [
        ("num_layers", 1 << 40, "more layers or longer outputs than the toolkit makes"),
        ("language", "..os", "no language: ..os"),
    ],
)
def test_what_would_take_all_memory_or_look_elsewhere_is_refused(key: str, given: Any, reason: str) -> None:
    config, text = {"num_layers": 2}, {"max_output_length": 9, "trg_tokenizer": {"name": "word", "language": "en"}}
    decode.check(config, text)
    (config if key == "num_layers" else text["trg_tokenizer"])[key] = given  # type: ignore[index]
    with pytest.raises(ValueError, match=reason):
        decode.check(config, text)
