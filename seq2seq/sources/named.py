"""The public data sets: Multi30k, Tatoeba Spanish-English, SCAN and the CMU pronouncing dictionary.

Contract: the published splits where there are any (Multi30k; SCAN's train and test); every other part is held out by a
hash of the source sentence, so all pairs with one source stay together and everybody gets the same split:

- spa-eng: 2 % of the sources each for valid and test; a source with several translations gives several pairs.
- scan: 2 % of train for valid. `scan:simple` (also plain `scan`), `scan:length` and `scan:addprim` choose the split.
- cmudict: 5 % of the words for valid, 10 % for test. Comments and stress marks are removed, as in the published scores;
  `cmudict:stress` keeps the marks; `cmudict:index` is the split of the published scores, by a word's place in the
  dictionary: of each twenty words the first for valid, the second and third for test. In train each pronunciation of a
  word is a pair; in valid and test a word is one pair with its first pronunciation, and any of its pronunciations is
  right (`Dataset.references`).
"""

import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from seq2seq.run.errors import UserError
from seq2seq.sources.dataset import Dataset, Pair, hold_out
from seq2seq.sources.fetch import RemoteFile, local_path
from seq2seq.sources.files import decode_lines, read_lines, read_parallel, split_columns

_RAW = "https://raw.githubusercontent.com"
_MULTI30K_SHA256 = {
    "train.de": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.fr": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
    "val.de": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.fr": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
    "test_2016_flickr.de": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.fr": "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
}
_MULTI30K_SPLITS = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
_SPA_ENG = RemoteFile(
    "tatoeba/spa-eng.zip",
    "https://storage.googleapis.com/download.tensorflow.org/data/spa-eng.zip",
    "f80e581ae291aa34dd3aba7bd98b5e9505234da4318e2f3295df70a1520c7f61",
)
_SCAN_SHA256 = {
    "simple_split/tasks_train_simple.txt": "941bb8a088c5f53ceff12fde902dc008933cf0c4203cc672c47b5f79d73262dd",
    "simple_split/tasks_test_simple.txt": "1fe1c8f5a19d0dc40e41bab94278f45f66f3dc415a978bd29855a23440610fc6",
    "length_split/tasks_train_length.txt": "b034212dc7cf87ce62f3a067dd6ad49c4d5cd18d51d615d13825516bcb1ebbc2",
    "length_split/tasks_test_length.txt": "0760752ed34a75116ae11dcc1ee17526b7500060da1366540730fa24894d7db3",
    "add_prim_split/tasks_train_addprim_jump.txt": "e3c78485692e028eed4205e1b8b3fd0e785ef2c12d45b5b89204dadf5b239e23",
    "add_prim_split/tasks_test_addprim_jump.txt": "8147ae2651422c701162e174d9d66158daa57858a26b30317ac61797118ac7a5",
}
_SCAN_PATHS = {
    "simple": "simple_split/tasks_{}_simple.txt",
    "length": "length_split/tasks_{}_length.txt",
    "addprim": "add_prim_split/tasks_{}_addprim_jump.txt",
}
_CMUDICT = RemoteFile(
    "cmudict/cmudict.dict",
    f"{_RAW}/cmusphinx/cmudict/master/cmudict.dict",
    "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
)


@dataclass(frozen=True)
class NamedSet:
    """A public data set.

    Attributes:
        load: reads it, given (src_language, trg_language, data_dir, variant).
        pairs: the (source, target) languages it can be read in, the usual one first.
        variants: what may follow the name after a colon, the usual one first; empty text is the plain name.
    """

    load: Callable[[str, str, Path | None, str], Dataset]
    pairs: tuple[tuple[str, str], ...]
    variants: tuple[str, ...] = ("",)


