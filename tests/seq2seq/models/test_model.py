"""The model's loss against an independent NumPy version that takes one sentence and one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from minigrad import Tensor, random
from minigrad.gradcheck import gradcheck_module
from minigrad.nn import functional as F
from minigrad.nn.utils.rnn import pack_padded_sequence
from seq2seq.gradcheck import check_model
from seq2seq.models.model import Seq2Seq, draw_own, sequence_losses
from seq2seq.run.config import Config
from seq2seq.sources import Batch

Array = np.ndarray
ALWAYS, NEVER, MIXED = [False] * 7, [False] + [True] * 6, [False, True, False, False, True, True, False]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class NumpySentence:
    """The model in float64 NumPy, for one sentence."""

    def __init__(self, model: Seq2Seq) -> None:
        self.weights = {name: tensor.array.astype(np.float64) for name, tensor in model.state_dict().items()}

    def step(self, side: str, word: int, state: list[tuple[Array, Array]]) -> Array:
        """One word through the embedding and all layers; ``state`` is updated, the top h returned."""
        w = self.weights
        x = w[f"{side}.embedding.weight"][word]
        for layer, (h, c) in enumerate(state):
            name = f"{side}.rnn.{{}}_l{layer}".format
            gates = w[name("weight_ih")] @ x + w[name("bias_ih")] + w[name("weight_hh")] @ h + w[name("bias_hh")]
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            x = sigmoid(o) * np.tanh(c)
            state[layer] = x, c
        return x

    def loss(
        self, batch: Batch, column: int, own: Sequence[bool], label_smoothing: float = 0.0
    ) -> tuple[float, list[int]]:
        """The summed loss of one column of the batch, and the words the decoder was given."""
        hidden = self.weights["decoder.rnn.weight_hh_l0"].shape[1]
        state = [(np.zeros(hidden), np.zeros(hidden)) for _ in range(2)]
        for word in batch.src[: batch.src_lengths[column], column]:
            self.step("encoder", word, state)
        total, guess, given = 0.0, -1, []
        for t in range(batch.trg_lengths[column]):
            given.append(guess if own[t] else int(batch.trg_input[t, column]))
            h = self.step("decoder", given[-1], state)
            logits = self.weights["decoder.fc_out.weight"] @ h + self.weights["decoder.fc_out.bias"]
            log_probs = logits - np.log(np.exp(logits).sum())
            target = -log_probs[batch.trg_output[t, column]]
            total += (1 - label_smoothing) * target - label_smoothing * log_probs.mean()
            guess = int(logits.argmax())
        return total, given

    def batch_loss(self, batch: Batch, own: Sequence[bool], label_smoothing: float = 0.0) -> float:
        return sum(self.loss(batch, column, own, label_smoothing)[0] for column in range(batch.src.shape[1]))


def stepwise_loss(model: Seq2Seq, batch: Batch, own: Sequence[bool]) -> Tensor:
    """The same loss on the tape, the decoder called once a step on the whole padded batch."""
    memory = model.encoder(pack_padded_sequence(Tensor(batch.src), batch.src_lengths, enforce_sorted=False))
    state = model.decoder.start(memory)
    losses, guesses = [], batch.trg_input[0]
    for t in range(len(batch.trg_input)):
        word = guesses if own[t] else batch.trg_input[t]
        features, state = model.decoder.step(Tensor(word), state, memory)
        logits = model.decoder.output(features)
        losses.append(F.cross_entropy(logits, Tensor(batch.trg_output[t]), ignore_index=1, reduction="sum"))
        guesses = logits.array.argmax(axis=1)
    return sum(losses[1:], losses[0])


def gradients(model: Seq2Seq, *losses: Tensor) -> dict[str, Array]:
    """Of the sum of the losses."""
    model.zero_grad()
    for loss in losses:
        loss.backward()
    return {name: parameter.grad.array.copy() for name, parameter in model.named_parameters()}


def assert_equal_gradients(ours: dict[str, Array], theirs: dict[str, Array], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        scale = np.abs(gradient).max()
        assert scale > 0, name
        np.testing.assert_allclose(ours[name], gradient, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("own", [ALWAYS, NEVER, MIXED], ids=["forced", "free", "mixed"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp64", 1e-12), ("fp32", 1e-5)])
def test_value_is_that_of_numpy(tiny_model, draw_batch, own, precision, tolerance) -> None:
    model, batch = tiny_model(precision=precision), draw_batch()
    for smoothing in (0.0, 0.1):
        expected = NumpySentence(model).batch_loss(batch, own, smoothing)
        assert model.loss(batch, 0.5, smoothing, own).item() == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(("ratio", "own"), [(1.0, ALWAYS), (0.0, NEVER)])
def test_ratio_1_is_all_forced_and_ratio_0_all_free(tiny_model, draw_batch, ratio, own) -> None:
    model, batch = tiny_model(precision="fp64"), draw_batch()
    assert model.loss(batch, ratio).item() == pytest.approx(NumpySentence(model).batch_loss(batch, own), rel=1e-12)


def test_the_three_ways_of_forcing_differ(tiny_model, draw_batch) -> None:
    numpy_model, batch = NumpySentence(tiny_model()), draw_batch()
    losses = [numpy_model.batch_loss(batch, own) for own in (ALWAYS, NEVER, MIXED)]
    assert min(abs(a - b) for a, b in zip(losses, losses[1:] + losses[:1], strict=True)) > 0.01


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("precision", "tolerance"), [("fp64", 1e-11), ("fp32", 1e-4)])
def test_drawn_choices_equal_a_loop_over_steps(tiny_model, draw_batch, seed, precision, tolerance) -> None:
    model, batch = tiny_model(precision=precision, seed=seed), draw_batch(seed)
    random.seed_step(seed, 3)
    own = draw_own(len(batch.trg_input), 0.5)
    random.seed_step(seed, 3)
    fused, stepwise = model.loss(batch, 0.5), stepwise_loss(model, batch, own)
    assert fused.item() == pytest.approx(stepwise.item(), rel=tolerance)
    assert_equal_gradients(gradients(model, fused), gradients(model, stepwise), tolerance)


@pytest.mark.parametrize("own", [ALWAYS, NEVER, MIXED], ids=["forced", "free", "mixed"])
def test_padding_does_not_matter(tiny_model, draw_batch, own) -> None:
    lengths = ((4, 3), (1, 6), (6, 1), (3, 4))
    model, batch = tiny_model(), draw_batch(1, lengths)
    together = model.loss(batch, own=own)
    alone = [model.loss(single(batch, column), own=own) for column in range(len(lengths))]
    assert together.item() == pytest.approx(sum(loss.item() for loss in alone), rel=1e-6)
    assert_equal_gradients(gradients(model, together), gradients(model, *alone), 1e-5)


def single(batch: Batch, column: int) -> Batch:
    """One sentence pair without padding."""
    src, trg = slice(batch.src_lengths[column]), slice(batch.trg_lengths[column])
    here = slice(column, column + 1)
    return Batch(
        batch.src[src, here], batch.src_lengths[here], batch.trg_input[trg, here], batch.trg_output[trg, here],
        batch.trg_lengths[here], batch.indices[here],
    )  # fmt: skip


def test_padded_positions_of_the_arrays_are_never_read(tiny_model, draw_batch) -> None:
    model, batch = tiny_model(), draw_batch()
    expected = gradients(model, model.loss(batch, own=MIXED))
    for array, lengths in ((batch.src, batch.src_lengths), (batch.trg_input, batch.trg_lengths)):
        array[np.arange(len(array))[:, None] >= lengths] = 7
    batch.trg_output[np.arange(len(batch.trg_output))[:, None] >= batch.trg_lengths] = 7
    changed = gradients(model, model.loss(batch, own=MIXED))
    for name, gradient in expected.items():
        np.testing.assert_array_equal(changed[name], gradient, err_msg=name)


@pytest.mark.parametrize("own", [ALWAYS, MIXED], ids=["forced", "mixed"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradient_of_the_complete_model_along_50_directions(
    tiny_model, draw_batch, count_case: Callable[[], None], own, smoothing
) -> None:
    model, batch = tiny_model(precision="fp64"), draw_batch()
    report = gradcheck_module(
        lambda: model.loss(batch, 0.5, smoothing, own) / batch.num_trg_tokens,
        model.named_parameters(), num_directions=50,
    )  # fmt: skip
    assert report.rows[0].name == "all parameters"
    assert all(row.passed and row.relative_error <= 1e-6 for row in report.rows)
    for _ in report.rows:
        count_case()


def test_gradient_with_dropout(tiny_model, draw_batch, count_case: Callable[[], None]) -> None:
    model, batch = tiny_model(precision="fp64", dropout=0.4).train(), draw_batch()

    def loss(step: int = 2) -> Tensor:
        random.seed_step(5, step)
        return model.loss(batch, 1.0)

    assert gradcheck_module(loss, model.named_parameters(), num_directions=10, directions_per_parameter=1)
    count_case()
    values = [loss(2).item(), loss(2).item(), loss(3).item(), model.eval().loss(batch).item()]
    assert values[0] == values[1]
    assert len(set(values)) == 3


def test_guesses_carry_no_gradient(tiny_model, draw_batch) -> None:
    """A run with own words has the gradient of a forced run that is given the same words."""
    model, batch = tiny_model(precision="fp64"), draw_batch()
    own = model.loss(batch, own=MIXED)
    numpy_model = NumpySentence(model)
    for column in range(batch.src.shape[1]):
        _, given = numpy_model.loss(batch, column, MIXED)
        batch.trg_input[: len(given), column] = given
    forced = model.loss(batch, own=ALWAYS)
    assert own.item() == pytest.approx(forced.item(), rel=1e-12)
    assert_equal_gradients(gradients(model, own), gradients(model, forced), 1e-12)


def test_one_loss_sees_all_runs_and_a_guess_is_made_only_where_it_is_needed(
    tiny_model, draw_batch, monkeypatch
) -> None:
    model, batch = tiny_model(), draw_batch()
    losses, guesses = [], []
    loss, argmax = F.linear_cross_entropy, F.linear_argmax
    monkeypatch.setattr(F, "linear_cross_entropy", lambda x, *a, **k: losses.append(len(x)) or loss(x, *a, **k))
    monkeypatch.setattr(F, "linear_argmax", lambda x, *a: guesses.append(len(x)) or argmax(x, *a))
    model.loss(batch, own=MIXED)
    assert losses == [batch.num_trg_tokens]
    given = [int((batch.trg_lengths > t).sum()) for t in range(1, len(batch.trg_input)) if MIXED[t]]
    assert guesses == given


def test_own_words_are_drawn_as_often_as_said() -> None:
    random.manual_seed(11)
    own = np.array([draw_own(9, 0.7) for _ in range(400)])
    assert not own[:, 0].any()
    assert own[:, 1:].mean() == pytest.approx(0.3, abs=0.05)
    assert np.abs(own[:, 1:].mean(axis=0) - 0.3).max() < 0.1
    assert draw_own(4, 1.0).tolist() == [False] * 4
    assert draw_own(4, 0.0).tolist() == [False, True, True, True]
    assert draw_own(1, 0.5).tolist() == [False]


def test_losses_of_a_split_are_sums_over_tokens_without_dropout(tiny_model, draw_batch) -> None:
    model = tiny_model(dropout=0.5).train()
    batches = [draw_batch(1), draw_batch(2, ((2, 2), (5, 5)))]
    for ratio, own in ((1.0, ALWAYS), (0.0, NEVER)):
        total, num_tokens = sequence_losses(model, batches, ratio)
        assert total == pytest.approx(sum(NumpySentence(model).batch_loss(b, own) for b in batches), rel=1e-5)
        assert num_tokens == sum((b.trg_output != 1).sum() for b in batches)


def test_weights_are_uniform_and_a_function_of_the_seed(tiny_model) -> None:
    first, again, other = (tiny_model(seed=seed, init_range=0.08, hidden_size=32) for seed in (1, 1, 2))
    for name, tensor in first.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name].array, tensor.array)
        assert not np.array_equal(other.state_dict()[name].array, tensor.array), name
    weights = np.concatenate([tensor.array.ravel() for tensor in first.state_dict().values()])
    assert np.abs(weights).max() <= 0.08
    counts, _ = np.histogram(weights, bins=10, range=(-0.08, 0.08))
    assert np.abs(counts / len(weights) - 0.1).max() < 0.02


def test_the_check_of_a_full_size_model_passes() -> None:
    """Millions of parameters move together: a step of fixed size would be too long for the difference quotient."""
    report = check_model(Config(), num_directions=4)
    assert report.rows[0].name == "all parameters"
    assert report, str(report)
