"""A model in a folder as the Hugging Face hub has them: model.safetensors, config.json, the text's files, README.md.

``model.safetensors`` is a model file (``model_file.py``): everything here loads it, and others read the weights in it.
``README.md`` is the model's card (Mitchell et al., "Model cards for model reporting", 2019), written from what the run
knows of itself: nothing is claimed that was not measured.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seq2seq.metrics import METRICS
from seq2seq.models.model import Seq2Seq
from seq2seq.run import config_file, manifest
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.writing import require_new_folder, write_new_folder
from seq2seq.shipping import model_file
from seq2seq.text.codec import TextCodec

NOT_TOLD = ("version", "data_dir", "run_dir", "init_from", "add_data", "resume", "dry_run", "threads", "options")
FIGURES = (*METRICS, "bleu_tokens", "ppl_forced")
NAMES = {"chrf": "chrF", "ppl_forced": "perplexity, the right words given", "exact_match": "exact match, %"}
USE = """## How to use it

```bash
python -m seq2seq.translate model.safetensors --input new.txt --beam-size 5
```

`Translator.load("model.safetensors")` in Python. That file holds settings and text too, and is all that is needed; its
arrays have the names of a PyTorch state_dict. The other files are copies for people and programs that look for them.
"""
LIMITS = """## Limits

