"""Array kernels with hand-written gradients: arrays in, arrays out; no tape, no modules, no global state but
the number of threads.

Dimensions
    T time steps, N batch rows, I input size, H hidden size, L layers, V vocabulary size, E embedding size, K beam size,
    M rows of logits, P real tokens of a batch (the sum of its lengths), R distinct rows of an embedding gradient,
    S positions of a memory that is attended to, A size of its keys and of queries, D size of its values, B matrices of
    a batch of products (M, K) (K, N), F columns of a table whose R rows are moved.

Layout
    Sequences are time-major (T, N, .), C-contiguous. LSTM gates lie in blocks i, f, g, o; GRU gates in blocks r, z, n.
    dtype in = dtype out, float32 or float64; a call with mixed floating dtypes is a TypeError. What moves rows
    and does no more takes any dtype.

Contract
    Every kernel is declared once, in `kernels.contracts`, and exists with the same name and signature in
    `kernels.reference` (the oracle: one line per equation), in `kernels.cpu` (Numba, without a BLAS) and in
    `kernels.cuda` (CuPy arrays). The names exported here check their arguments, choose the backend from the type of
    the arrays, and call it; float64 on a GPU is computed by the oracle there. Non-contiguous arguments are accepted and
    made contiguous. A `*_forward` that needs something later returns it as its last result, a named cache. The cache
    belongs to the backend that made it, may share memory with the inputs and outputs of the forward call, and goes
    unchanged into `*_backward`. Lengths are NumPy arrays, wherever the others lie. Arguments are read-only,
    save for the arrays that an optimiser's step updates. Results are assigned, never accumulated: adding up gradients
    is the caller's work. An incoming gradient may be None where the docstring says so, which means zero. Sums run in a
    fixed order without atomics: two equal calls give equal bits. A NaN or an infinity is never swallowed.

Importing this package compiles nothing and does not import Numba; the first call does.
"""

from kernels.adam_scalars import adam_scalars
from kernels.arrays import (
    add_at,
    as_array,
    device_of,
    is_array,
    like,
    on_device,
    shares_memory,
    to_device,
    to_host,
    zeros_on_device,
)
from kernels.attentive import AttentiveState, AttentiveWeights, DecoderReading, SearchState
from kernels.compiled import compiled_marker
from kernels.contracts import *
from kernels.environment import compiled_kernels, processor_features
from kernels.scalars import AdamScalars, RMSpropScalars, SGDScalars
from kernels.switches import allow_tf32, tf32_allowed
from kernels.threads import ProcessLock, get_num_threads, set_num_threads

# Another distribution also installs an import named `kernels`; this tells ours from it.
__minigrad_kernels__ = True
