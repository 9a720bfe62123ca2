"""The contract of every kernel: a stub says its arguments, shapes, values and results once; the rest follows.

`entry` makes of a stub the public function, which checks the arguments, chooses the backend and calls it. The
docstrings here are the contract of every backend. `ENTRIES` is the table of all kernels, which gives the backends their
names and the tests theirs.
"""

from kernels.contracts.adam import *
from kernels.contracts.attention import *
from kernels.contracts.attentive import *
from kernels.contracts.attentive_decoding import *
from kernels.contracts.backend import report_ids
from kernels.contracts.decoding import *
from kernels.contracts.embedding import *
from kernels.contracts.entry import ENTRIES
from kernels.contracts.gelu import *
from kernels.contracts.layer_norm import *
from kernels.contracts.linear import *
from kernels.contracts.losses import *
from kernels.contracts.masked_softmax import *
from kernels.contracts.optimisers import *
from kernels.contracts.publish import publish
from kernels.contracts.random import *
from kernels.contracts.recurrent import *
from kernels.contracts.rows import *
from kernels.contracts.softmax import *

globals()["__all__"] = ["report_ids", *ENTRIES]  # without the helpers of the stubs; a type checker takes all names
