"""The GRU of the paper that introduced it: its reset gate acts on the state before the recurrent product.

Parameters are those of ``nn.GRU``; of its two biases the sum counts. Keras has this form with ``reset_after=False``.
Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for
statistical machine translation" (2014), section 2.3.
"""

from minigrad import ops
from minigrad.nn.recurrent import GRU, Recurrent


class ChoGRU(GRU):
    __doc__ = "Gated recurrent unit of Cho et al. (2014).\n" + (Recurrent.__doc__ or "")

    layer_op = staticmethod(ops.cho_gru_layer)
