"""LSTM and GRU layers over packed rows, whose order `kernels.packing` says."""

from typing import Annotated, Any

import numpy as np

from kernels.arrays import on_device
from kernels.contracts.checks import check_range
from kernels.contracts.entry import Array, Counts, Fields, entry
from kernels.packing import Packing


def forwards(function: str, name: str, packing: Packing, sizes: dict[str, int]) -> None:
    """The packing is walked as time goes. Raises ValueError."""
    if packing.is_reverse:
        raise ValueError(f"{function}: {name} is walked backwards; expected one that goes forwards")


EitherPacking = Annotated[Packing, Counts(P="num_tokens", N="batch_size")]
TokenPacking = Annotated[Packing, Counts(P="num_tokens", N="batch_size"), forwards]
Weights = Annotated[Any, Fields(bias="4H"), Counts(I="input_size")]
GRUWeights = Annotated[Any, Fields(bias_hh="3H"), Counts(I="input_size")]
Run = Annotated[Any, Fields(**{"cache.weight_hh": "4H H"})]
LSTMCache = Annotated[Any, Fields(weight_hh="4H H"), Counts(P="packing.num_tokens", N="packing.batch_size")]
GRUCache = Annotated[Any, Fields(weight_hh="3H H"), Counts(P="packing.num_tokens", N="packing.batch_size")]


def whole_steps(function: str, x: Array, start: int, run: Any) -> None:
    """x holds whole steps that are still to come. Raises ValueError."""
    packing, (_, input_size) = run.cache.packing, run.cache.x.shape
    if x.shape[1] != input_size:
        raise ValueError(f"{function}: x has shape {x.shape}; expected (R, I) with I = {input_size}")
    check_range(function, "start", start, 0, packing.num_steps)
    if packing.stop(start, len(x)) < 0:
        raise ValueError(f"{function}: x has shape {x.shape}; expected whole steps from {start} to {packing.num_steps}")


def forwards_on_device(function: str, x: Array, *arguments: Any) -> None:
    """On a GPU, save for the oracle in float64, the packing is walked as time goes. Raises NotImplementedError."""
    packing = next(each for each in arguments if isinstance(each, Packing))
    if packing.is_reverse and on_device(x) and x.dtype != np.float64:
        raise NotImplementedError(f"{function}: packing is walked backwards; expected one that goes forwards on a GPU")


def both_biases(
    function: str, x: Array, h0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Any, bias_hh: Any, *others: Any
) -> None:
    """There are two biases or none. Raises ValueError."""
    biases_alike(function, weight_ih, weight_hh, bias_ih, bias_hh)


def biases_alike(function: str, weight_ih: Array, weight_hh: Array, bias_ih: Any, bias_hh: Any, *others: Any) -> None:
    """There are two biases or none. Raises ValueError."""
    if (bias_ih is None) != (bias_hh is None):
        missing = "bias_ih" if bias_ih is None else "bias_hh"
        raise ValueError(f"{function}: {missing} is None but the other bias is not; expected both arrays or both None")


@entry(forwards_on_device)
def lstm_forward(
    x: Annotated[Array, "P I"],
    h0: Annotated[Array, "N H"],
    c0: Annotated[Array, "N H"],
    weight_ih: Annotated[Array, "4H I"],
    weight_hh: Annotated[Array, "4H H"],
    bias: Annotated[Array | None, "4H"],
    packing: EitherPacking,
    bf16: bool = False,
) -> tuple[Annotated[Array, "P H"], Annotated[Array, "N H"], Annotated[Array, "N H"], Any]:
    """One LSTM layer over a batch of sequences. Equations: `kernels.reference.lstm`.

    Args:
        x: (P, I) float32 or float64, the tokens in the order of the packing.
        h0: (N, H) initial hidden state in the order of the batch, dtype of x.
        c0: (N, H) initial cell state, likewise.
        weight_ih: (4H, I), blocks i, f, g, o, dtype of x.
        weight_hh: (4H, H), likewise.
        bias: (4H,), likewise, or None for no bias.
        packing: of the sequences' lengths, on the host. With one that is walked backwards each sequence starts at its
            last token; h_n is the state after its first. A GPU has that for float64 alone.
        bf16: products of bfloat16-rounded operands, summed in float32, here and in the backward; float64 ignores it.

    Returns:
        y: (P, H) hidden states. May share memory with the cache.
        h_n: (N, H) hidden state after the last token; h0 where there is none.
        c_n: (N, H) cell state, likewise.
        cache: for `lstm_backward`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape.
    """


