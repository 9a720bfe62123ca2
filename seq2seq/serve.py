"""``python -m seq2seq.serve RUN_OR_FILE...``: a page and a JSON API that translate."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("serve"))

import importlib
import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from seq2seq.decoding import runs
from seq2seq.decoding.translator import Translator
from seq2seq.run.cli import run_command
from seq2seq.run.errors import UserError
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import say
from seq2seq.serving.limits import Limits

INSTALL = "pip install 'fastapi>=0.115' 'uvicorn>=0.34'"  # works in any folder; pyproject.toml says the same
_NAMED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)


def build_parser() -> OneLineParser:
    about = "Serve models over HTTP: a page for people, JSON for programs."
    parser = OneLineParser(prog="python -m seq2seq.serve", description=about)
    parser.add_text("run_dir", "folder of a training run, or a model file; NAME=PATH names it", several=True)
    parser.add_text("--host", "address to listen at; by default this machine alone reaches it", "127.0.0.1")
    parser.add_number("--port", "port to listen at; 0 is any free one", 8000)
    parser.add_text("--allowed-hosts", "names, with commas, that requests may call the server by; by default its own")
    defaults = asdict(Limits())
    for limit in fields(Limits):
        parser.add_number("--" + limit.name.replace("_", "-"), limit.metadata["help"], defaults[limit.name])
    runs.add_computing(parser, "of the matrix products; by default as in training")
    return parser


def serve(arguments: Sequence[str] | None = None) -> int:
    """Serve as the command line says, until a signal ends it."""
    options = build_parser().parse_args(arguments)
    server = _server_module()
    paths = named(options.run_dir)
    limits = Limits(**{limit.name: getattr(options, limit.name) for limit in fields(Limits)})
    options.run_dir = list(paths.values())
    with server.bind(options.host, options.port) as bound:
        runs.begin(options)
        translators = {name: _loaded(path, options) for name, path in paths.items()}
        allowed = [name.strip() for name in (options.allowed_hosts or "").split(",") if name.strip()]
        hosts = server.names_of(bound, options.host, allowed)
        told = f"serving {', '.join(translators)} at {server.address_of(bound)}"
        server.server(translators, limits, hosts, lambda: say(told)).run([bound])
    return 0


def named(given: Sequence[str]) -> dict[str, str]:
    """The paths of models by name; one without a name has that of its folder or file.

    Raises:
        UserError: two of one name.
    """
    found: dict[str, str] = {}
    for word in given:
        match = None if Path(word).exists() else _NAMED.fullmatch(word)
        path = match[2] if match else word
        name = match[1] if match else Path(path).absolute().name.removesuffix(".seq2seq")
        if name in found:
            raise UserError(f"run_dir: two models are called {name}; expected other names, as in NAME=PATH")
        found[name] = path
    return found


def _loaded(path: str, options: Namespace) -> Translator:
    """A model that has translated once, so that no client waits for what is compiled and prepacked."""
    translator = Translator.load(path, options.checkpoint, options.precision, options.device)
    if translator.settings.source == "text":
        for beam_size in (1, 2):
            translator.translate(["a"], beam_size=beam_size)
    return translator


def _server_module() -> Any:
    """What needs the packages of the extra; UserError where they are not installed."""
    try:
        return importlib.import_module("seq2seq.serving.server")
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] not in ("fastapi", "uvicorn", "starlette", "pydantic", "h11"):
            raise
        raise UserError(f"serve: {error.name} is not installed; expected FastAPI and uvicorn ({INSTALL})") from None


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(serve, arguments)
