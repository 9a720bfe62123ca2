"""``python -m seq2seq.doctor``: what a bug report needs to know of this machine."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("doctor"))

from collections.abc import Sequence

from minigrad.utils.collect_env import get_pretty_env_info
from seq2seq.run.cli import run_command
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import print_results


def build_parser() -> OneLineParser:
    return OneLineParser(
        prog="python -m seq2seq.doctor",
        description="Print what a bug report needs to know of this machine: versions, processor, threads, kernels.",
    )


def doctor(arguments: Sequence[str] | None = None) -> int:
    """Print the report."""
    build_parser().parse_args(arguments)
    print_results(get_pretty_env_info())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(doctor, arguments)
