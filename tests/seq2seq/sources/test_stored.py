"""Corpora larger than memory: the same ids, vocabularies and weights from files, and batches by blocks."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.locking import is_lock, locked
from seq2seq.sources import BatchSampler, BlockSampler, EncodedSplit
from seq2seq.sources.streamed import load_streamed
from seq2seq.text import stored
from seq2seq.text.codec import TextCodec

PLAIN = {"src_tokenizer": "space", "trg_tokenizer": "space", "min_freq": 2, "src_language": "xx", "trg_language": "xx"}


def lines(count: int = 3000) -> list[tuple[str, str]]:
    """Pairs with repeated sources and empty sides."""
    rng = random.Random(0)
    words = [f"w{i}" for i in range(60)]
    pairs = [
        (" ".join(rng.choices(words, k=rng.randint(1, 6))), " ".join(rng.choices(words, k=3))) for _ in range(count)
    ]
    return [*pairs, *pairs[:50], ("", "x"), ("only", " ")]


def write(path: Path, pairs: list[tuple[str, str]]) -> str:
    text = "".join(f"{src}\t{trg}\n" for src, trg in pairs).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


def in_memory(config: Config) -> tuple[TextCodec, dict[str, EncodedSplit]]:
    config = dataclasses.replace(config, data_cache=None)
    return TextCodec.build_encoded(registry.build("source", config).load(config), config)


def on_disk(config: Config, codec: TextCodec | None = None) -> stored.Stored:
    return stored.stored(config, registry.build("source", config).load(config), codec)


def digest(split: EncodedSplit) -> tuple[bytes, ...]:
    return tuple(bytes(np.asarray(a, np.int64)) for side in (split.src, split.trg) for a in (side.flat, side.lengths))


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "one table": lambda at: {"data": write(at / "c.tsv", lines())},
    "several files": lambda at: {"data": f"{write(at / 'a.tsv.gz', lines(900))},{write(at / 'b.tsv', lines(1200))}"},
    "a valid file": lambda at: {"data": write(at / "c.tsv", lines()), "valid": write(at / "v.tsv", lines(40))},
    "shared": lambda at: {"data": write(at / "c.tsv", lines()), "share_vocab": True, "truncate_source": 3},
    "rare words": lambda at: {
        "data": write(at / "c.tsv", lines()), "min_freq": 160, "max_vocab_size": 20, "swap": True,
    },
    "subwords": lambda at: {
        "data": write(at / "c.tsv", lines(400)), "src_tokenizer": "sentencepiece", "trg_tokenizer": "char",
        "max_vocab_size": 60,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_files_hold_what_memory_would(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_TOGETHER", 700)
    monkeypatch.setattr(stored, "_PIECE", 1000)
    config = Config(**{**PLAIN, **CASES[case](tmp_path), "data_cache": str(tmp_path / "cache")})
    codec, encoded = in_memory(config)
    found = on_disk(config)
    assert found.codec.to_dict() == codec.to_dict()
    assert {name: digest(split) for name, split in found.encoded.items()} == {
        name: digest(split) for name, split in encoded.items()
    }
    again = on_disk(config)
    assert isinstance(again.encoded["train"].src.flat, np.memmap)
    assert digest(again.encoded["train"]) == digest(encoded["train"])
    assert len(list((tmp_path / "cache").iterdir())) == 1
    resumed = on_disk(config, codec)
    assert digest(resumed.encoded["train"]) == digest(encoded["train"])


def test_long_pairs_are_left_out_and_counted(tmp_path: Path) -> None:
    config = Config(**PLAIN, data=write(tmp_path / "c.tsv", lines()), data_cache=str(tmp_path / "cache"), max_length=4)
    found = on_disk(config)
    assert found.encoded["train"].src.lengths.max() == 4
    codec, encoded = in_memory(config)
    long = np.maximum(encoded["train"].src.lengths, encoded["train"].trg.lengths) > 4
    assert found.too_long == long.sum() > 0
    assert found.codec.to_dict() == codec.to_dict()
    assert len(found.encoded["train"]) == (~long).sum()


def test_the_training_pairs_are_read_whenever_they_are_gone_through(tmp_path: Path) -> None:
    path = tmp_path / "c.tsv"
    pairs = lines(500)
    train = load_streamed(write(path, pairs)).splits["train"]
    assert list(train) == list(train)
    assert len(list(train)) == len(train)
    assert train[3] == list(train)[3]
    assert train[2:5] == list(train)[2:5]


def test_what_changed_is_made_anew(tmp_path: Path) -> None:
    path, cache = tmp_path / "c.tsv", tmp_path / "cache"
    config = Config(**PLAIN, data=write(path, lines(300)), data_cache=str(cache))
    first = digest(on_disk(config).encoded["train"])
    (folder,) = cache.iterdir()
    for name in ("src.ids", "trg.ends", "meta.json"):
        data = bytearray((folder / name).read_bytes())
        data[8] ^= 1
        (folder / name).write_bytes(data)
        assert digest(on_disk(config).encoded["train"]) == first
    write(path, [*lines(300), ("w1 w2", "w3")])
    assert digest(on_disk(config).encoded["train"]) != first
    assert len(list(cache.iterdir())) == 2
    assert not list(cache.glob(".*"))


def test_what_a_killed_build_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a living process writes to stays, and so does what is no such folder."""
    cache = tmp_path / "cache"
    left = {name: cache / f".ids-{name}.7.tmp" for name in ("killed", "held", "new", "old", "link")}
    for name in ("killed", "held", "new", "old"):
        left[name].mkdir(parents=True)
        (left[name] / "src.ids").write_bytes(b"1234")
    (left["killed"] / "lock").write_text("locked by process 7 on elsewhere\n")
    left["link"].symlink_to(tmp_path)
    (cache / "notes.tmp").write_text("mine")
    os.utime(left["old"], (0, 0))
    written, seen = stored._written, list[bool]()

    def watched(folder: Path, *rest: Any) -> dict[str, Any]:
        seen.append(is_lock(folder / "lock"))
        return written(folder, *rest)

    monkeypatch.setattr(stored, "_written", watched)
    config = Config(**PLAIN, data=write(tmp_path / "c.tsv", lines(60)), data_cache=str(cache))
    with locked(left["held"]):
        on_disk(config)
    assert seen == [True]
    assert {path.name for path in cache.iterdir() if path.name.startswith(".")} == {
        left[name].name for name in ("held", "new", "link")
    }
    assert (cache / "notes.tmp").exists()
    (made,) = cache.glob("ids-*")
    assert not (made / "lock").exists()


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path, cache = tmp_path / "c.tsv", tmp_path / "cache"
    config = Config(**{**PLAIN, "min_freq": 10**6}, data=write(path, lines(300)), data_cache=str(cache))
    with pytest.raises(UserError, match="src vocabulary: empty"):
        on_disk(config)
    assert list(cache.iterdir()) == []
    (tmp_path / "file").write_text("")
    config = dataclasses.replace(config, data_cache=str(tmp_path / "file"), min_freq=1)
    with pytest.raises(UserError, match=r"data_cache .*: Not a directory; expected a folder to write to"):
        on_disk(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "autoencode"}, "task is autoencode; with data_cache"),
        ({"noise_drop": 0.1}, "noise_drop is 0.1; with data_cache"),
        ({"bpe_dropout": 0.1}, "bpe_dropout is 0.1; with data_cache"),
        ({"source": "vectors"}, "source is vectors; with data_cache"),
        ({"add_data": "more.tsv"}, "add_data is more.tsv; with data_cache"),
        ({"init_from": "runs/one"}, "init_from is runs/one; with data_cache"),
        ({"dry_run": True}, "data_cache: holds the ids, and dry_run writes nothing"),
        ({"decoder": "pointer-generator", "share_vocab": True}, "decoder is pointer-generator; with data_cache"),
    ],
)
def test_what_files_cannot_give_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        stored.check(Config(data_cache="cache", **options))
    stored.check(Config(**options))


