"""Words, sizes and times of every form in which a model is shipped, for every encoder and decoder.

    python benchmarks/shipping.py [--sentences 1000] [--only WORD] [--json benchmarks/results/shipping.json]

Each pair learns for a moment to write letters backwards. Then the engine, decode.py, ONNX (by onnxruntime, with a
search around it) and the page (its own program, in Node) translate the same sentences, one thread each, greedy, and but
for ONNX with a beam of three; where Chromium is installed the page does so there too, greedy, drawing its attention.
Words that differ end the program; times are of those that agree. The engine and ONNX take 64 sentences at once,
decode.py and the page one by one. The encoder of vectors, which reads no sentences, is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pictures
from figures import processor

import minigrad
import seq2seq
from seq2seq.decoding.translator import Translator
from seq2seq.run.messages import counted
from seq2seq.shipping import decode, known_parts, model_file, onnx_model, page
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID

ROOT = Path(__file__).parent.parent
IN_NODE = ROOT / "tests" / "seq2seq" / "shipping" / "page_in_node.js"
GRU = {"cell": "gru", "num_layers": 1}
PAIRS: dict[tuple[str, str], dict[str, Any]] = {
    ("lstm", "lstm"): {"num_layers": 2},
    ("bilstm", "attention"): {"input_feeding": True},
    ("gru", "gru-context"): {},
    ("cho-gru", "gru-context"): {"cell": "cho-gru"},
    ("bicho-gru", "bahdanau"): {"cell": "cho-gru"},
    ("bigru", "bahdanau"): GRU,
    ("lstm", "dot-attention"): {},
    ("bilstm", "luong"): {"split_directions": True},
    ("bigru", "conditional-gru"): {"num_layers": 1},
    ("lstm", "pointer-generator"): {"share_vocab": True},
    ("transformer", "transformer"): {"num_heads": 4, "ffn_size": 64, "lr": 0.003, "warmup_steps": 50},
}
SETTINGS: dict[str, Any] = {
    "embedding_size": 32, "hidden_size": 64, "num_layers": 1, "dropout": 0.0, "batch_size": 32, "lr": 0.01,
    "teacher_forcing_ratio": 1.0, "init_range": 0.1, "epochs": 2, "src_tokenizer": "space", "trg_tokenizer": "space",
    "min_freq": 1, "samples": 0, "max_output_length": 20, "threads": 1, "quiet": True,
}  # fmt: skip
BEAM, BATCH, LETTERS = 3, 64, "abcdefghijkl"


def sentences(rng: random.Random, count: int, letters: str) -> list[list[str]]:
    """Of one to ten letters."""
    return [rng.choices(letters, k=rng.randint(1, 10)) for _ in range(count)]


def trained(folder: Path, pair: tuple[str, str], options: dict[str, Any]) -> Translator:
    """A translator of a pair that saw 2,000 sentences twice."""
    rng = random.Random(1)
    text = "".join(f"{' '.join(letters)}\t{' '.join(letters[::-1])}\n" for letters in sentences(rng, 2000, LETTERS))
    (folder / "pairs.tsv").write_text(text, encoding="utf-8")
    known = {} if pair[0] != "transformer" else {"embedding_size": None}
    settings = {name: value for name, value in (SETTINGS | options | known).items() if value is not None}
    run = seq2seq.train_run(
        data=folder / "pairs.tsv", run_dir=folder / "run", encoder=pair[0], decoder=pair[1], **settings
    )
    return run.translator()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what it gave."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


# --- the forms
def by_engine(translator: Translator, lines: Sequence[str], beam: int) -> list[str]:
    return translator.translate(lines, beam_size=beam, batch_size=BATCH)


def by_reader(file: Path, text: Path, beam: int) -> list[str]:
    return list(decode.translations(str(file), str(text), beam))


def by_page(path: Path, lines: Sequence[str], beam: int) -> list[str]:
    job = [{"page": str(path), "lines": lines, "beams": [beam]}]
    ended = subprocess.run(
        [str(shutil.which("node")), IN_NODE], input=json.dumps(job), capture_output=True, text=True, check=True
    )
    (((*found,),),) = json.loads(ended.stdout)
    return [line["text"] for line in found]


def by_onnx(graphs: Path, file: Path, text: Path) -> list[str]:
    """Greedy, around both graphs, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    encoder, step = (onnxruntime.InferenceSession(graphs / f"{name}.onnx", options) for name in ("encoder", "step"))
    config, told, _ = decode.read(str(file))
    sources = list(decode.sources(str(text), config, told))
    words, found = told["trg_vocabulary"]["tokens"], list[str]()
    for start in range(0, len(sources), BATCH):
        given, tokens = zip(*sources[start : start + BATCH], strict=True)
        copies = [decode.copies_of(*both, len(words)) for both in zip(given, tokens, strict=True)]
        inputs = {"tokens": _padded(given), "lengths": np.array(list(map(len, given))), "copies": _padded(copies)}
        ids = _greedy(encoder, step, inputs, told["max_output_length"])
        found += [" ".join([*words, *read][i] for i in _until_end(row)) for row, read in zip(ids, tokens, strict=True)]
    return found