It knows the kind of text that it was trained on, and may be fluent and wrong on any other. What it writes is cut after
{limit:,} tokens; what is not in its vocabulary is `<unk>`.{lower} Nobody has looked for what it learnt of people from
its data.
"""


class Known(NamedTuple):
    """What is known of a model beside itself: the manifest of its run, and what seq2seq.evaluate wrote of it."""

    manifest: Mapping[str, Any] | None = None
    scores: Sequence[Mapping[str, Any]] = ()


def known_of(run_dir: Path, scores: Sequence[str]) -> Known:
    """Of a run, or a model file; UserError where a file of scores is none."""
    told = manifest.read(run_dir) if run_dir.is_dir() else None
    return Known(told, [_scores(Path(path)) for path in scores])


def _scores(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"scores: {path}: {' '.join(str(error).split())}; expected evaluate --json's file") from None
    if not isinstance(found, dict) or not {"data", "split", "sentences", "signatures"} <= set(found):
        raise UserError(f"scores: {path}: expected what seq2seq.evaluate --json wrote")
    return found


def write(
    path: Path, model: Seq2Seq, codec: TextCodec, config: Config, form: str = "full", known: Known | None = None
) -> None:
    """Make the folder ``path`` in one step.

    Raises:
        UserError: the folder is there, or the weights do not fit the form. OSError: it cannot be written.
    """
    require_new_folder(path)
    weights = b"".join(map(bytes, model_file.chunks(model, codec, config, form)))
    settings = {"model_type": "minigrad-seq2seq", "weights": form, **config_file.shipped(config)}
    files = {"model.safetensors": weights, "config.json": _json(settings)}
    files |= dict(_text_files(codec))
    files["README.md"] = card(path.stem, model, codec, config, form, known or Known()).encode()
    write_new_folder(path, files)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _text_files(codec: TextCodec) -> Iterator[tuple[str, bytes]]:
    """Words by id and tokenizers of both sides; a sentencepiece model as its own library reads it."""
    text = codec.to_dict()
    for side in ("src", "trg"):
        told = {name.removeprefix(f"{side}_"): value for name, value in text.items() if name.startswith(f"{side}_")}
        if "vocabulary" in told:
            yield f"vocab.{side}.json", _json(told.pop("vocabulary")["tokens"])
        subwords = told.get("tokenizer", {}).pop("model", None)
        if subwords is not None:
            yield f"spiece.{side}.model", base64.b64decode(subwords)
        yield f"tokenizer.{side}.json", _json(told)


def card(name: str, model: Seq2Seq, codec: TextCodec, config: Config, form: str, known: Known) -> str:
    """The model's card, Markdown behind YAML."""
    settings = config_file.shipped(config)
    parts = [
        f"---\n{yaml.safe_dump(_front(name, config, known), allow_unicode=True, sort_keys=False)}---\n",
        f"# {name}\n",
        _what(model, codec, config, form),
        USE,
        _figures(known),
        _training(settings, known),
        _limits(codec, config),
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _front(name: str, config: Config, known: Known) -> dict[str, Any]:
    """What the hub reads."""
    languages = [language for language in (config.src_language, config.trg_language) if language]
    front: dict[str, Any] = {"language": list(dict.fromkeys(languages))} if languages else {}
    front |= {"library_name": "minigrad-seq2seq", "tags": ["seq2seq", f"encoder-{config.encoder}", config.decoder]}
    if config.source == "text":
        front["pipeline_tag"] = "translation"
    results = [
        {
            "task": {"type": "translation"},
            "dataset": {"name": Path(str(scores["data"])).name, "type": "text", "split": scores["split"]},
            "metrics": [{"type": figure, "value": value} for figure, value in _measured(scores)],
        }
        for scores in known.scores
    ]
    return front | ({"model-index": [{"name": name, "results": results}]} if results else {})


def _measured(scores: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for figure in FIGURES:
        if isinstance(scores.get(figure), (int, float)):
            yield figure, round(float(scores[figure]), 2)


def _what(model: Seq2Seq, codec: TextCodec, config: Config, form: str) -> str:
    count = sum(parameter.numel() for parameter in model.parameters())
    both = config.src_language and config.trg_language
    languages = f", {config.src_language} to {config.trg_language}" if both else ""
    held = {"full": "as they were trained", "f16": "in float16", "int8": "in int8 with a scale for each row"}[form]
    return (
        f"An encoder `{config.encoder}` with a decoder `{config.decoder}`{languages}: {count:,} parameters, "
        f"{codec.source.num_inputs:,} inputs of the source, {len(codec.trg_vocabulary):,} tokens of the target. "
        f"The matrices are kept {held}.\n"
    )


def _figures(known: Known) -> str:
    """The scores with how they were measured."""
    if not known.scores:
        return "## Figures\n\nNone were given when this folder was written (`export --scores`).\n"
    rows = ["| data | figure | value | search | signature |", "|---|---|---|---|---|"]
    for scores in known.scores:
        size = scores.get("beam_size", 1)
        search = str(scores.get("strategy")) + (f" {size}" if size > 1 else "")
        for figure, value in _measured(scores):
            signature = scores["signatures"].get(figure, "")
            told = f"`{_cell(signature)}`" if signature else ""
            where = f"{_cell(Path(str(scores['data'])).name)}, {scores['split']}, {scores['sentences']:,} sentences"
            rows.append(f"| {where} | {NAMES.get(figure, figure)} | {value:.2f} | {search} | {told} |")
    return "## Figures\n\n" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _training(settings: Mapping[str, Any], known: Known) -> str:
    """What differs from the defaults, and what the manifest says of data and machine."""
    usual = Config().as_dict()
    asked = [
        f"`{name}: {str(value).lower() if isinstance(value, bool) else value}`" for name, value in settings.items()
        if name not in NOT_TOLD and value is not None and usual.get(name) != value
    ]  # fmt: skip
    lines = [f"## Training\n\nSettings that are not the defaults: {', '.join(asked) or 'none'}.\n"]
    if known.manifest is not None:
        told = known.manifest
        commit = f", commit `{told['git_commit']}`" if told.get("git_commit") else ""
        versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items() if version)
        lines.append(f"Trained on {told['processor']}{commit}, with {versions}. The data, by sha256:\n")
        lines += [f"- `{_cell(Path(name).name)}` `{digest}`" for name, digest in told["data_sha256"].items()] + [""]
    return "\n".join(lines)


def _limits(codec: TextCodec, config: Config) -> str:
    lower = " All text is lower-cased." if config.lower else ""
    return LIMITS.format(limit=codec.max_output_length, lower=lower)