def load_named(
    data: str, src_language: str | None = None, trg_language: str | None = None, data_dir: str | Path | None = None
) -> Dataset:
    """Read a public data set.

    Args:
        data: a key of `NAMED_SETS`, or NAME:VARIANT.
        src_language, trg_language: None takes the usual one.
        data_dir: a folder that holds the files; None downloads them once.

    Raises:
        UserError: the variant or the languages are not among the set's, or its files cannot be had.
    """
    name, _, variant = data.partition(":")
    known = NAMED_SETS[name]
    if variant and variant not in known.variants:
        raise UserError(
            f"data is {data!r}; expected {name}, alone or with one of {', '.join(known.variants)} after a colon"
        )
    for src, trg in known.pairs:
        if src_language in (None, src) and trg_language in (None, trg):
            return known.load(src, trg, Path(data_dir) if data_dir is not None else None, variant or known.variants[0])
    pairs = ", ".join("-".join(pair) for pair in known.pairs)
    raise UserError(f"src_language, trg_language are {src_language}, {trg_language}; {name} has {pairs}")


def _load_multi30k(src: str, trg: str, data_dir: Path | None, variant: str) -> Dataset:
    """Captions of 29,000 train, 1,014 valid and 1,000 test (test_2016_flickr) images, Elliott et al. 2016."""
    files = {
        split: [_multi30k_file(f"{stem}.{language}") for language in (src, trg)]
        for split, stem in _MULTI30K_SPLITS.items()
    }
    return Dataset(
        name="multi30k",
        src_language=src,
        trg_language=trg,
        splits={split: read_parallel(*(local_path(file, data_dir) for file in both)) for split, both in files.items()},
        defaults={"src_tokenizer": "word", "trg_tokenizer": "word", "lower": True, "min_freq": 2},
        checksums={file.path: file.sha256 for both in files.values() for file in both},
        license="Multi30k captions (Elliott et al. 2016): research and education",
    )


def _multi30k_file(name: str) -> RemoteFile:
    url = f"{_RAW}/multi30k/dataset/master/data/task1/raw/{name}.gz"
    return RemoteFile(f"multi30k/{name}.gz", url, _MULTI30K_SHA256[name])


def _load_spa_eng(src: str, trg: str, data_dir: Path | None, variant: str) -> Dataset:
    """118,964 sentence pairs of Tatoeba."""
    path = local_path(_SPA_ENG, data_dir)
    with zipfile.ZipFile(path) as archive, archive.open("spa-eng/spa.txt") as stream:
        pairs = split_columns(decode_lines(cast(BinaryIO, stream), f"{path}/spa.txt"), f"{path}/spa.txt")
    if src == "es":
        pairs = [(spanish, english) for english, spanish in pairs]
    valid, test, train = hold_out(pairs, (0.02, 0.02))
    return Dataset(
        name="spa-eng",
        src_language=src,
        trg_language=trg,
        splits={"train": train, "valid": valid, "test": test},
        defaults={"src_tokenizer": "word", "trg_tokenizer": "word", "lower": True, "min_freq": 2},
        checksums={_SPA_ENG.path: _SPA_ENG.sha256},
        license="Tatoeba sentences (tatoeba.org): CC-BY 2.0 FR",
    )


def _load_scan(src: str, trg: str, data_dir: Path | None, variant: str) -> Dataset:
    """Commands and action sequences, Lake and Baroni 2018."""
    files = {split: _scan_file(_SCAN_PATHS[variant].format(split)) for split in ("train", "test")}
    pairs = {split: _scan_pairs(local_path(file, data_dir)) for split, file in files.items()}
    valid, train = hold_out(pairs["train"], (0.02,))
    return Dataset(
        name=f"scan:{variant}",
        src_language=src,
        trg_language=trg,
        splits={"train": train, "valid": valid, "test": pairs["test"]},
        defaults={"src_tokenizer": "space", "trg_tokenizer": "space", "lower": False, "min_freq": 1},
        checksums={file.path: file.sha256 for file in files.values()},
        license="SCAN (Lake and Baroni 2018): BSD",
    )


