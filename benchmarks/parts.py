"""What a part of a model or a search touches: the file that registers it, or that has its option, and other files of
the toolkit that name it.

    python benchmarks/parts.py

A part is meant to be one file. Named is a part by a text in the code that is its name, or by its class; an option by
such a text, or as an attribute, as in ``config.dropout``. Docstrings and comments do not count, nor the examples, nor
what is shipped, which are readers of their own, nor the layouts of other frameworks, which say what they become, nor
the files of parts that have the option themselves.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.run import registry

ROOT = Path(__file__).parent.parent
APART = ("examples", "shipping", "layouts")
KINDS = (*registry.PACKAGES, *registry.SEARCH_PACKAGES)


class Touched(NamedTuple):
    """The files, from the root, of a part ("decoder lstm") or an option ("option dropout")."""

    name: str
    own: str
    besides: tuple[str, ...]


def touched() -> Iterator[Touched]:
    """Of every part that comes along, then of all options."""
    parts = [(kind, name, registry.part(kind, name)) for kind in KINDS for name in registry.names(kind)]
    parts = [found for found in parts if registry.comes_along(found[2])]
    for kind, name, part in parts:
        namesakes = {file_of(other) for _, other_name, other in parts if other_name == name}
        yield Touched(f"{kind} {name}", file_of(part), _named_in({name}, {part.__name__}, namesakes))
    for option in {field.name: None for *_, part in parts for field in dataclasses.fields(part.Options)}:
        owners = [part for *_, part in parts if option in {field.name for field in dataclasses.fields(part.Options)}]
        classes = {each for part in owners for each in (*part.__mro__, *part.Options.__mro__)}
        own = {file_of(each) for each in classes if option in vars(each).get("__annotations__", {})}
        besides = _named_in({option}, {option}, {file_of(each) for each in classes})
        yield Touched(f"option {option}", " ".join(sorted(own)), besides)


def file_of(item: Any) -> str:
    """The file that defines a class, from the root."""
    return f"{item.__module__.replace('.', '/')}.py"


def _named_in(texts: set[str], identifiers: set[str], but: set[str]) -> tuple[str, ...]:
    """The files that have one of the texts or identifiers, but for some."""
    return tuple(
        path for path, (told, used) in _words().items() if path not in but and texts & told | identifiers & used
    )


@cache
def _words() -> dict[str, tuple[set[str], set[str]]]:
    """Of each file of the toolkit its texts, and its identifiers."""
    paths = (path for path in sorted((ROOT / "seq2seq").rglob("*.py")) if path.parent.name not in APART)
    return {path.relative_to(ROOT).as_posix(): words(path.read_text(encoding="utf-8")) for path in paths}


def words(program: str) -> tuple[set[str], set[str]]:
    """The texts in a program, and the names that it imports and the attributes that it uses, but for those of ``self``,
    which are its own, and of ``nn``."""
    texts, identifiers = set(), set()
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls", "nn"):
            identifiers.add(node.attr)
        elif isinstance(node, ast.alias):
            identifiers.add(node.name)
    return texts, identifiers


def main(arguments: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=" ".join(str(__doc__).split("\n\n")[0].split())).parse_args(arguments)
    print("| part | its file | named besides in |\n|---|---|---|")
    for found in touched():
        print(f"| {found.name} | {found.own} | {' '.join(found.besides) or '-'} |")


if __name__ == "__main__":
    main()
