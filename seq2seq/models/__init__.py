"""Models: the contract of their parts, and an encoder or a decoder a file.

``encoders/NAME.py`` and ``decoders/NAME.py`` register one part each; whoever writes their own registers it from any
script (docs/own-model.md). From the registration alone follow the settings of a run, the command line, training,
search, ``seq2seq.gradcheck``, the memory plan and checkpoints.
"""

from seq2seq.models.contract import Decoder, Encoder, Memory, MemoryShape, Reads, State, select
from seq2seq.models.inputs import Inputs
from seq2seq.models.options import RecurrentOptions, TransformerOptions
from seq2seq.run.registry import option, register

__all__ = [
    "Decoder",
    "Encoder",
    "Inputs",
    "Memory",
    "MemoryShape",
    "Reads",
    "RecurrentOptions",
    "State",
    "TransformerOptions",
    "option",
    "register",
    "select",
]
