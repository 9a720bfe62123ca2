"""Every operation of the tape, as functions of Tensors with PyTorch's names and semantics.

What is offered is what ``@op`` names in the files below; a new name there needs no line here.
"""

# ruff: noqa: F403

from typing import TYPE_CHECKING

from minigrad.ops.arrange import *
from minigrad.ops.attention import *
from minigrad.ops.attentive import *
from minigrad.ops.choose import *
from minigrad.ops.compare import *
from minigrad.ops.contraction import *
from minigrad.ops.copies import *
from minigrad.ops.diagonal import *
from minigrad.ops.elementwise import *
from minigrad.ops.embedding import *
from minigrad.ops.fused import *
from minigrad.ops.gelu import *
from minigrad.ops.index import *
from minigrad.ops.layer_norm import *
from minigrad.ops.linalg import *
from minigrad.ops.losses import *
from minigrad.ops.masked_softmax import *
from minigrad.ops.moments import *
from minigrad.ops.op import OPS
from minigrad.ops.order import *
from minigrad.ops.reduce import *
from minigrad.ops.rounding import *
from minigrad.ops.select import *
from minigrad.ops.shape import *
from minigrad.ops.softmax import *

globals().update(OPS)
if not TYPE_CHECKING:  # a checker takes what the files define
    __all__ = list(OPS)
