"""A Transformer as a task: blocks that normalise what they read, GELU, sines and cosines, as `seq2seq` has it.

Parameter names are those of `nn.TransformerEncoder` and `nn.TransformerDecoder` below "encoder" and "decoder".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from peers.problem import Task


@dataclass(frozen=True)
class TransformerTask(Task):
    """``hidden_size`` is the size of all states, ``num_layers`` counts those of a half; ``embedding_size`` is not used.

    Attributes:
        num_heads, ffn_size: heads of an attention, and units of a feed-forward block.
    """

    kind: ClassVar = "Transformer"

    num_layers: int = 3
    dropout: float = 0.1
    num_heads: int = 8
    ffn_size: int = 2048

    def with_own(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """All are its own."""
        E, found = self.hidden_size, dict[str, tuple[int, ...]]()
        for side, vocab_size in zip(("encoder", "decoder"), self.vocab_sizes, strict=True):
            found[f"{side}.embedding.weight"] = (vocab_size, E)
            for layer in range(self.num_layers):
                own = self._layer(("self_attn", "multihead_attn")[: 1 + (side == "decoder")])
                found |= {f"{side}.layers.{layer}.{name}": shape for name, shape in own.items()}
            found |= {f"{side}.norm.weight": (E,), f"{side}.norm.bias": (E,)}
        return found | {
            "decoder.fc_out.weight": (self.vocab_sizes[1], E),
            "decoder.fc_out.bias": (self.vocab_sizes[1],),
        }

    def _layer(self, attentions: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        E, units, found = self.hidden_size, self.ffn_size, dict[str, tuple[int, ...]]()
        for name in attentions:
            found |= {f"{name}.in_proj_weight": (3 * E, E), f"{name}.in_proj_bias": (3 * E,)}
            found |= {f"{name}.out_proj.weight": (E, E), f"{name}.out_proj.bias": (E,)}
        found |= {"linear1.weight": (units, E), "linear1.bias": (units,), "linear2.weight": (E, units)}
        found |= {"linear2.bias": (E,)}
        for number in range(1, len(attentions) + 2):
            found |= {f"norm{number}.weight": (E,), f"norm{number}.bias": (E,)}
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """Of `seq2seq.run.config`; PyTorch's layers drop weights and units as often as results."""
        names = ("hidden_size", "num_layers", "num_heads", "ffn_size", "dropout")
        dropouts = {"attention_dropout": self.dropout, "ffn_dropout": self.dropout}
        return {"encoder": "transformer", "decoder": "transformer", **dropouts} | {
            name: getattr(self, name) for name in names
        }

    def flops(self, src_tokens: int, trg_tokens: int) -> float:
        """Of one training step, as of `Task`; the products of queries and keys, which are small, are not counted."""
        E, block = self.hidden_size, 2 * self.hidden_size * self.ffn_size
        source = self.num_layers * (4 * E * E + block + 2 * E * E)  # the last: keys and values for the decoder
        target = self.num_layers * (6 * E * E + block) + E * self.vocab_sizes[1]
        return 3 * 2 * (source * src_tokens + target * trg_tokens)
