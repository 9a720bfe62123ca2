"""What the tests of models compare with: the same computation in PyTorch, on the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from seq2seq.models.model import Seq2Seq
from seq2seq.sources import Batch


class ChoGRU(torch.nn.GRU):
    """The GRU of Cho et al. (2014), a sequence and a step at a time, on the parameters of PyTorch's."""

    def forward(self, x: Any, h0: Any = None) -> tuple[Any, Any]:
        """Padded (T, N, I), or packed, and h0 (L*D, N, H) -> the outputs likewise, h_n (L*D, N, H)."""
        packed = isinstance(x, torch.nn.utils.rnn.PackedSequence)
        rows, lengths = torch.nn.utils.rnn.pad_packed_sequence(x) if packed else (x, torch.full((x.shape[1],), len(x)))
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        first = rows.new_zeros(self.num_layers * len(suffixes), len(lengths), self.hidden_size) if h0 is None else h0
        outputs, finals = [], []
        for n, length in enumerate(lengths):
            y, last = rows[:length, n], []
            for layer in range(self.num_layers):
                ways = []
                for suffix in suffixes:
                    turned = y.flip(0) if suffix else y
                    way = self._walk(turned, first[len(last), n], f"_l{layer}{suffix}")
                    last.append(way[-1])
                    ways.append(way.flip(0) if suffix else way)
                y = torch.cat(ways, 1)
            outputs.append(y)
            finals.append(torch.stack(last))
        y = torch.nn.utils.rnn.pad_sequence(outputs)
        y = torch.nn.utils.rnn.pack_padded_sequence(y, lengths, enforce_sorted=False) if packed else y
        return y, torch.stack(finals, 1)

    def _walk(self, x: Any, h: Any, suffix: str) -> Any:
        """One layer and direction: x (T, I), h (H,) -> the states (T, H)."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w_ih, w_hh, b_ih, b_hh = (getattr(self, name + suffix) for name in names)
        (u_r, u_z, u_n), states = w_hh.chunk(3), []
        for token in x:
            a_r, a_z, a_n = (w_ih @ token + b_ih + b_hh).chunk(3)
            r, z = torch.sigmoid(a_r + u_r @ h), torch.sigmoid(a_z + u_z @ h)
            h = (1 - z) * torch.tanh(a_n + u_n @ (r * h)) + z * h
            states.append(h)
        return torch.stack(states)


class TorchTwin:
    """The weights of a float64 model of ours, and a batch, in PyTorch.

    Attributes:
        trg_input: (T, N), what the decoder is given.
        outputs: (S, N, D) of the encoder, after ``encode``.
    """

    def __init__(self, model: Seq2Seq, batch: Batch) -> None:
        self._model, self._batch = model, batch
        shared: dict[int, Any] = {}  # layers of ours that share a tensor share it there too
        self._weights = {
            name: shared.setdefault(id(tensor), torch.tensor(tensor.array, requires_grad=True))
            for name, tensor in model.state_dict(keep_vars=True).items()
        }
        self.trg_input = torch.tensor(batch.trg_input)

    def weight(self, name: str) -> Any:
        """A parameter by its name in our model."""
        return self._weights[name]

    def embed(self, half: str, ids: Any) -> Any:
        return torch.nn.functional.embedding(ids, self._weights[f"{half}.embedding.weight"])

    def linear(self, name: str, x: Any) -> Any:
        return torch.nn.functional.linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def module(self, prefix: str, module: Any) -> Any:
        """A module of PyTorch's whose weights are those of this prefix: a function of its arguments."""
        weights = {key.removeprefix(prefix): w for key, w in self._weights.items() if key.startswith(prefix)}
        own = {key: weights[key] for key, _ in module.named_parameters()}
        return lambda *arguments, **named: torch.func.functional_call(module, own, arguments, named)

    def recurrent(self, kind: Any, name: str, **options: Any) -> Any:
        """A layer of PyTorch's whose weights are these: a function of (x, states)."""
        weights = {key.removeprefix(f"{name}."): w for key, w in self._weights.items() if key.startswith(f"{name}.")}
        hidden_size, layers = weights["weight_hh_l0"].shape[1], sum("weight_hh" in key for key in weights)
        layers //= 2 if options.get("bidirectional") else 1
        layer = kind(weights["weight_ih_l0"].shape[1], hidden_size, layers, **options).double()
        return lambda *arguments: torch.func.functional_call(layer, weights, arguments)

    def encode(self, kind: Any = torch.nn.LSTM, **options: Any) -> Any:
        """The layers over the source: their last states, (h, c) of an LSTM."""
        rnn = self.recurrent(kind, "encoder.rnn", **options)
        embedded = self.embed("encoder", torch.tensor(self._batch.src))
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            embedded, torch.tensor(self._batch.src_lengths), enforce_sorted=False
        )
        y, states = rnn(packed)
        self.outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(y)
        return states

    def compare(self, features: Any) -> None:
        """Features (T, N, F) of every step: the loss of their logits and all gradients are those of our model."""
        batch = self._batch
        logits = self.linear("decoder.fc_out", features)
        targets = torch.tensor(batch.trg_output).reshape(-1)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets, ignore_index=1, reduction="sum")
        loss.backward()
        self._model.zero_grad()
        ours = self._model.loss(batch)
        ours.backward()
        assert abs(ours.item() / loss.item() - 1) < 1e-12
        for name, parameter in self._model.named_parameters():
            expected = self._weights[name].grad.numpy()
            atol = 1e-11 * np.abs(expected).max()
            np.testing.assert_allclose(parameter.grad.array, expected, rtol=0, atol=atol, err_msg=name)