def test_what_cannot_be_read_twice_is_refused(refused, tmp_path: Path) -> None:
    refused(
        "data is '-'; with data_cache the files are read more", "train", "--data", "-", "--data-cache", tmp_path / "c"
    )
    refused("data_cache is 'c'; it is for files, and numbers is none", "train", "--data-cache", "c")
    path = write(tmp_path / "e.tsv", [("", "x")])
    refused(f"{path}: no two distinct source sentences", "train", "--data", path, "--data-cache", tmp_path / "c")


# --- batches by blocks ------------------------------------------------------------------------------------------------
LENGTHS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 20), st.integers(1, 7), st.sampled_from([None, 12, 40]))
def test_every_pair_is_in_one_batch(sizes: list[tuple[int, int]], block: int, batch: int, most: int | None) -> None:
    src, trg = np.array(sizes).T
    sampler = BlockSampler(src, trg, batch, 3, block, pool=2, max_tokens=most)
    batches = sampler.batches(5)
    listed = list(batches)
    assert len(batches) == len(listed)
    assert sorted(itertools.chain(*listed)) == list(range(len(sizes)))
    blocks = [{int(pair) // block for pair in each} for each in listed]
    assert all(len(each) == 1 for each in blocks)  # of one block
    assert len(list(itertools.groupby(blocks))) == -(-len(sizes) // block)  # one after the other
    assert [each.tolist() for each in batches[1:3]] == [each.tolist() for each in listed[1:3]]
    assert batches[-1].tolist() == listed[-1].tolist()
    assert [each.tolist() for each in sampler.batches(5)] == [each.tolist() for each in listed]


def test_epochs_and_seeds_have_other_orders() -> None:
    lengths = np.ones(64, np.int64)
    orders = [
        np.concatenate(list(BlockSampler(lengths, lengths, 4, seed, 16).batches(epoch))).tolist()
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({*map(tuple, orders)}) == 3
    in_block = [np.array(orders[0][start : start + 16]) % 16 for start in range(0, 64, 16)]
    assert len({tuple(each) for each in in_block}) == 4
    with pytest.raises(IndexError, match="batch 16; expected one of 16"):
        BlockSampler(lengths, lengths, 4, 0, 16).batches(0)[16]


def test_a_block_is_cut_like_a_split_of_its_own() -> None:
    src, trg = np.arange(10) % 4, np.arange(10) % 3
    (first, *_), whole = (
        BlockSampler(src, trg, 10, 7, 10).batches(2),
        BatchSampler(src, trg, 10, 7, stream=(4, 0)).batches(2),
    )
    assert first.tolist() == whole[0].tolist()


# --- whole runs -------------------------------------------------------------------------------------------------------
def test_a_run_from_files_has_the_weights_of_one_from_memory(train, history, tmp_path: Path) -> None:
    options = ("--epochs", 2, "--shuffle-block", 30)
    plain = train("plain", *options)
    cached = train("cached", *options, "--data-cache", tmp_path / "cache")
    assert history(cached) == history(plain)
    stopped = train(
        "stopped", "--epochs", 2, "--shuffle-block", 30, "--data-cache", tmp_path / "cache", "--max-steps", 5
    )
    arguments = ("--run-dir", stopped, "--resume", "--max-steps", 100)
    from seq2seq import train as command

    assert command.main([*map(str, arguments), "--data-cache", str(tmp_path / "other")]) == 0
    steps = [line for line in history(stopped) if "loss" in line]
    assert steps == [line for line in history(plain) if "loss" in line]
    assert json.loads((stopped / "config.json").read_text())["shuffle_block"] == 30
