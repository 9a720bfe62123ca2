"""A decoder of your own: one class, and all of the toolkit knows it.

    python docs/tutorials/own_decoder.py

The simplest recurrent decoder there is, Elman's (1990): h = tanh(W [token; h]). Registered by its name it has options
on the command line, teacher forcing, beam search, gradient checks, a memory plan and runs that resume to the bit.
docs/own-model.md lists what a part may count on.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import seq2seq
from minigrad import cat, nn, tanh
from seq2seq.gradcheck import check_model
from seq2seq.models import Decoder, Reads, option, register
from seq2seq.run.config import Config


# %% Its settings: each field is one of a run, with a default, a sentence of help and a range
@dataclass(frozen=True)
class ElmanOptions:
    embedding_size: int = option(256, "size of the embeddings", 1, 65536)


# %% The decoder: where it starts, and a step. Its gradient is the tape's affair
@register("decoder", "elman")
class ElmanDecoder(Decoder):
    Options = ElmanOptions
    reads = Reads(states=1)  # of an encoder's last states the first one, h

    def __init__(self, options, vocab_size, memory):
        super().__init__()
        size = memory.states[0][1]  # (layers, size) of each of the encoder's states
        self.embedding = nn.Embedding(vocab_size, options.embedding_size, sparse=True)
        self.cell = nn.Linear(options.embedding_size + size, size)
        self.fc_out = nn.Linear(size, vocab_size)

    @property
    def output(self):
        return self.fc_out

    def start(self, memory):
        return (memory.states[0][-1],)  # (N, H), of the last layer

    def step(self, tokens, state, memory):
        h = tanh(self.cell(cat([self.embedding(tokens), state[0]], 1)))
        return h, (h,)  # what the output layer reads, and the next state


# %% Is it right? The gradients of the whole model against finite differences, in float64
print(check_model(Config(encoder="gru", decoder="elman", embedding_size=6, hidden_size=5, num_layers=1)))

# %% It trains and translates like any other: here it learns to say three digits backwards
folder = Path(tempfile.mkdtemp())
pairs = [f"{a} {b} {c}\t{c} {b} {a}\n" for a in range(10) for b in range(10) for c in range(10)]
(folder / "train.tsv").write_text("".join(pairs[0::3] + pairs[1::3]), encoding="utf-8")
(folder / "valid.tsv").write_text("".join(pairs[2::3]), encoding="utf-8")
run = seq2seq.train_run(
    data=folder / "train.tsv", valid=folder / "valid.tsv", run_dir=folder / "run", src_tokenizer="space",
    trg_tokenizer="space", encoder="gru", decoder="elman", embedding_size=16, hidden_size=64, num_layers=1,
    dropout=0.0, batch_size=16, lr=0.01, epochs=7, teacher_forcing_ratio=1.0, init_range=0.1, samples=0, quiet=True,
)  # fmt: skip
print("7 2 5 ->", run.translate(["7 2 5"], beam_size=3)[0])
scores = run.evaluate(split="valid", metrics="exact_match")
print(f"{scores['exact_match']:.0f} % of new triples are said right")
assert scores["exact_match"] > 40  # by chance one in a thousand is
