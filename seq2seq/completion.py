"""``python -m seq2seq.completion SHELL``: a script that lets bash, zsh or fish complete commands and options.

source <(seq2seq completion bash)          for bash, and for zsh likewise
seq2seq completion fish | source
"""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("completion"))

import importlib
from collections.abc import Sequence

from seq2seq.run.cli import run_command
from seq2seq.run.commands import COMMANDS
from seq2seq.run.parser import OneLineParser
from seq2seq.run.settings import build_parser as settings_parser
from seq2seq.run.streams import print_results

SHELLS = ("bash", "zsh", "fish")
_OF_SETTINGS = ("train", "gradcheck")
_BASH = """\
_seq2seq() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" options=""
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    elif [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}}
complete -o filenames -F _seq2seq seq2seq"""


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.completion",
        description="Print a script that lets a shell complete commands and options of seq2seq.",
    )
    parser.add_argument("shell", choices=SHELLS)
    return parser


def completion(arguments: Sequence[str] | None = None) -> int:
    """Print the script."""
    shell = build_parser().parse_args(arguments).shell
    known = {name: options_of(name) for name in COMMANDS}
    print_results(_fish(known) if shell == "fish" else _bash(known, shell))
    return 0


def options_of(command: str) -> list[str]:
    """The options of a command, as they are written; those of the settings too where it trains."""
    module = importlib.import_module(f"seq2seq.{command}")
    parsers = [settings_parser()] if command in ("train", "gradcheck", "seeds", "reproduce") else []
    parsers += [] if command in _OF_SETTINGS else [module.build_parser()]
    return sorted(
        {word for parser in parsers for action in parser._actions for word in action.option_strings if word[:2] == "--"}
    )


def _bash(known: dict[str, list[str]], shell: str) -> str:
    cases = "\n".join(f'        {name}) options="{" ".join(options)}" ;;' for name, options in known.items())
    script = _BASH.format(cases=cases, commands=" ".join(known))
    return f"autoload -U +X bashcompinit && bashcompinit\n{script}" if shell == "zsh" else script


def _fish(known: dict[str, list[str]]) -> str:
    lines = [f"complete -c seq2seq -n __fish_use_subcommand -f -a {n} -d '{COMMANDS[n].about}'" for n in known]
    for name, options in known.items():
        seen = f"complete -c seq2seq -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{seen} -l {option[2:]}" for option in options]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(completion, arguments)
