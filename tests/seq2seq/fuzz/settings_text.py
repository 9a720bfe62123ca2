"""Files of settings: good ones, and what haste, other programs and malice make of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import hostile
import yaml

GOOD: dict[str, Any] = {
    "src_tokenizer": "space", "trg_tokenizer": "space", "embedding_size": 4, "hidden_size": 5, "num_layers": 1,
    "dropout": 0.1, "lr": 0.01, "min_freq": 1, "batch_size": 16, "label_smoothing": 0.1, "lower": True,
    "reverse_source": False, "max_length": None, "seed": 7,
}  # fmt: skip
# None of them can be settings.
_TEXTS = (
    "", "# nothing\n", "null", "[]", "hidden_size", "- a\n- b\n", "a: b: c", "\ta: 1", "&a [*a]", "*a", "? [1]\n: 2",
    "hidden_size: &a [*a]", "1: 2\n", "null: 1\n", "[]: 1", "{}: 1", "true: 1", "---\nseed: 1\n---\nseed: 2\n",
    "%YAML 9.9\n---\n", "!!python/object/apply:os.abort []", "seed: !!python/name:os.abort", "seed: !!binary ////",
    "seed: !!int x", "seed: !x 1", "seed: 1\nseed: 2\n", '{"seed": 1, "seed": 2}', '{"seed": NaN}', '{"lr": Infinity}',
    '{"lr": 1e999}', "lr: .nan", "lr: 1e-3", "seed: 0x10", "seed: 0o17", "seed: 1:30:00", "seed: 2020-01-01",
    "lower: no", "<<: {seed: 1}", "<<: 3", "<<: [1]", "a: &a {<<: *a}", "seed: " + "9" * 5000,
    '{"seed": ' + "9" * 5000 + "}", "[" * 100_000, "{" * 5000, '{"a":' * 50_000, "- " * 3000, "seed: |\n 1\n",
    "seed: >\n", "'", '"', '"\\x', '"\\ud800"', "seed: \0", "\ufeffseed: 1", "seed: 1\x85lr: 1",
    "seed: '" + "x" * 100_000 + "'", "!!set {a, b}", "!!omap [a: 1]", "seed: !!timestamp x", "seed: !!float x",
    "seed: =",
)  # fmt: skip
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def settings_text(rng: random.Random) -> bytes:
    """The bytes of a file of settings; about one in six is good."""
    if rng.random() < 0.3:
        return rng.choice((*_TEXTS, BOMB, "seed: " + BOMB)).encode("utf-8", "surrogatepass")
    settings = {name: GOOD[name] for name in rng.sample(sorted(GOOD), rng.randint(3, len(GOOD)))}
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        rng.choice(_CHANGES)(settings, rng)
    write: Callable[[Any], str] = json.dumps if rng.random() < 0.5 else yaml.safe_dump
    content = write(settings).encode()
    return content if rng.random() < 0.6 else rng.choice(_DAMAGES)(content, rng)


def _other_value(settings: dict[Any, Any], rng: random.Random) -> None:
    settings[rng.choice(sorted(settings))] = rng.choice((*_VALUES, rng.choice(hostile.NUMBERS)))


def _odd_name(settings: dict[Any, Any], rng: random.Random) -> None:
    settings[rng.choice(("hiden_size", "", " ", "a\nb", "config", "help", "x" * 9000, "hidden-size", "__class__"))] = 1


def _nested(settings: dict[Any, Any], rng: random.Random) -> None:
    name = rng.choice(sorted(settings))
    settings[name] = {name: [settings[name]]}


# JSON has no name for the others, and a number that long cannot be written.
_VALUES = tuple(v for v in hostile.JSON_VALUES if v != 10**4000 and v != "\ud800")
_CHANGES = (_other_value, _other_value, _odd_name, _nested)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _flipped(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _inserted(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    piece = rng.choice(
        (b"\0", b"\t", b"\xff", b"*a", b"&a", b"!!", b": ", b"\n", b"[", b"}", b"'", b"\xe2\x80\xa8", b"%")
    )
    return content[:place] + piece + content[place:]


def _twice(content: bytes, rng: random.Random) -> bytes:
    return content + b"\n" + content


def _utf_16(content: bytes, rng: random.Random) -> bytes:
    return content.decode().encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))


_DAMAGES = (_cut, _flipped, _inserted, _twice, _utf_16)
