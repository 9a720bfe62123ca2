"""Where examples come from: a public data set, a generated one, or the user's files; of text, of numbers.

Contract: a ``Source`` owns its side of a run: what it reads, learns, keeps, and gives an encoder. Text, vectors and
frames are a file each. ``load_dataset`` is the entry to sentence pairs; what it gives is raw text in splits
(``Dataset``). ``sampler`` says which pairs share a batch.
"""

from seq2seq.sources.batches import (
    Batch,
    EncodedSplit,
    Items,
    NumberedTokens,
    Ragged,
    drop_long,
    encode_split,
    tokenize_pairs,
)
from seq2seq.sources.contract import Examples, KnownSide, Learner, Source, SourceSide
from seq2seq.sources.corpus import read_pairs
from seq2seq.sources.dataset import Dataset, Pair, hold_out
from seq2seq.sources.files import decode_lines, read_lines, read_parallel
from seq2seq.sources.load import load_dataset
from seq2seq.sources.named import NAMED_SETS
from seq2seq.sources.reading import Reading
from seq2seq.sources.sampler import BatchSampler, BlockSampler, evaluation_batches
from seq2seq.sources.specs import relocated, split_spec
from seq2seq.sources.text import TextSource

__all__ = [
    "NAMED_SETS",
    "Batch",
    "BatchSampler",
    "BlockSampler",
    "Dataset",
    "EncodedSplit",
    "Examples",
    "Items",
    "KnownSide",
    "Learner",
    "NumberedTokens",
    "Pair",
    "Ragged",
    "Reading",
    "Source",
    "SourceSide",
    "TextSource",
    "decode_lines",
    "drop_long",
    "encode_split",
    "evaluation_batches",
    "hold_out",
    "load_dataset",
    "read_lines",
    "read_pairs",
    "read_parallel",
    "relocated",
    "split_spec",
    "tokenize_pairs",
]
