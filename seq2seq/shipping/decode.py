"""Translate with a model file, in plain NumPy: all that a translation takes, in one file that needs nothing around it.

    python decode.py MODEL.seq2seq [--beam-size 5] [--input FILE] < source.txt > translation.txt

Words are split by the library that split those of the training: sacremoses, spacy or sentencepiece. Sources go one by
one: this is to be read, not to be fast. S source positions, R hypotheses, T steps, E, D, H sizes, L layers.
"""

import argparse
import base64
import functools
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.shipping.decode_model import EOS, PAD, SOS, UNK, Model

MADE_FOR = ""  # settings and text by their digest; without one any model is read
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "|i1"}
BLANK = "\u2581"


def read(path: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings, text and weights (float32, by name) of a safetensors file with the first two in its header."""
    data = Path(path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    about = header.pop("__metadata__")
    if hashlib.sha256(data.replace(about["sha256"].encode(), b"0" * 64, 1)).hexdigest() != about["sha256"]:
        raise SystemExit(f"{path}: changed since it was written")
    if MADE_FOR and hashlib.sha256(about["minigrad"].encode()).hexdigest() != MADE_FOR:
        raise SystemExit(f"{path}: another model than the one that this program was written for")
    known, w = json.loads(about["minigrad"]), {}
    for name, entry in header.items():
        start, stop = (end + offset for offset in entry["data_offsets"])
        w[name] = np.frombuffer(data[start:stop], DTYPES[entry["dtype"]]).reshape(entry["shape"]).astype(np.float32)
        if not np.isfinite(w[name]).all():
            raise SystemExit(f"{path}: {name} has NaN or infinite numbers")
    if known["form"] == "int8":
        for name in [name for name in w if name.endswith(":scale")]:  # one for each row
            w[name.removesuffix(":scale")] *= w.pop(name)[:, None]
    if "decoder.embedding.weight" not in w or "decoder.fc_out.weight" not in w:  # a shared table is there once
        words = w.get("decoder.embedding.weight", w["encoder.embedding.weight"])
        w = {"decoder.embedding.weight": words, "decoder.fc_out.weight": words} | w
    if not MADE_FOR:
        check(known["config"], known["text"])
    return known["config"], known["text"], w


def check(config: dict[str, Any], text: dict[str, Any]) -> None:
    """ValueError where a file that is not trusted asks for too much, or for the rules of no language."""
    if config.get("num_layers", 1) > 64 or text["max_output_length"] > 100_000:
        raise ValueError("more layers or longer outputs than the toolkit makes")
    for rules in (text["trg_tokenizer"], text.get("src_tokenizer", {})):
        if not rules.get("language", "en").isalpha():
            raise ValueError(f"no language: {rules['language']}")


def of_words(rules: dict[str, Any]) -> tuple[Any, Any]:
    """What splits a sentence into words and punctuation marks, and what joins them."""
    import sacremoses

    if rules["backend"] == "spacy":
        import spacy

        by_rules: Any = spacy.blank(rules["language"]).tokenizer
        split: Any = lambda text: [token.text for token in by_rules(text)]  # noqa: E731
    else:
        split = functools.partial(sacremoses.MosesTokenizer(rules["language"]).tokenize, escape=False)
    join = functools.partial(sacremoses.MosesDetokenizer(rules["language"]).detokenize, unescape=False)
    torn = ((r"(?<=\w) - (?=\w)", "-", "well-known"), (r"(?<=\w) (?=n['\u2019]t\b)", "", "don't"))
    joins = [(pattern, whole) for pattern, whole, example in torn if len(split(example)) > 1]
    return split, lambda tokens: functools.reduce(lambda text, way: re.sub(way[0], way[1], text), joins, join(tokens))


def of_blanks(_: dict[str, Any]) -> tuple[Any, Any]:
    """The same for what stands between blanks."""
    return (lambda text: [token for token in text.split(" ") if token]), " ".join


def of_characters(_: dict[str, Any]) -> tuple[Any, Any]:
    """The same for characters, of which a blank is one."""
    told, meant = {" ": BLANK, BLANK: 2 * BLANK}, {BLANK: " ", 2 * BLANK: BLANK}
    split = lambda text: [told.get(character, character) for character in text]  # noqa: E731
    return split, lambda tokens: "".join(meant.get(token, token) for token in tokens)


def of_pieces(rules: dict[str, Any]) -> tuple[Any, Any]:
    """The same for learned subwords."""
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_proto=base64.b64decode(rules["model"]))
    return functools.partial(pieces.encode, out_type=str), pieces.decode_pieces


TOKENIZERS = {"word": of_words, "space": of_blanks, "char": of_characters, "sentencepiece": of_pieces}


def select(state: Any, rows: list[int]) -> Any:
    return [select(part, rows) for part in state] if isinstance(state, list) else state[rows]


def search(model: Model, source: Any, beam: int, penalty: float, most: int) -> list[int]:
    """The best hypothesis that a beam finds, by log p / length^penalty."""
    state, rows, finished = model.start(source), [(0.0, [SOS], 0)], [(-np.inf, [SOS])]
    while rows:
        p, state = model.step(np.array([ids[-1] for _, ids, _ in rows]), select(state, [parent for *_, parent in rows]))
        with np.errstate(divide="ignore"):
            totals = np.log(p) + np.array([[total] for total, *_ in rows])
        totals[:, [PAD, SOS]] = -np.inf
        going = []
        for place in np.argsort(-totals, axis=None, kind="stable")[:beam].tolist():
            parent, token = divmod(place, totals.shape[1])
            total, ids = float(totals[parent, token]), [*rows[parent][1], token]
            if token == EOS or len(ids) > most:
                finished.append((total / (len(ids) - 1) ** penalty, ids))
            elif total > -np.inf:
                going.append((total, ids, parent))
        best = max(finished, key=lambda found: found[0])
        rows = going if going and best[0] < max(going)[0] / (most**penalty if penalty > 0 else 1) else []
    return [token for token in best[1][1:] if token != EOS]


def translations(path: str, source: str | None, beam: int = 1, penalty: float = 1.0) -> Any:
    """Of each source of a file, or of standard input; SystemExit where a file cannot be read, or is broken."""
    try:
        config, text, weights = read(path)
        model, words, most = Model(config, weights), text["trg_vocabulary"]["tokens"], text["max_output_length"]
        _, join = TOKENIZERS[text["trg_tokenizer"]["name"]](text["trg_tokenizer"])
        for given, tokens in sources(source, config, text):
            if config["decoder"] == "pointer-generator":
                model.copies = copies_of(given, tokens, len(words))
            found = search(model, given, beam, penalty, most) if config["source"] != "text" or any(tokens) else []
            if config["decoder"] == "pointer-generator":
                yield join([words[i] if i < len(words) else tokens[i - len(words)] for i in found])
            else:
                yield join([words[i] for i in found])
    except Exception as error:
        raise SystemExit(f"{path} with {source or 'standard input'}: {error!r}") from None


def copies_of(given: Any, tokens: list[str], size: int) -> list[int]:
    """Of each position what is written where it is copied: its token, or one behind the vocabulary."""
    return [n if n != UNK else size + tokens.index(token) for n, token in zip(given, tokens, strict=True)]


def sources(path: str | None, config: dict[str, Any], text: dict[str, Any]) -> Any:
    """Of each source what the model is given, and its tokens."""
    if config["source"] != "text":
        examples = np.load(str(path))
        for rows in examples.values() if hasattr(examples, "values") else examples:
            yield (np.atleast_2d(rows) - np.float32(text["src_mean"])) * np.float32(text["src_scale"]), []
        return
    split, _ = TOKENIZERS[text["src_tokenizer"]["name"]](text["src_tokenizer"])
    ids = {word: number for number, word in enumerate(text["src_vocabulary"]["tokens"]) if number > EOS}
    lines = (Path(path).read_text(encoding="utf-8") if path else sys.stdin.read()).split("\n")
    for line in lines[:-1] if lines[-1] == "" else lines:
        tokens = split(line.lower() if text["src_tokenizer"]["lower"] else line) if line.strip() else []
        if config["truncate_source"]:
            tokens = tokens[: config["truncate_source"]]
        if config["reverse_source"]:
            tokens = tokens[::-1]
        given = [ids.get(token, UNK) for token in tokens]
        if config["source_marks"] == "both":
            given, tokens = [SOS, *given, EOS], ["", *tokens, ""]
        if config["source_marks"] == "end":
            given, tokens = [*given, EOS], [*tokens, ""]
        yield np.array(given), tokens


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--input", help="a text, or .npy or .npz, of which each array is one example")
    parser.add_argument("--beam-size", type=int, default=1)
    parser.add_argument("--length-penalty", type=float, default=1.0)
    asked = parser.parse_args()
    for translation in translations(asked.model, asked.input, asked.beam_size, asked.length_penalty):
        print(translation)
