"""What a run is made of is recognised by its digests; what is changed on purpose can be accepted; all can move."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq.run import checkpoint, manifest
from seq2seq.run.config_file import load as load_settings


@pytest.fixture
def folder(train) -> Path:
    return train("run", "--epochs", 2)


@pytest.fixture
def parallel(tmp_path: Path, reversed_digits) -> Path:
    """A folder with parallel files for training, validation and test."""
    root = tmp_path / "corpora"
    root.mkdir()
    pairs = reversed_digits(90)
    for name, part in (("train", pairs[:70]), ("valid", pairs[70:80]), ("test", pairs[80:])):
        for side, suffix in enumerate(("de", "en")):
            (root / f"{name}.{suffix}").write_text("".join(f"{pair[side]}\n" for pair in part))
    return root


def spec(folder: Path | str, name: str) -> str:
    return f"{folder}/{name}.de,{folder}/{name}.en"


@pytest.fixture
def settings(options, parallel, tmp_path) -> list[object]:
    """The options of a run on the parallel files."""
    words = [*options(parallel, tmp_path / "run"), "--valid", spec(parallel, "valid"), "--test", spec(parallel, "test")]
    words[words.index("--data") + 1] = spec(parallel, "train")
    return words


# The commands that read each file, in which a flipped byte must show. Only the last one writes to the run.
TRANSLATE, EVALUATE = ("translate", "{run}", "--input", "{source}"), ("evaluate", "{run}")
LAST = ("evaluate", "{run}", "--checkpoint", "last")
RESUME = ("train", "--run-dir", "{run}", "--resume", "--epochs", "3")
READERS: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(("config.json", "text.json", "manifest.json"), (TRANSLATE, EVALUATE, RESUME)),
    "metrics.jsonl": (RESUME,),
    "checkpoints/last.safetensors": (LAST, RESUME),
    "checkpoints/best.safetensors": (TRANSLATE, EVALUATE),
}
FLIPS = 34  # of each file


class Flipping:
    """A run whose files are damaged in turn, and what the commands gave before."""

    def __init__(self, run: Callable, folder: Path, source: Path) -> None:
        self.run, self.folder, self.source = run, folder, source
        self.good = shutil.copytree(folder, folder.with_name("good"))
        self.noticed = 0
        self.expected = {words: self.result(words) for words in (TRANSLATE, EVALUATE, LAST, RESUME)}
        self.weights = checkpoint.path_of(folder, "last").read_bytes()
        self.restore()

    def result(self, words: tuple[str, ...]) -> tuple[object, ...]:
        """What a command gives; of a training, which says how long it took, the code and the error alone."""
        found = self.run(*(word.format(run=self.folder, source=self.source) for word in words))
        return (found.code, found.err) if words == RESUME else found

    def restore(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.good, self.folder)

    def check(self, name: str, place: int, bit: int) -> None:
        """Flip one bit: each command refuses the file with one line that names it, or does as before."""
        content = bytearray((self.good / name).read_bytes())
        content[place] ^= 1 << bit
        (self.folder / name).write_bytes(content)
        for words in READERS[name]:
            self._compare(words, name)
        self.restore() if RESUME in READERS[name] else shutil.copyfile(self.good / name, self.folder / name)

    def _compare(self, words: tuple[str, ...], name: str) -> None:
        found = self.result(words)
        if found != self.expected[words]:
            self.noticed += 1
            code, err = found[0], str(found[-1])
            assert code == 2
            assert err.startswith(f"error: {self.folder / name}: "), err
            assert err.count("\n") == 1
        elif words == RESUME:
            assert checkpoint.path_of(self.folder, "last").read_bytes() == self.weights


@pytest.mark.timeout(1800)  # for many MINIGRAD_ROUNDS
def test_a_byte_flipped_anywhere_is_refused_or_changes_nothing(train, run, tmp_path, rounds) -> None:
    """Of each file places at random."""
    rng, source = random.Random(7), tmp_path / "source.txt"
    source.write_text("1 2 3\n9 8\n")
    flipping = Flipping(run, train("run", "--epochs", 2), source)
    for name in READERS:
        length = (flipping.good / name).stat().st_size
        for place in rng.choices(range(length), k=FLIPS * rounds):
            flipping.check(name, place, rng.randrange(8))
    assert flipping.noticed > FLIPS * 6 * rounds


@pytest.mark.parametrize(("name", "value"), [("seed", 7), ("lr", 0.5), ("reverse_source", True), ("epochs", 9)])
def test_an_edited_setting_is_refused_until_it_is_accepted(run, refused, folder, corpus, name, value) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    for command in (("translate", folder, "--input", corpus), ("evaluate", folder)):
        refused(f"{path}: changed since the training (sha256 ", *command)
    refused(f"{path}: changed since the training (sha256 ", "train", "--run-dir", folder, "--resume")
    result = run("evaluate", folder, "--accept-changes")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{path}: changed since the training; accepted\n")
    entry = json.loads((folder / "manifest.json").read_text())["accepted"][0]
    assert entry["file"] == "config.json"
    assert entry["is"] == manifest.sha256(path.read_bytes())
    assert getattr(load_settings(folder), name) == value
    assert "accepted" not in run("evaluate", folder, "--accept-changes").out
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 10).code == 0


@pytest.mark.parametrize("damage", ["lost", "cut", "an entry", "its data"])
def test_a_damaged_manifest_is_refused_until_it_is_accepted(run, refused, folder, corpus, damage) -> None:
    path, before = folder / "manifest.json", json.loads((folder / "manifest.json").read_text())
    if damage == "lost":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        change = {"processor": "another"} if damage == "an entry" else {"data_sha256": {}}
        path.write_text(json.dumps({**before, **change}))
    refused(f"{path}: ", "translate", folder, "--input", corpus)
    refused(f"{path}: ", "train", "--run-dir", folder, "--resume")
    assert run("train", "--run-dir", folder, "--resume", "--accept-changes", "--epochs", 3).code == 0
    after = manifest.read(folder)
    assert after["accepted"][0]["file"] == "manifest.json"
    assert (after["run"], after["files_sha256"]) == (before["run"], before["files_sha256"])
    assert after["data_sha256"] == before["data_sha256"]
    assert run("evaluate", folder).code == 0


@pytest.mark.parametrize("change", ["more", "fewer", "others"])
def test_changed_data_are_refused_until_they_are_accepted(run, refused, folder, corpus, change) -> None:
    lines = corpus.read_text().splitlines(keepends=True)
    kept = {"more": [*lines, "1 2 3\t3 2 1\n"], "fewer": lines[:20], "others": lines[::-1]}[change]
    corpus.write_text("".join(kept))
    refused(f"{corpus}: changed since the training (sha256 ", "evaluate", folder)
    refused(f"{corpus}: changed since the training (sha256 ", "train", "--run-dir", folder, "--resume", "--epochs", 3)
    result = run("train", "--run-dir", folder, "--resume", "--epochs", 3, "--accept-changes")
    assert (result.code, result.err) == (0, "")
    assert f"{corpus}: changed since the training; accepted\n" in result.out
    assert json.loads((folder / "manifest.json").read_text())["accepted"][0]["file"] == "data"
    assert run("evaluate", folder).code == 0


def test_fewer_data_in_mid_epoch_come_to_an_end(train, run, corpus, history) -> None:
    """The stored position lies behind the end of the smaller epoch: the epoch is over then."""
    folder = train("run", "--epochs", 4, "--max-steps", 8)
    corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[:20]))
    assert run("train", "--run-dir", folder, "--resume", "--accept-changes", "--max-steps", 12).code == 0
    assert history(folder)[-1]["step"] == 12


def test_a_run_and_its_data_can_move(run, refused, settings, parallel, tmp_path, monkeypatch) -> None:
    assert run("train", *settings, "--epochs", 1).code == 0
    expected = run("evaluate", tmp_path / "run").out
    folder = (tmp_path / "run").rename(tmp_path / "moved")
    assert run("evaluate", folder).out == expected
    new = parallel.rename(tmp_path / "elsewhere")
    refused(f"{parallel}/train.de: no such file", "evaluate", folder)
    assert run("evaluate", folder, "--data-dir", new).out == expected.replace(str(parallel), str(new))
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 2, "--data-dir", new).code == 0
    assert load_settings(folder).data == spec(new, "train")
    assert run("evaluate", folder).code == 0
    monkeypatch.chdir(tmp_path)
    renamed = {}
    for name in ("train", "valid", "test"):
        renamed[name] = f"{name}-1.txt,{name}-2.txt"
        for suffix, number in (("de", 1), ("en", 2)):
            (new / f"{name}.{suffix}").rename(tmp_path / f"{name}-{number}.txt")
    places = ["--data", renamed["train"], "--valid", renamed["valid"]]
    assert run("train", "--run-dir", folder, "--resume", *places, "--test", renamed["test"], "--epochs", 3).code == 0
    monkeypatch.chdir(tmp_path.parent)
    assert run("evaluate", folder).code == 0, "paths mean the same from every folder"


@pytest.mark.parametrize("words", [("--data", "swapped"), ("--data", "changed"), ("--valid", "one")])
def test_moved_data_must_be_the_same(run, refused, settings, parallel, tmp_path, words) -> None:
    assert run("train", *settings, "--epochs", 1).code == 0
    folder, option, kind = tmp_path / "run", *words
    name = option.removeprefix("--").replace("data", "train")
    copies = [shutil.copy(parallel / f"{name}.{suffix}", tmp_path / f"copy.{suffix}") for suffix in ("de", "en")]
    if kind == "swapped":
        copies.reverse()
    elif kind == "changed":
        Path(copies[0]).write_text(Path(copies[0]).read_text().replace("1", "2", 1))
    else:
        copies = [copies[0], copies[0]]
    place = ",".join(map(str, copies))
    for command in (("evaluate", folder), ("train", "--run-dir", folder, "--resume", "--epochs", 2)):
        refused("", *command, option, place)


def test_what_cannot_have_moved_is_refused(refused, folder) -> None:
    for option, value in (("--data", "numbers"), ("--valid", "x.tsv"), ("--test", "x.tsv")):
        refused(
            f"{option[2:]} is '{value}'; the run was started with", "train", "--run-dir", folder, "--resume",
            option, value,
        )  # fmt: skip
    refused("data is 'numbers'; the run was started with", "evaluate", folder, "--data", "numbers")


def test_accept_changes_needs_a_run(refused, options, corpus, tmp_path) -> None:
    refused("accept_changes: goes with --resume", "train", *options(corpus, tmp_path / "x"), "--accept-changes")
    for words in (("evaluate", tmp_path), ("train", "--run-dir", tmp_path, "--resume")):
        refused(f"{tmp_path}/config.json: No such file or directory", *words, "--accept-changes")


def test_a_manifest_that_cannot_be_written_accepts_nothing(run, folder, corpus, full_disk) -> None:
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    full_disk()
    result = run("translate", folder, "--input", corpus, "--accept-changes")
    assert (result.code, result.err) == (2, f"error: {folder / 'manifest.json'}: No space left on device\n")


@pytest.mark.parametrize("name", ["run", "files_sha256", "data_sha256", "metrics"])
def test_a_manifest_that_lacks_an_entry_is_refused(refused, folder, corpus, name) -> None:
    content = manifest.read(folder)
    manifest.write(folder, {key: value for key, value in content.items() if key not in (name, "sha256")})
    refused(f"{folder / 'manifest.json'}: changed since it was written", "translate", folder, "--input", corpus)
