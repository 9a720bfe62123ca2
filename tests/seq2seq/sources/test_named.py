"""The public sets: their formats on small examples, their checks, and the known sizes of the real corpora."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pooch
import pytest

from seq2seq.run.errors import UserError
from seq2seq.sources import BatchSampler, EncodedSplit, Ragged, TextSource, load_dataset, tokenize_pairs
from seq2seq.sources.fetch import RemoteFile, local_path
from seq2seq.sources.files import read_lines
from seq2seq.sources.named import NAMED_SETS, parse_commands, parse_pronunciations
from seq2seq.text.tokenizers import WordTokenizer
from seq2seq.text.vocabulary import Vocabulary

ABC = RemoteFile(
    "set/abc.txt", "https://example.org/abc.txt", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
)
DATA_DIR = os.environ.get("MINIGRAD_DATA_DIR")
needs_data = [pytest.mark.data, pytest.mark.skipif(not DATA_DIR, reason="MINIGRAD_DATA_DIR names no folder of corpora")]


def sizes(name: str, **options: Any) -> tuple[int, int, int]:
    data = load_dataset(name, data_dir=DATA_DIR, **options)
    train, valid, test = (len(data.splits[split]) for split in ("train", "valid", "test"))
    return train, valid, test


def test_commands() -> None:
    lines = ["IN: jump twice OUT: I_JUMP I_JUMP", "IN: walk OUT: I_WALK "]
    assert parse_commands(lines, "f") == [("jump twice", "I_JUMP I_JUMP"), ("walk", "I_WALK")]
    with pytest.raises(UserError, match="f:2: 'IN: walk I_WALK'; expected 'IN: command OUT: actions'"):
        parse_commands([lines[0], "IN: walk I_WALK"], "f")


def test_pronunciations() -> None:
    lines = ["a AH0", "a(2) EY1", "a(3) EY2 # same without stress", "aalborg AO1 L # place, danish", "(x) EH1 K"]
    assert parse_pronunciations(lines, "f") == {"a": ["AH", "EY"], "aalborg": ["AO L"], "(x)": ["EH K"]}
    assert parse_pronunciations(lines, "f", keep_stress=True)["a"] == ["AH0", "EY1", "EY2"]
    with pytest.raises(UserError, match="f:2: 'b # B IY1'; expected a word and its phones"):
        parse_pronunciations(["a AH0", "b # B IY1"], "f")


def test_a_file_of_the_data_folder_is_verified(tmp_path: Path) -> None:
    path = tmp_path / ABC.path
    expected = "no such file; expected --data-dir to be the folder that holds set/abc.txt"
    with pytest.raises(UserError, match=f"{path}: {expected}"):
        local_path(ABC, tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"abc")
    assert local_path(ABC, str(tmp_path)) == path
    path.write_bytes(b"abd")
    with pytest.raises(UserError, match=rf"{path}: sha256 is a52d159f.*; expected {ABC.sha256}, .*{ABC.url}"):
        local_path(ABC, tmp_path)


def test_downloads_are_cached_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, calls = b"abc", []

    def serve(url: str, output_file: str, _: object) -> None:
        calls.append(url)
        Path(output_file).write_bytes(content)

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: serve)
    for _ in range(2):
        assert local_path(ABC, None) == tmp_path / "minigrad-seq2seq/set/abc.txt"
    assert calls == [ABC.url]
    shutil.rmtree(tmp_path / "minigrad-seq2seq")
    content = b"abd"
    with pytest.raises(UserError, match="download failed"):
        local_path(ABC, None)


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: fail)
    with pytest.raises(UserError) as caught:
        load_dataset("cmudict")
    assert str(caught.value) == (
        "https://raw.githubusercontent.com/cmusphinx/cmudict/master/cmudict.dict: download failed (no route to host); "
        "place the file by hand as DIR/cmudict/cmudict.dict and give --data-dir DIR"
    )


@pytest.mark.parametrize("end", [None, OSError("cut off"), KeyboardInterrupt()])
def test_a_download_that_goes_wrong_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Any) -> None:
    """Neither half a file nor a wrong one; what else lies in the folder stays, whatever its name."""

    def cut(url: str, output_file: str, _: object) -> None:
        Path(output_file).write_bytes(b"ab")
        if end is not None:
            raise end

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path)
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: cut)
    (tmp_path / "set").mkdir()
    others = {tmp_path / "set" / name for name in ("abc.txt.tmp", ".abc.txt.tmp", "tmpabc", "mine.part")}
    for other in others:
        other.write_text("mine")
    with pytest.raises((UserError, KeyboardInterrupt)):
        local_path(ABC, None)
    assert set((tmp_path / "set").iterdir()) == others
    assert {other.read_text() for other in others} == {"mine"}


def test_a_pipe_in_the_cache_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path)
    (tmp_path / "set").mkdir()
    os.mkfifo(tmp_path / ABC.path)
    for data_dir in (None, tmp_path):
        with pytest.raises(UserError, match=f"{tmp_path / ABC.path}: not a regular file"):
            local_path(ABC, data_dir)


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "variant": ("scan:jump", {}, "data is 'scan:jump'; expected scan, alone or with one of simple, length, addprim"),
    "no variants": ("multi30k:x", {}, "data is 'multi30k:x'; expected multi30k"),
    "languages": (
        "spa-eng",
        {"src_language": "de"},
        "src_language, trg_language are de, None; spa-eng has es-en, en-es",
    ),
    "equal": ("multi30k", {"src_language": "de", "trg_language": "de"}, "multi30k has de-en, en-de"),
    "valid": ("scan", {"valid": "x.tsv"}, "valid is 'x.tsv'; expected none: scan has its own splits"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(tmp_path: Path, case: str) -> None:
    name, options, message = BAD[case]
    with pytest.raises(UserError) as caught:
        load_dataset(name, data_dir=tmp_path, **options)
    assert message in str(caught.value)


class TestCorpora:
    """Known answers of the real files."""

    pytestmark = needs_data

    def test_every_set_loads_and_none_leaks(self) -> None:
        for name in NAMED_SETS:
            splits = load_dataset(name, data_dir=DATA_DIR).splits
            if name in ("spa-eng", "cmudict"):
                sources = [{source for source, _ in pairs} for pairs in splits.values()]
                assert sum(map(len, sources)) == len(set.union(*sources))

    def test_sizes(self) -> None:
        assert sizes("multi30k") == sizes("multi30k", src_language="fr") == (29_000, 1_014, 1_000)
        assert sum(sizes("spa-eng")) == sum(sizes("spa-eng", src_language="en")) == 118_964
        assert sum(sizes("scan")[:2]) == 16_728
        assert sizes("scan")[2] == 4_182
        assert sizes("scan:length")[2] == 3_920
        assert sizes("scan:addprim")[2] == 7_706

    def test_scan_keeps_the_primitive_in_train(self) -> None:
        assert ("jump", "I_JUMP") in load_dataset("scan:addprim", data_dir=DATA_DIR).splits["train"]

    def test_cmudict(self) -> None:
        data = load_dataset("cmudict", data_dir=DATA_DIR)
        words = [word for pairs in data.splits.values() for word, _ in pairs]
        assert len(set(words)) == 126_052
        assert len({phone for pairs in data.splits.values() for _, phones in pairs for phone in phones.split()}) == 39
        assert len(data.splits["test"]) == len({word for word, _ in data.splits["test"]}) == 12_606
        references = data.references("test")
        assert all(trg == accepted[0] for (_, trg), accepted in zip(data.splits["test"], references, strict=True))
        assert max(map(len, references)) > 1

    def test_cmudict_by_index(self) -> None:
        lines = read_lines(Path(str(DATA_DIR)) / "cmudict/cmudict.dict")
        words = list(dict.fromkeys(re.sub(r"\(\d+\)$", "", line.split()[0]) for line in lines))
        data = load_dataset("cmudict:index", data_dir=DATA_DIR)
        found = {split: list(dict.fromkeys(word for word, _ in pairs)) for split, pairs in data.splits.items()}
        assert found["valid"] == words[::20]
        assert found["test"] == [word for index, word in enumerate(words) if index % 20 in (1, 2)]
        assert found["train"] == [word for index, word in enumerate(words) if index % 20 > 2]
        assert max(map(len, data.references("test"))) > 1

    def test_spa_eng_direction(self) -> None:
        data = load_dataset("spa-eng", data_dir=DATA_DIR)
        assert ("Ve.", "Go.") in data.splits["train"]
        assert (data.src_language, data.trg_language) == ("es", "en")

    def test_multi30k_vocabularies_and_padding(self) -> None:
        """The tutorials' vocabularies with spaCy's rules, and over 90 % real tokens in a batch."""
        pytest.importorskip("spacy")
        pairs = load_dataset("multi30k", data_dir=DATA_DIR).splits["train"]
        german, english = WordTokenizer("de", "spacy", lower=True), WordTokenizer("en", "spacy", lower=True)
        sides = [list(tokens) for tokens in tokenize_pairs(pairs, german, english)]
        vocabularies = [Vocabulary.build(tokens, min_freq=2) for tokens in sides]
        assert [len(vocabulary) for vocabulary in vocabularies] == [7_853, 5_893]
        split = EncodedSplit(*(Ragged(map(v.encode, side)) for v, side in zip(vocabularies, sides, strict=True)))
        batches = BatchSampler(split.src.lengths, split.trg.lengths, batch_size=128, seed=1).batches(0)
        real = padded = 0
        for batch in (TextSource().batch(split, indices) for indices in batches):
            real += batch.num_src_tokens + batch.num_trg_tokens
            padded += batch.src.size + batch.trg_output.size
        assert real / padded > 0.9