def _scan_file(name: str) -> RemoteFile:
    return RemoteFile(f"scan/{name}", f"{_RAW}/brendenlake/SCAN/master/{name}", _SCAN_SHA256[name])


def _scan_pairs(path: Path) -> list[Pair]:
    """The pairs of a file of `IN: command OUT: actions` lines."""
    return parse_commands(read_lines(path), str(path))


def parse_commands(lines: Iterable[str], name: str) -> list[Pair]:
    """The pairs of `IN: command OUT: actions` lines; `name` is the file for the message.

    Raises:
        UserError: a line has another form.
    """
    pairs = []
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(r"IN: (.+?) OUT: (.+?) *", line)
        if not match:
            raise UserError(f"{name}:{number}: {line[:40]!r}; expected 'IN: command OUT: actions'")
        pairs.append((match[1], match[2]))
    return pairs


def _load_cmudict(src: str, trg: str, data_dir: Path | None, variant: str) -> Dataset:
    """Spelling to phones of 126,052 English words."""
    path = local_path(_CMUDICT, data_dir)
    pronunciations = parse_pronunciations(read_lines(path), str(path), keep_stress=variant == "stress")
    first = [(word, phones[0]) for word, phones in pronunciations.items()]
    valid, test, train = _by_index(first) if variant == "index" else hold_out(first, (0.05, 0.1))
    alternatives = {
        split: [tuple(pronunciations[word]) for word, _ in part] for split, part in (("valid", valid), ("test", test))
    }
    train = [(word, phones) for word, _ in train for phones in pronunciations[word]]
    return Dataset(
        name=f"cmudict:{variant}" if variant else "cmudict",
        src_language=src,
        trg_language=trg,
        splits={"train": train, "valid": valid, "test": test},
        alternatives=alternatives,
        defaults={"src_tokenizer": "char", "trg_tokenizer": "space", "lower": False, "min_freq": 1},
        checksums={_CMUDICT.path: _CMUDICT.sha256},
        license="CMU pronouncing dictionary: BSD-like",
    )


def _by_index(pairs: list[Pair]) -> tuple[list[Pair], ...]:
    """valid, test and train, as CMUSphinx' g2p-seq2seq splits a dictionary."""
    places = ((0,), (1, 2), range(3, 20))
    return tuple([pair for index, pair in enumerate(pairs) if index % 20 in part] for part in places)


def parse_pronunciations(lines: Iterable[str], name: str, keep_stress: bool = False) -> dict[str, list[str]]:
    """Every word's distinct pronunciations in their order, phones separated by blanks.

    Lines are `word PH ON ES` or, for another pronunciation, `word(2) PH ON ES`; `#` starts a comment. `name` is the
    file for the message.

    Raises:
        UserError: a line has another form.
    """
    pronunciations: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        word, _, phones = line.split("#")[0].strip().partition(" ")
        if not phones:
            raise UserError(f"{name}:{number}: {line[:40]!r}; expected a word and its phones")
        known = pronunciations.setdefault(re.sub(r"\(\d+\)$", "", word), [])
        phones = phones if keep_stress else re.sub(r"\d", "", phones)
        if phones not in known:
            known.append(phones)
    return pronunciations


NAMED_SETS = {
    "multi30k": NamedSet(
        _load_multi30k, (("de", "en"), ("en", "de"), ("fr", "en"), ("en", "fr"), ("de", "fr"), ("fr", "de"))
    ),
    "spa-eng": NamedSet(_load_spa_eng, (("es", "en"), ("en", "es"))),
    "scan": NamedSet(_load_scan, (("command", "action"),), tuple(_SCAN_PATHS)),
    "cmudict": NamedSet(_load_cmudict, (("spelling", "phones"),), ("", "stress", "index")),
}


def is_named(data: str) -> bool:
    """Whether ``data`` is a public or a generated data set, and no files."""
    return data.partition(":")[0] in ("numbers", *NAMED_SETS)
