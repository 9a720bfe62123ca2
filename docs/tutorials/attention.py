"""Attention by hand, and where it looks: a memory that is read by asking.

    python docs/tutorials/attention.py

A translator without it presses a whole sentence into one state. With it, each word that is written asks all positions
of the source, and reads a mixture of them (Bahdanau et al., 2015; Luong et al., 2015). docs/attention.md derives the
kernels; here are the equations, their gradient, and a model whose answers must look at the source backwards.

S source positions, A size of queries and keys, D size of values.
"""

import random
import tempfile
from pathlib import Path

import numpy as np

import minigrad
import seq2seq
from minigrad import ops

rng = np.random.default_rng(0)
S, A = 6, 4

# %% Forward: how alike is the query to each key? A softmax of the answers mixes the values
query, keys, values = rng.normal(size=A), rng.normal(size=(S, A)), rng.normal(size=(S, A))
scores = keys @ query
weights = np.exp(scores - scores.max())
weights /= weights.sum()
context = weights @ values
print("weights", weights.round(3), "sum", weights.sum().round(3))

# %% Backward, for some gradient of the context: each line turns one above around
dcontext = rng.normal(size=A)
dvalues = np.outer(weights, dcontext)
dweights = values @ dcontext
dscores = weights * (dweights - weights @ dweights)  # of a softmax: less the mean, as the weights weigh it
dquery, dkeys = dscores @ keys, np.outer(dscores, query)

# %% The engine has it as one operation, over many queries and sources of any length at once
q, k, v = (minigrad.tensor(array, requires_grad=True) for array in (query[None, None], keys[:, None], values[:, None]))
found, alignment = ops.attention(q, k, v, minigrad.tensor([S]))
(found * minigrad.tensor(dcontext)).sum().backward()
for ours, theirs in ((weights, alignment), (context, found), (dquery, q.grad), (dkeys, k.grad), (dvalues, v.grad)):
    np.testing.assert_allclose(ours.ravel(), theirs.detach().numpy().ravel(), rtol=1e-10, atol=1e-12)
print("ops.attention has the same values and gradients")

# %% A task that shows where a model looks: say the letters backwards
random.seed(0)
folder = Path(tempfile.mkdtemp())
for name, count in (("train", 2000), ("valid", 200)):
    sentences = [random.choices("abcdefgh", k=random.randint(3, 8)) for _ in range(count)]
    lines = "".join(f"{' '.join(letters)}\t{' '.join(letters[::-1])}\n" for letters in sentences)
    (folder / f"{name}.tsv").write_text(lines, encoding="utf-8")
run = seq2seq.train_run(
    data=folder / "train.tsv", valid=folder / "valid.tsv", run_dir=folder / "run", src_tokenizer="space",
    trg_tokenizer="space", encoder="bilstm", decoder="bahdanau", embedding_size=16, hidden_size=32, num_layers=1,
    dropout=0.0, batch_size=32, lr=0.01, lr_schedule="cosine", epochs=5, teacher_forcing_ratio=1.0, init_range=0.1,
    samples=0, quiet=True,
)  # fmt: skip
print(f"loss {run.validations[-1]['val_loss']:.4f}")

# %% Each row is a letter that was written, each column one that was read: it looks at the last first
sentence = "a b c d e f g"
((best,),) = run.translator().search([sentence], alignment=True)
read = ["<sos>", *sentence.split(), "<eos>"]
print("      " + " ".join(f"{token:>5}" for token in read))
for token, row in zip(run.translate([sentence])[0].split(), best.alignment, strict=False):
    print(f"{token:>5} " + " ".join(f"{'#' * round(4 * weight):>5}" for weight in row))
looked = best.alignment[:7].argmax(1)
assert (np.diff(looked) <= 0).all(), looked
