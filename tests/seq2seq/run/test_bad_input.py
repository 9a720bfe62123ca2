"""A user's mistake is one line on stderr that names it, and exit code 2; nothing is written and nothing is lost."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

GOOD_LINES = "".join(f"{i} {i + 1}\t{i + 1} {i}\n" for i in range(40))
MEGABYTE = "word " * 200_000


@pytest.fixture
def folder(train) -> Path:
    """A good run."""
    return train("run", "--epochs", 1)


OPTIONS: dict[str, tuple[list[object], str]] = {
    "unknown option": (["--hiden-size", 3], "unrecognized arguments: --hiden-size 3; did you mean --hidden-size?"),
    "unknown data set": (
        ["--data", "multi31k"],
        "data is 'multi31k'; expected one of numbers, multi30k, spa-eng, scan, cmudict",
    ),
    "unknown variant": (["--data", "scan:short"], "data is 'scan:short'; expected scan, alone or with one of"),
    "unknown language": (["--data", "numbers", "--trg-language", "tlh"], "trg_language is 'tlh'; num2words spells"),
    "wrong type": (["--hidden-size", "wide"], "hidden_size is 'wide'; expected an integer, 1 to 65536"),
    "fraction": (["--num-layers", 1.5], "num_layers is '1.5'; expected an integer"),
    "too small": (["--hidden-size", 0], "hidden_size is 0; expected 1 to 65536"),
    "batch size": (["--batch-size", -4], "batch_size is -4; expected 1 to 1000000"),
    "probability": (["--dropout", 1.5], "dropout is 1.5; expected 0 to 0.99"),
    "teacher forcing": (["--teacher-forcing-ratio", -0.1], "teacher_forcing_ratio is -0.1; expected 0 to 1"),
    "smoothing": (["--label-smoothing", 2], "label_smoothing is 2.0; expected 0 to 0.99"),
    "learning rate": (["--lr", -1], "lr is -1.0; expected 1e-08 to 1000"),
    "seed": (["--seed", -1], "seed is -1; expected 0 to"),
    "not a number": (["--lr", "nan"], "lr is 'nan'; expected a number, 1e-08 to 1000"),
    "no integer": (["--min-freq", "x"], "min_freq is 'x'; expected an integer or null"),
    "no truth": (["--lower", "maybe"], "lower is 'maybe'; expected true or false or null"),
    "no epochs": (["--epochs", 0], "epochs is 0; expected 1 to 1000000"),
    "no steps": (["--max-steps", 0], "max_steps is 0; expected 1 to 1000000000"),
    "save_every": (["--save-every", 0], "save_every is 0; expected 1 to 1000000000"),
    "threads": (["--threads", 0], "threads is 0; expected 1 to"),
    "device": (["--device", "tpu"], "device is 'tpu'; expected cpu or cuda"),
    "precision": (["--precision", "fp16"], "precision is 'fp16'; expected fp32 or tf32 or bf16 or fp64"),
    "tf32": (["--precision", "tf32"], "precision is 'tf32'; expected fp32 or bf16 on the cpu"),
    "tokenizer": (
        ["--src-tokenizer", "words"],
        "tokenizer is 'words'; expected one of word, space, char, sentencepiece",
    ),
    "own splits": (
        ["--data", "numbers", "--valid", "v.tsv"],
        "valid is 'v.tsv'; expected none: numbers has its own splits",
    ),
    "no pairs left": (["--max-length", 1], "data "),
    "rare words": (
        ["--min-freq", 9999],
        "src vocabulary: empty, since min_freq is 9999 and the most frequent word of the training text occurs ",
    ),
    "too many pieces": (
        ["--src-tokenizer", "sentencepiece", "--max-vocab-size", 9000],
        "max_vocab_size is 9000; expected at most --max-vocab-size ",
    ),
    "too few pieces": (
        ["--src-tokenizer", "sentencepiece", "--max-vocab-size", 4],
        "max_vocab_size is 4; expected at least --max-vocab-size ",
    ),
    "form of valid": (["--valid", "v.txt"], "valid is 'v.txt'; expected files as CORPUS.tsv"),
    "one of two files": (["--data", "a.de,"], "data is 'a.de,'; expected one of numbers, "),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(refused, corpus, tmp_path, name) -> None:
    arguments, message = OPTIONS[name]
    options = ["--src-tokenizer", "space", "--trg-tokenizer", "space", *arguments]
    refused(message, "train", "--data", corpus, "--run-dir", tmp_path / "runs" / "run", "--epochs", 1, *options)
    assert not (tmp_path / "runs").exists()


CONFIGS: dict[str, tuple[str, str]] = {
    "unknown key": ("hiden_size: 3\n", "config {path}:1: 'hiden_size' is no setting; did you mean hidden_size?"),
    "wrong type": ("hidden_size: wide\n", "config {path}:1: hidden_size is 'wide'; expected an integer"),
    "wrong list": ("lr: [1]\n", "config {path}:1: lr is a list; expected a number"),
    "wrong text": ("data: 3\n", "config {path}:1: data is 3; expected text, in quotes"),
    "range": ("hidden_size: 0\n", "config {path}:1: hidden_size is 0; expected 1 to 65536"),
    "no mapping": (
        "- 1\n- 2\n",
        "config {path}:1: no settings; expected YAML or JSON with lines such as hidden_size: 256",
    ),
    "no YAML": ("a: [1, 2\nb: }\n", "config {path}:2: expected ',' or ']'"),
    "data set": ("data: multi31k\n", "data is 'multi31k'; expected one of"),
    "runs code": ("data: !!python/object/apply:os.abort []\n", "config {path}:1: data is a list; expected text"),
}


@pytest.mark.parametrize("command", ["train", "gradcheck"])
@pytest.mark.parametrize("name", CONFIGS)
def test_config_files(refused, corpus, tmp_path, command, name) -> None:
    if (command, name) == ("gradcheck", "data set"):
        pytest.skip("a gradient check reads no data")
    text, message = CONFIGS[name]
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    data = [] if name == "data set" else ["--data", corpus]
    refused(message.format(path=path), command, *data, "--run-dir", tmp_path / "run", "--config", path)


def test_a_missing_config_file_is_named(refused, tmp_path) -> None:
    path = tmp_path / "none.yaml"
    refused(f"config {path}: No such file or directory; expected a YAML or JSON", "train", "--config", path)


def test_a_run_folder_that_cannot_be_one(refused, corpus, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    message = f"run_dir {tmp_path / 'file'}: File exists; expected a folder, or a name for a new one"
    refused(message, "train", "--data", corpus, "--run-dir", tmp_path / "file")
    message = f"run_dir {tmp_path / 'file' / 'run'}: Not a directory; expected a folder"
    refused(message, "train", "--data", corpus, "--run-dir", tmp_path / "file" / "run")


def test_an_empty_folder_of_the_user_stays(run, corpus, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    assert run("train", "--data", corpus, "--run-dir", tmp_path / "mine", "--max-length", 1).code == 2
    assert (tmp_path / "mine").is_dir()


FILES: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "{path}: no such file"),
    "empty": (b"", "{path}: empty; expected one sentence a line"),
    "invalid UTF-8": (b"a\tb\nc\xff\td\n", "{path}:2: invalid UTF-8 (byte 0xff at column 2); expected UTF-8 text"),
    "a megabyte": (
        f"a\tb\n{MEGABYTE}\tb\n".encode(),
        "{path}:2: line is longer than 100,000 bytes; expected a sentence",
    ),
    "one column": (b"a\tb\nc d\n", "{path}:2: 1 column; expected source TAB target"),
    "one source": (b"a\tb\n", "{path}: one distinct source sentence; expected more"),
}


@pytest.mark.parametrize("name", FILES)
def test_training_files(refused, tmp_path, name) -> None:
    content, message = FILES[name]
    path = tmp_path / "bad.tsv"
    if content is not None:
        path.write_bytes(content)
    refused(message.format(path=path), "train", "--data", path, "--run-dir", tmp_path / "run")
    good = tmp_path / "good.tsv"
    good.write_text(GOOD_LINES)
    if name != "one source":
        refused(message.format(path=path), "train", "--data", good, "--valid", path, "--run-dir", tmp_path / "run")


def test_unequal_line_counts_name_both_files(refused, tmp_path) -> None:
    src, trg = tmp_path / "train.de", tmp_path / "train.en"
    src.write_text("a\n" * 5)
    trg.write_text("b\n" * 4)
    message = f"{src} has 5 lines, {trg} has 4; expected equal numbers"
    refused(message, "train", "--data", f"{src},{trg}", "--run-dir", tmp_path / "run")


def test_a_broken_gzip_file(refused, tmp_path) -> None:
    path = tmp_path / "train.tsv.gz"
    path.write_bytes(gzip.compress(GOOD_LINES.encode())[:-20])
    refused(f"{path}: cannot be read to its end", "train", "--data", path, "--run-dir", tmp_path / "run")


def test_a_folder_and_an_unknown_ending_are_no_data(refused, tmp_path) -> None:
    (tmp_path / "folder.tsv").mkdir()
    refused(f"{tmp_path / 'folder.tsv'}: no corpus in it", "train", "--data", tmp_path / "folder.tsv")
    refused(f"data is '{tmp_path / 'x.txt'}'; expected one of numbers", "train", "--data", tmp_path / "x.txt")


def test_a_table_and_a_text_are_no_pair(refused, corpus, tmp_path) -> None:
    message = f"{corpus}: a table or an archive by its name; expected SRC,TRG as two text files of one sentence a line"
    refused(message, "train", "--data", f"{corpus},x.en", "--run-dir", tmp_path / "run")
    refused(message, "train", "--data", corpus, "--valid", f"x.en,{corpus}", "--run-dir", tmp_path / "run")


def test_faults_of_the_text_are_told_before_the_training(run, corpus, options, tmp_path) -> None:
    corpus.write_text("".join(f"{i} {i + 1}\t{i + 1} {i} and more\n" for i in range(40)))
    clean = run("train", *options(corpus, tmp_path / "clean"), "--max-steps", 1)
    assert "note: " not in clean.out
    odd = "source\ttarget\n" + corpus.read_text() + "1 2\t\n3\ufffd4\t4 3\n"
    corpus.write_text(odd, encoding="utf-8")
    result = run("train", *options(corpus, tmp_path / "run"), "--max-steps", 1)
    notes = [line for line in result.out.splitlines() if line.startswith("note: ")]
    assert [note.removeprefix(f"note: {corpus}: ")[:30] for note in notes] == [
        "line 1 is a header; columns 's", "1 of 42 pairs has text on one ", "1 of 42 pairs holds the mark U",
    ]  # fmt: skip
    assert result.out.splitlines()[: len(notes)] == notes
    resumed = run("train", "--run-dir", tmp_path / "run", "--resume", "--max-steps", 2)
    assert (resumed.code, "note: " in resumed.out) == (0, False)


TRANSLATE: dict[str, tuple[list[object], str]] = {
    "beam": (["--beam-size", 0], "beam_size is 0; expected 1 to 1000"),
    "n-best": (["--beam-size", 2, "--n-best", 3], "n_best is 3; expected at most beam_size = 2"),
    "batch": (["--batch-size", 0], "batch_size is 0; expected 1 to 1000000"),
    "threads": (["--threads", -1], "threads is -1; expected 1 to 4096"),
    "type": (["--beam-size", "wide"], "beam_size is 'wide'; expected an integer, 1 to 1000"),
    "penalty": (["--beam-size", 2, "--length-penalty", "nan"], "length_penalty is 'nan'; expected a number, 0 to 10"),
    "device": (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
    "tf32": (["--precision", "tf32"], "precision is 'tf32'; expected fp32 or bf16 on the cpu"),
    "unknown": (["--bean-size", 2], "unrecognized arguments: --bean-size 2"),
}


@pytest.mark.parametrize("name", TRANSLATE)
def test_translate_options(refused, folder, corpus, name) -> None:
    arguments, message = TRANSLATE[name]
    refused(message, "translate", folder, "--input", corpus, *arguments)


EVALUATE: dict[str, tuple[list[object], str]] = {
    "beam": (["--beam-size", 0], "beam_size"),
    "split": (["--split", "dev"], "split is 'dev'; expected one of train, valid of"),
    "type": (["--batch-size", "x"], "batch_size is 'x'; expected an integer, 1 to 1000000"),
    "threads": (["--threads", 0], "threads is 0; expected 1 to 4096"),
}


@pytest.mark.parametrize("name", EVALUATE)
def test_evaluate_options(refused, folder, name) -> None:
    arguments, message = EVALUATE[name]
    refused(message, "evaluate", folder, *arguments)


@pytest.mark.parametrize("command", ["translate", "evaluate"])
def test_a_missing_argument(refused, command) -> None:
    refused("the following arguments are required: run_dir", command)


@pytest.mark.parametrize("name", ["missing", "invalid UTF-8", "a megabyte"])
def test_translated_files(refused, folder, tmp_path, name) -> None:
    content, message = FILES[name]
    path, output = tmp_path / "input.txt", tmp_path / "output.txt"
    if content is not None:
        path.write_bytes(content)
    refused(message.format(path=path), "translate", folder, "--input", path, "--output", output)


def test_a_file_of_unknown_words(refused, folder, tmp_path) -> None:
    path = tmp_path / "other.tsv"
    path.write_text("vier fünf\tfive four\nsechs\tsix\n")
    refused(f"{path}: none of its 3 words is in the source vocabulary", "evaluate", folder, "--test", path)
    path.write_text("vier fünf\nsechs\n")
    refused(f"{path}: none of its 3 words is in the source vocabulary", "translate", folder, "--input", path)


def test_data_that_changed_since_the_training(refused, folder, corpus) -> None:
    corpus.write_text(GOOD_LINES)
    refused(f"{corpus}: changed since the training", "evaluate", folder)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("train", ["--data", "none.tsv"], "error: none.tsv: no such file\n"),
        (
            "translate",
            ["none"],
            "error: none/config.json: No such file or directory; expected the folder of a training run\n",
        ),
        (
            "evaluate",
            ["none"],
            "error: none/config.json: No such file or directory; expected the folder of a training run\n",
        ),
        ("gradcheck", ["--hidden-size", "0"], "error: hidden_size is 0; expected 1 to 65536\n"),
    ],
)
def test_as_a_process(spawn, tmp_path, command, arguments, message) -> None:
    child = spawn(command, *arguments, cwd=tmp_path)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (2, "", message)
    assert list(tmp_path.iterdir()) == []


def test_stdout_on_a_full_disk(spawn, folder, corpus) -> None:
    with open("/dev/full", "w") as full:
        child = spawn("translate", folder, "--input", corpus, stdout=full)
        _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (2, "error: standard output: No space left on device\n")


def test_a_reader_that_goes_away_is_no_error(spawn, folder, corpus) -> None:
    reader, writer = os.pipe()
    child = spawn("translate", folder, "--input", corpus, stdout=writer)
    os.close(reader)
    os.close(writer)
    assert child.communicate(timeout=60)[1] == ""
    assert child.returncode == 0


def test_unknown_words_in_validation_files_are_refused(refused, corpus, tmp_path) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("vier fünf\tfive four\nsechs\tsix\n")
    message = "split valid: none of its 3 words is in the source vocabulary"
    refused(message, "train", "--data", corpus, "--valid", other, "--run-dir", tmp_path / "run")


def test_left_out_pairs_count_for_nothing(run, corpus, tmp_path) -> None:
    corpus.write_text(corpus.read_text() + " ".join(["long"] * 900) + "\t" + " ".join(["far"] * 900) + "\n")
    arguments = ("--data", corpus, "--run-dir", tmp_path / "run", "--max-length", 20, "--max-steps", 1)
    result = run("train", *arguments, "--hidden-size", 8, "--embedding-size", 8, "--min-freq", 1)
    assert result.code == 0, result.err
    text = json.loads((tmp_path / "run" / "text.json").read_text())
    assert text["max_output_length"] <= 31
    assert "far" not in text["trg_vocabulary"]["tokens"]


def test_an_empty_config_file_sets_nothing(run, corpus, tmp_path) -> None:
    (tmp_path / "settings.yaml").write_text("# nothing yet\n")
    arguments = ("--data", corpus, "--run-dir", tmp_path / "run", "--max-steps", 1, "--hidden-size", 8)
    assert run("train", "--config", tmp_path / "settings.yaml", *arguments).code == 0


def test_samples_are_printed_in_utf8_whatever_the_locale(spawn, options, tmp_path) -> None:
    accented = tmp_path / "accented.tsv"
    accented.write_text("".join(f"{i} {i + 1}\té{i} à{i + 1}\n" for i in range(40)), encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    child = spawn("train", *options(accented, tmp_path / "run"), "--epochs", 1, "--min-freq", 1, env=environment)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert "é" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--decoder", "gru-context", "--encoder", "gru", "--cell", "lstm"], "cell is 'lstm'; expected gru, cho-gru"),
        (["--decoder", "dot-attention", "--encoder", "bilstm"], "attention dot multiplies outputs of hidden_size"),
        (["--encoder", "gru", "--decoder", "lstm"], "decoder lstm starts from 2 states"),
        (["--encoder", "lstm", "--pyramid", 2], "pyramid is 2; expected less than num_layers = 2"),
    ],
)
def test_parts_that_do_not_fit_are_told_before_the_data_are_read(refused, tmp_path, options, said) -> None:
    """The data are not even there."""
    refused(said, "train", "--data", tmp_path / "nowhere.tsv", "--run-dir", tmp_path / "run", *options)
