"""Words that a model cannot spell: for each <unk> the source token that it looked at most (Jean et al., "On using very
large target vocabulary for neural machine translation", 2015, section 5.3; Luong et al., "Effective approaches to
attention-based neural machine translation", 2015, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from seq2seq.decoding.contract import Hypothesis
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.text.vocabulary import UNK_ID


def replace_unknown(tokens: Sequence[str], hypothesis: Hypothesis, source: Sequence[str]) -> list[str]:
    """The tokens of a hypothesis, with source tokens in place of <unk>; of equal weights the first one's.

    Raises:
        UserError: the hypothesis has no alignment with the tokens of the source.
    """
    alignment = hypothesis.alignment
    if alignment is None or alignment.shape[1] != len(source):
        found = "none" if alignment is None else f"one with {counted(alignment.shape[1], 'position')}"
        raise UserError(f"replace_unk: the alignment is {found}; expected one with the {len(source)} source tokens")
    best = alignment.argmax(1)
    return [
        source[at] if token == UNK_ID else word for token, word, at in zip(hypothesis.ids, tokens, best, strict=True)
    ]