@entry()
def incremental_lstm_start(
    h0: Annotated[Array, "N H"],
    c0: Annotated[Array, "N H"],
    weight_ih: Annotated[Array, "4H I"],
    weight_hh: Annotated[Array, "4H H"],
    bias: Annotated[Array | None, "4H"],
    packing: TokenPacking,
    bf16: bool = False,
) -> Any:
    """Begin an LSTM layer whose input comes some steps at a time, and may depend on the output of those before.

    Args:
        packing: of all steps together.
        others: as in `lstm_forward`.

    Returns:
        run: for `incremental_lstm_step` and `incremental_lstm_finish`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape.
    """


@entry(whole_steps)
def incremental_lstm_step(x: Annotated[Array, "R I"], start: int, run: Run) -> Annotated[Array, "R H"]:
    """The next steps of a layer.

    Args:
        x: (R, I) the tokens of the steps from `start` on, whole steps, dtype of the run.
        start: number of steps done so far; steps come in order, without gaps.
        run: of `incremental_lstm_start`, changed.

    Returns:
        y: (R, H) hidden states.

    Raises:
        TypeError, ValueError: another dtype or shape, or steps past the run's end.
    """


@entry()
def incremental_lstm_finish(
    run: Run,
) -> tuple[Annotated[Array, "P H"], Annotated[Array, "N H"], Annotated[Array, "N H"], Any]:
    """End a layer after its last step: y, h_n, c_n and the cache, as from `lstm_forward`.

    Args:
        run: of `incremental_lstm_start`, all of whose steps are done.
    """


@entry()
def prepack_lstm(
    weight_ih: Annotated[Array, "4H I"],
    weight_hh: Annotated[Array, "4H H"],
    bias: Annotated[Array | None, "4H"],
    bf16: bool = False,
) -> Any:
    """A layer's weights in the order in which `lstm_states` reads them; a copy, made once for many calls.

    Args:
        weight_ih: (4H, I) float32 or float64, blocks i, f, g, o.
        weight_hh: (4H, H), likewise.
        bias: (4H,), likewise, or None for no bias.
        bf16: keep the matrices in bfloat16 and round what they are multiplied with; float64 ignores it.

    Returns:
        a named tuple that belongs to the backend, with `bias` (4H,) and `input_size`.

    Raises:
        TypeError, ValueError: a dtype or a shape.
    """


@entry(forwards_on_device)
def lstm_states(
    x: Annotated[Array, "P I"],
    h0: Annotated[Array, "N H"],
    c0: Annotated[Array, "N H"],
    weights: Weights,
    packing: EitherPacking,
) -> tuple[Annotated[Array, "P H"], Annotated[Array, "N H"], Annotated[Array, "N H"]]:
    """`lstm_forward` with prepacked weights and without a backward: y, h_n and c_n, the same to the bit.

    Args:
        weights: of `prepack_lstm`.
        others: as in `lstm_forward`, dtype of the weights.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape.
    """


@entry()
def lstm_backward(
    dy: Annotated[Array | None, "P H"],
    dh_n: Annotated[Array | None, "N H"],
    dc_n: Annotated[Array | None, "N H"],
    cache: LSTMCache,
    consume: bool = False,
) -> tuple[Array, Array, Array, Array, Array, Array | None]:
    """Gradients of one LSTM layer.

    Args:
        dy: (P, H) gradient of the loss with respect to y, or None for zero.
        dh_n: (N, H) gradient with respect to h_n, or None for zero.
        dc_n: (N, H) gradient with respect to c_n, or None for zero.
        cache: of the `lstm_forward` call.
        consume: the cache may be overwritten, for it is not needed again; saves an array of the size of the gates.

    Returns:
        Gradients with respect to x (P, I); h0 (N, H); c0 (N, H); weight_ih (4H, I); weight_hh (4H, H); bias (4H,), or
        None where the forward had no bias.

    Raises:
        TypeError, ValueError: a gradient of another dtype or shape than its output.
    """


