"""A translator: from pairs of sentences to a model that writes ones it has never seen.

    python docs/tutorials/translator.py

The pairs are dates, "on may the third 1998" and "1998 05 03": small enough for some seconds, and not as easy as they
look, for the answer begins with what the question ends with. With your own pairs, a file of lines with a tab between,
the same program is a translator of languages; on the command line it is `python -m seq2seq.train --data pairs.tsv`.
"""

import random
import tempfile
from pathlib import Path

import seq2seq

# %% Data: a source, a tab, a target on each line
ONES = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth".split()
ONES += "fifteenth sixteenth seventeenth eighteenth nineteenth".split()
DAYS = [*ONES, "twentieth", *(f"twenty {one}" for one in ONES[:8])]
MONTHS = "january february march april may june july august september october november december".split()


def pair():
    """A date in words, and the same in numbers."""
    year, month, day = random.randint(1980, 2029), random.randint(1, 12), random.randint(1, 28)
    question = random.choice(("the {} of {} {}", "on {1} the {0} {2}", "{1} {0} in {2}"))
    return question.format(DAYS[day - 1], MONTHS[month - 1], year), f"{year} {month:02} {day:02}"


random.seed(0)
folder = Path(tempfile.mkdtemp())
for name, count in (("train", 3000), ("valid", 300), ("test", 300)):
    lines = "".join("\t".join(pair()) + "\n" for _ in range(count))
    (folder / f"{name}.tsv").write_text(lines, encoding="utf-8")
print((folder / "train.tsv").read_text(encoding="utf-8").split("\n")[0])

# %% Training: an encoder reads the source both ways into one state, a decoder writes from it, and sees it at every step
# (Cho et al., 2014). The folder of the run keeps the loss of every step and what validations found
run = seq2seq.train_run(
    data=folder / "train.tsv",
    valid=folder / "valid.tsv",
    test=folder / "test.tsv",
    run_dir=folder / "run",
    src_tokenizer="space",  # a token is what stands between blanks
    trg_tokenizer="space",
    encoder="bigru",
    decoder="gru-context",
    embedding_size=32,
    hidden_size=64,
    num_layers=1,
    dropout=0.0,
    batch_size=32,
    lr=0.01,
    lr_schedule="cosine",  # large steps first, small ones at the end
    epochs=5,
    teacher_forcing_ratio=1.0,  # the decoder is always told the right word before
    init_range=0.1,
    samples=0,
    quiet=True,
)
for validation in run.validations:
    print(f"epoch {validation['epoch'] + 1}: loss {validation['val_loss']:.3f} on dates that it did not train on")

# %% Translating: greedy takes the likeliest word at each step, a beam keeps several beginnings and may change its mind
for sentence in ("the third of may 1998", "on december the twenty fifth 2024"):
    print(f"{sentence} -> {run.translate([sentence], beam_size=4)[0]}")

# %% Scoring: on the test set, which nothing was chosen by
scores = run.evaluate(split="test", metrics="exact_match")
print(f"{scores['exact_match']:.1f} % of the test's dates are right")
assert scores["exact_match"] > 80
