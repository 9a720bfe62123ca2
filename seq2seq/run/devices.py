"""Where a command computes, and in which precision its products are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from minigrad import Tensor, backends, cuda, device
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import folded, shown
from seq2seq.shipping import quantise

Device = Literal["cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("cpu", "cuda")
# Of the products while decoding, the last two of the weights alone; a run in fp64 has no other.
PRECISIONS = ("fp32", "tf32", "bf16", *quantise.NARROW)


def require(name: str, precision: str) -> None:
    """UserError where this machine has no such device, or the device no products in such a precision."""
    if name not in DEVICES:
        raise UserError(f"device is {shown(name)}; expected {_listed(DEVICES)}")
    if name == "cuda":
        try:
            Tensor(0.0).to(name)
        except RuntimeError as error:
            raise UserError(folded(error)) from None
    elif precision == "tf32":
        raise UserError("precision is 'tf32'; expected fp32 or bf16 on the cpu, since only cuda has TensorFloat-32")


def decoding_precision(trained: str, asked: str | None, where: device, form: str = "full") -> str:
    """The precision to translate in: as asked, else as the weights are, and where these are in full as in training as
    far as the device has it.

    Args:
        form: of the weights, one of ``quantise.FORMS``.

    Raises:
        UserError: a precision that the run, its weights or the device have not.
    """
    default, choices = trained, tuple[str, ...](["fp64"])
    if trained != "fp64":
        lacking = {"tf32"} if where.type == "cpu" else set()
        lacking |= {*quantise.NARROW} - {form} if form in quantise.NARROW else set()
        choices = tuple(name for name in PRECISIONS if name not in lacking)
        default = form if form in quantise.NARROW else trained if trained in choices else "fp32"
    precision = asked or default
    if precision not in choices:
        raise UserError(
            f"precision is {shown(precision)}; expected {_listed(choices)} for a run in {trained} on the {where.type}"
        )
    return precision


def _listed(choices: Sequence[str]) -> str:
    return " or ".join(", ".join(choices).rsplit(", ", 1))


def steps_in_graphs(config: Config) -> bool:
    """Whether the training steps of such a run can be CUDA graphs: see ``seq2seq.training.graphed``."""
    products = config.precision in ("bf16", "tf32")  # of layers that go through all steps in one launch
    capturable = all(registry.part(kind, getattr(config, kind)).capturable for kind in registry.PACKAGES)
    given = config.teacher_forcing_ratio == 1.0 and config.forcing_decay == "constant"  # every right word
    updates = config.optimizer != "sgd" and config.accumulate == 1
    drawn = not config.options.get("variational_dropout", False)  # whose rows follow from the lengths, on the host
    return config.device == "cuda" and products and capturable and given and drawn and updates


def allow_tf32(precision: str) -> None:
    """Let products of float32 numbers on cuda be in TensorFloat-32 from now on, if that is the precision."""
    backends.cuda.matmul.allow_tf32 = precision == "tf32"


def description(name: str) -> dict[str, Any]:
    """What a run's figures depend on, for its manifest."""
    return {"device": name, **({"gpu": cuda.get_device_name()} if name == "cuda" else {})}
