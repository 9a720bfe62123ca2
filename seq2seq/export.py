"""``python -m seq2seq.export RUN_DIR --to MODEL.seq2seq``: a model in one file; ``--to PAGE.html``: in a page;
``--to NAME.onnx``: as ONNX graphs in a folder; ``--to NAME.hub``: in a folder with a card, as the hub wants it."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("export"))

import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seq2seq import evaluate
from seq2seq.decoding import runs
from seq2seq.decoding.translator import Translator
from seq2seq.run import checkpoint
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.folder import files_of
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import check_output, print_results
from seq2seq.run.writing import replace_file, require_new_folder
from seq2seq.shipping import hub, model_file, onnx_model, page, quantise, reader

# By suffix; any other one is that of a model file.
WRITERS: dict[str, Callable[..., None]] = {".html": page.write, ".onnx": onnx_model.write, ".hub": hub.write}
# Of those that make a folder, what must be so before.
NEW_FOLDERS: dict[str, Callable[[Path], None]] = {".onnx": onnx_model.check, ".hub": require_new_folder}


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.export",
        description="Write a trained model to one file that Translator.load and all commands that translate take, "
        "to a page that translates in a browser, to a folder of ONNX graphs, or to one for the Hugging Face hub.",
    )
    parser.add_text("run_dir", "folder of a training run")
    parser.add_text("--to", "file or folder to write, such as model.seq2seq, page.html, graphs.onnx or card.hub")
    parser.add_argument(
        "--weights", choices=quantise.FORMS, default="full",
        help="matrices as they are, in float16, or int8 with a scale for each row (default: full)",
    )  # fmt: skip
    parser.add_text("--reader", "also write decode.py to this file: it translates with the model in plain NumPy")
    parser.add_text("--scores", "files of seq2seq.evaluate --json, for the card of a .hub folder", several=True)
    parser.add_argument("--checkpoint", choices=checkpoint.NAMES, default="best")
    parser.add_text("--compare", "valid or test: say what the smaller numbers change on this split")
    parser.add_text("--data-dir", "folder that holds the data sets, or your files; by default as in training")
    return parser


def export(arguments: Sequence[str] | None = None) -> int:
    """Export as the command line says."""
    options = build_parser().parse_args(arguments)
    run_dir = Path(options.run_dir)
    if options.to is None:
        raise UserError("to: is missing; expected --to MODEL.seq2seq")
    for name, path in (("to", options.to), ("reader", options.reader)):
        if path == "-":
            raise UserError(f"{name} is '-'; expected a file to write")
        if name == "to" and _suffix(path) in NEW_FOLDERS:
            NEW_FOLDERS[_suffix(path)](Path(path))
        elif path is not None:
            check_output(path, name, files_of(run_dir))
    if options.reader is not None and _suffix(options.to) in WRITERS:
        raise UserError(f"reader: it reads model files; --to is {options.to}; expected --to MODEL.seq2seq beside it")
    if options.scores is not None and _suffix(options.to) != ".hub":
        raise UserError(f"scores: they go into a model's card; --to is {options.to}; expected --to NAME.hub")
    translator = Translator.load(run_dir, options.checkpoint)
    more = {"known": hub.known_of(run_dir, options.scores or ())} if _suffix(options.to) == ".hub" else {}
    _write(Path(options.to), translator, options.weights, **more)
    if options.reader is not None:
        replace_file(Path(options.reader), reader.for_model(Path(options.to).read_bytes()).encode())
    print_results("\n".join(_told(options, translator)), options.to)
    return 0


def _suffix(to: str) -> str:
    return Path(to).suffix.lower()


def _write(path: Path, translator: Translator, form: str, **more: Any) -> None:
    """What the suffix of the path asks for."""
    write = WRITERS.get(path.suffix.lower(), model_file.write)
    write(path, translator.model, translator.codec, translator.settings, form, **more)


def _told(options: Namespace, translator: Translator) -> list[str]:
    """What was written, and what that changes where it is asked for."""
    to, weights = Path(options.to), checkpoint.weights_of(translator.model).values()
    size = sum(path.stat().st_size for path in (to, *to.glob("*")) if path.is_file())
    whole = sum(tensor.array.nbytes for tensor in weights)
    lines = [f"{options.to}: {size:,} bytes, weights {options.weights}; in the run they are {whole:,} bytes"]
    if options.compare is not None:
        before, after = (_bleu(options, one) for one in (translator, _shipped(options, translator)))
        lines.append(f"BLEU of {options.compare}, greedy: {before} in the run, {after} in the file")
    return lines


def _shipped(options: Namespace, translator: Translator) -> Translator:
    """What was written, ready to translate here; of a page the model file in it."""
    if _suffix(options.to) not in WRITERS:
        return Translator.load(options.to)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.seq2seq"
        _write(file, translator, options.weights)
        return Translator.load(file)


def _bleu(options: Namespace, translator: Translator) -> str:
    """That of a split, for people."""
    places = ["--data-dir", options.data_dir] if options.data_dir else []
    dataset = runs.dataset(evaluate.build_parser().parse_args([options.run_dir, *places]))
    found = evaluate.score(translator, dataset, options.compare, 1, 1.0, 64, metrics=("bleu",))["bleu"]
    return "none" if found is None else f"{found:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(export, arguments)