def _greedy(encoder: Any, step: Any, inputs: dict[str, Any], most: int) -> np.ndarray:
    """Ids (batch, steps)."""
    kept = inputs | _run(encoder, inputs) | {"token": np.full(len(inputs["lengths"]), SOS_ID)}
    ids, ended = list[np.ndarray](), np.zeros(len(inputs["lengths"]), bool)
    while len(ids) < most and not ended.all():
        found = _run(step, kept)
        found["log_probs"][:, [PAD_ID, SOS_ID]] = -np.inf
        ids.append(found["log_probs"].argmax(1))
        ended |= ids[-1] == EOS_ID
        kept |= {name.removeprefix("next_"): part for name, part in found.items()} | {"token": ids[-1]}
    return np.stack(ids, 1)


def _run(session: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    given = {one.name: inputs[one.name] for one in session.get_inputs()}
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, given), strict=True))


def _padded(rows: Sequence[Any]) -> np.ndarray:
    most = max(map(len, rows))
    return np.array([[*row, *[PAD_ID] * (most - len(row))] for row in rows], np.int64)


def _until_end(ids: np.ndarray) -> list[int]:
    listed: list[int] = ids.tolist()
    return listed[: listed.index(EOS_ID)] if EOS_ID in listed else listed


# --- all of them for a pair
class Files:
    """Where they lie in a folder."""

    def __init__(self, folder: Path) -> None:
        names = "text", "m.seq2seq", "m8.seq2seq", "m.html", "m.onnx"
        self.text, self.model, self.int8, self.page, self.graphs = (folder / name for name in names)

    def write(self, ours: Translator, lines: Sequence[str]) -> None:
        made = ours.model, ours.codec, ours.settings
        self.text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        model_file.write(self.model, *made)
        model_file.write(self.int8, *made, "int8")
        page.write(self.page, *made)
        onnx_model.write(self.graphs, *made)

    def sizes(self) -> dict[str, int]:
        """Bytes of each form."""
        single = {"model file": self.model, "int8 file": self.int8, "page": self.page}
        onnx = sum(path.stat().st_size for path in self.graphs.iterdir())
        return {name: path.stat().st_size for name, path in single.items()} | {"ONNX": onnx}


def forms(ours: Translator, files: Files, lines: Sequence[str]) -> dict[str, Callable[[], list[str]]]:
    """What translates, by name; the engine with each beam first."""
    found: dict[str, Callable[[], list[str]]] = {}
    for beam in (1, BEAM):
        found |= {
            f"engine, beam {beam}": partial(by_engine, ours, lines, beam),
            f"decode.py, beam {beam}": partial(by_reader, files.model, files.text, beam),
            f"page, beam {beam}": partial(by_page, files.page, lines, beam),
        }
    if shutil.which("chromium") and importlib.util.find_spec("playwright"):
        found["Chromium, beam 1"] = partial(pictures.translated, files.page, lines)
    return found | {"ONNX, beam 1": partial(by_onnx, files.graphs, files.model, files.text)}


def compared(
    pair: tuple[str, str], asked: dict[str, Callable[[], list[str]]], lines: Sequence[str]
) -> dict[str, float]:
    """Seconds of each form; SystemExit where one finds other words than the engine."""
    found = {name: timed(work) for name, work in asked.items()}
    for name, (_, words) in found.items():
        _, right = found[f"engine, {name.partition(', ')[2]}"]
        wrong = [line for line, one, other in zip(lines, words, right, strict=True) if one != other]
        if wrong:
            told = f"{name} finds other words than the engine for {counted(len(wrong), 'sentence')}: {wrong[0]}"
            raise SystemExit(f"{' '.join(pair)}: {told}")
    return {name: seconds for name, (seconds, _) in found.items()}


def measured(folder: Path, pair: tuple[str, str], options: dict[str, Any], count: int) -> dict[str, Any]:
    """Bytes of the files and milliseconds a sentence; all found the same words."""
    ours, files = trained(folder, pair, options), Files(folder)
    lines = [" ".join(letters) for letters in sentences(random.Random(2), count, f"{LETTERS}?")]  # ? is unknown
    files.write(ours, lines)
    for beam in (1, BEAM):
        by_engine(ours, lines[:BATCH], beam)  # compiles
    seconds = compared(pair, forms(ours, files, lines), lines)
    times = {name: round(1e3 * each / count, 3) for name, each in seconds.items()}
    return {"sentences": count, "bytes": files.sizes(), "ms": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--only", default="", help="pairs whose name holds this word")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    minigrad.set_num_threads(1)
    assert {name for pair in PAIRS for name in pair} >= {*known_parts.KNOWN["decoder"]}
    rows: dict[str, Any] = {}
    for pair, own in PAIRS.items():
        name = " ".join(pair)
        if options.only in name:
            with tempfile.TemporaryDirectory() as folder:
                rows[name] = measured(Path(folder), pair, own, options.sentences)
            print(f"{name}: equal words; ms a sentence {rows[name]['ms']}", flush=True)
    if options.json:
        found = {"processor": processor(), "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
