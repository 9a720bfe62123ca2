"""``python -m seq2seq.average RUN_DIR``: the mean of the weights of a run's best epochs, as one more checkpoint."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("average"))

from collections.abc import Iterator, Sequence
from pathlib import Path

from minigrad import Tensor
from seq2seq.models.model import Seq2Seq, build_model
from seq2seq.run import checkpoint, config_file
from seq2seq.run.checkpoint import Progress
from seq2seq.run.cli import command_for, run_command
from seq2seq.run.errors import UserError
from seq2seq.run.folder import run_of
from seq2seq.run.locking import locked
from seq2seq.run.messages import counted
from seq2seq.run.parser import OneLineParser
from seq2seq.run.streams import say
from seq2seq.text.codec import TextCodec
from seq2seq.training.averaging import mean_of


def build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m seq2seq.average",
        description="Average the weights of the epochs that a run trained with --keep-best has kept.",
    )
    parser.add_text("run_dir", "folder of a training run")
    return parser


def average(arguments: Sequence[str] | None = None) -> int:
    """Average as the command line says."""
    run_dir = Path(build_parser().parse_args(arguments).run_dir)
    config, codec = config_file.load(run_dir), TextCodec.load(run_dir)
    with locked(run_dir):
        epochs = checkpoint.epochs_kept(run_dir)
        if len(epochs) < 2:
            raise UserError(
                f"{run_dir}: keeps {counted(len(epochs), 'epoch')}; expected two or more to average, "
                "as by --keep-best 5"
            )
        model = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), config)
        path, fingerprint = checkpoint.path_of(run_dir, "average"), run_of(run_dir, codec)
        states = _states(run_dir, epochs, model, fingerprint)
        model.load_state_dict(mean_of(states), strict=False)  # a shared tensor is there once
        checkpoint.save(path, model, None, Progress(), fingerprint)
    say(f"{path}: the mean of epochs {', '.join(map(str, epochs))}; its scores:")
    say(f"  {command_for(config, 'seq2seq.evaluate', run_dir, '--checkpoint', 'average')}")
    return 0


def _states(run_dir: Path, epochs: Sequence[int], model: Seq2Seq, fingerprint: str) -> Iterator[dict[str, Tensor]]:
    """The weights of each epoch, in the memory of the model."""
    for epoch in epochs:
        checkpoint.load(checkpoint.path_of(run_dir, f"epoch-{epoch}"), model, None, fingerprint)
        yield checkpoint.weights_of(model)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(average, arguments)
