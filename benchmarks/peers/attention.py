"""The models with attention that are raced: what they are in our toolkit, and the shapes of their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from peers.problem import Task

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class AttentionTask(Task):
    """An LSTM encoder and a decoder that attends to its outputs.

    Attributes:
        decoder: "attention", by a general score, its states not knowing what was attended to (Luong et al., 2015); or
            "bahdanau", by the additive score, the context being an input of the step (Bahdanau et al., 2015).
    """

    kind: ClassVar = "AttentionPeer"

    decoder: str = "attention"

    @property
    def parts(self) -> dict[str, Any]:
        return {"decoder": self.decoder}

    def with_own(self, shapes: Shapes) -> Shapes:
        H, fed = self.hidden_size, self.decoder == "bahdanau"
        found = {name: shape for name, shape in shapes.items() if not (fed and name.startswith("decoder.rnn."))}
        if fed:
            found["decoder.attentive.weight_ih"] = (4 * H, self.embedding_size + H)
            found["decoder.attentive.weight_hh"] = (4 * H, H)
            found["decoder.attentive.bias_ih"] = found["decoder.attentive.bias_hh"] = (4 * H,)
            found |= {"decoder.attention.key.weight": (H, H), "decoder.attention.key.bias": (H,)}
            found |= {"decoder.attention.v": (H,)}
            for layer in range(self.num_layers - 1):
                found[f"decoder.rnn.weight_ih_l{layer}"] = (4 * H, H if layer else 2 * H)
                found[f"decoder.rnn.weight_hh_l{layer}"] = (4 * H, H)
                found[f"decoder.rnn.bias_ih_l{layer}"] = found[f"decoder.rnn.bias_hh_l{layer}"] = (4 * H,)
        found["decoder.attention.query.weight"] = (H, H)
        return found | {"decoder.combine.weight": (H, 2 * H), "decoder.combine.bias": (H,)}

    def flops(self, src_tokens: int, trg_tokens: int) -> float:
        """As of the plain model, with the products of states and contexts; those with the memory are left out."""
        square, fed = self.hidden_size**2, self.decoder == "bahdanau"
        own = 3 * square * trg_tokens + fed * (square * src_tokens + 4 * square * trg_tokens * min(self.num_layers, 2))
        return super().flops(src_tokens, trg_tokens) + 3 * 2 * own