@entry(both_biases, forwards_on_device)
def gru_forward(
    x: Annotated[Array, "P I"],
    h0: Annotated[Array, "N H"],
    weight_ih: Annotated[Array, "3H I"],
    weight_hh: Annotated[Array, "3H H"],
    bias_ih: Annotated[Array | None, "3H"],
    bias_hh: Annotated[Array | None, "3H"],
    packing: EitherPacking,
    bf16: bool = False,
) -> tuple[Annotated[Array, "P H"], Annotated[Array, "N H"], Any]:
    """One GRU layer over a batch of sequences. Equations: `kernels.reference.gru`.

    Args:
        x: (P, I) float32 or float64, the tokens in the order of the packing.
        h0: (N, H) initial hidden state in the order of the batch, dtype of x.
        weight_ih: (3H, I), blocks r, z, n, dtype of x.
        weight_hh: (3H, H), likewise.
        bias_ih: (3H,), likewise, or None together with bias_hh.
        bias_hh: (3H,), likewise; its n block lies inside the reset gate's product.
        packing: of the sequences' lengths, on the host. With one that is walked backwards each sequence starts at its
            last token; h_n is the state after its first. A GPU has that for float64 alone.
        bf16: products of bfloat16-rounded operands, summed in float32, here and in the backward; float64 ignores it.

    Returns:
        y: (P, H) hidden states. May share memory with the cache.
        h_n: (N, H) hidden state after the last token; h0 where there is none.
        cache: for `gru_backward`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, or one bias without the other.
    """


@entry(biases_alike, by_reference=True)
def prepack_gru(
    weight_ih: Annotated[Array, "3H I"],
    weight_hh: Annotated[Array, "3H H"],
    bias_ih: Annotated[Array | None, "3H"],
    bias_hh: Annotated[Array | None, "3H"],
    bf16: bool = False,
) -> Any:
    """A layer's weights in the order in which `gru_states` reads them; a copy, made once for many calls.

    Args:
        weight_ih: (3H, I) float32 or float64, blocks r, z, n.
        weight_hh: (3H, H), likewise.
        bias_ih, bias_hh: (3H,) each, likewise, or None for no biases.
        bf16: keep the matrices in bfloat16 and round what they are multiplied with; float64 ignores it.

    Returns:
        a named tuple that belongs to the backend, with `bias_hh` (3H,) and `input_size`.

    Raises:
        TypeError, ValueError: a dtype or a shape, or one bias without the other.
    """


@entry(by_reference=True)
def gru_states(
    x: Annotated[Array, "P I"],
    h0: Annotated[Array, "N H"],
    weights: GRUWeights,
    packing: EitherPacking,
) -> tuple[Annotated[Array, "P H"], Annotated[Array, "N H"]]:
    """`gru_forward` with prepacked weights and without a backward: y and h_n, the same to the bit.

    Args:
        weights: of `prepack_gru`.
        others: as in `gru_forward`, dtype of the weights.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape.
    """


@entry()
def gru_backward(
    dy: Annotated[Array | None, "P H"], dh_n: Annotated[Array | None, "N H"], cache: GRUCache
) -> tuple[Array, Array, Array, Array, Array | None, Array | None]:
    """Gradients of one GRU layer.

    Args:
        dy: (P, H) gradient of the loss with respect to y, or None for zero.
        dh_n: (N, H) gradient with respect to h_n, or None for zero.
        cache: of the `gru_forward` call.

    Returns:
        Gradients with respect to x (P, I); h0 (N, H); weight_ih (3H, I); weight_hh (3H, H); bias_ih (3H,) and bias_hh
        (3H,), or None where the forward had no biases.

    Raises:
        TypeError, ValueError: a gradient of another dtype or shape than its output.
    """
