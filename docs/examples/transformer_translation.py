"""A Transformer translates: positions in sines, masks against padding and against what is yet to come, greedy decoding.

In the style of PyTorch's tutorial "Language translation with nn.Transformer and torchtext", after Vaswani et al.,
"Attention is all you need" (2017); only the import lines differ from a script for PyTorch.

    python docs/examples/transformer_translation.py
    python docs/examples/transformer_translation.py --data multi30k --languages de en --pairs 29000 --emb-size 512
"""

import math
import random
import time

from pairs import Vocabulary, load_pairs, options, tokenize

import minigrad as torch
from minigrad import nn, optim
from minigrad.nn.utils.rnn import pad_sequence
from minigrad.utils.data import DataLoader

PAD_IDX, SOS_IDX, EOS_IDX = 1, 2, 3
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


# %% Data: batches are (steps, sentences)
def load_data(args):
    pairs = [(tokenize(src), tokenize(trg)) for src, trg in load_pairs(args, reverse=not args.data)]
    source = Vocabulary((src for src, _ in pairs), args.min_freq)
    target = Vocabulary((trg for _, trg in pairs), args.min_freq)
    numbers = [(torch.tensor(source.encode(src)), torch.tensor(target.encode(trg))) for src, trg in pairs]
    print(f"{len(pairs)} pairs; {len(source)} and {len(target)} words")
    return source, target, DataLoader(numbers, args.batch_size, shuffle=True, collate_fn=collate), pairs


def collate(batch):
    sides = zip(*batch, strict=True)
    src, tgt = (pad_sequence(list(side), padding_value=PAD_IDX) for side in sides)
    return src.to(device), tgt.to(device)


# %% The model: nn.Transformer between embeddings that know their position and a layer of words
class PositionalEncoding(nn.Module):
    def __init__(self, emb_size, dropout, maxlen=5000):
        super().__init__()
        position = torch.arange(maxlen).unsqueeze(1)
        rates = torch.exp(torch.arange(0, emb_size, 2) * (-math.log(10000) / emb_size))
        encoding = torch.zeros(maxlen, 1, emb_size)
        encoding[:, 0, 0::2] = torch.sin(position * rates)
        encoding[:, 0, 1::2] = torch.cos(position * rates)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("encoding", encoding)

    def forward(self, embedded):
        return self.dropout(embedded + self.encoding[: embedded.size(0)])


class TokenEmbedding(nn.Module):
    def __init__(self, vocab_size, emb_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, emb_size)
        self.emb_size = emb_size

    def forward(self, tokens):
        return self.embedding(tokens) * math.sqrt(self.emb_size)


class Seq2SeqTransformer(nn.Module):
    def __init__(self, src_vocab_size, tgt_vocab_size, args):
        super().__init__()
        self.transformer = nn.Transformer(
            d_model=args.emb_size,
            nhead=args.nhead,
            num_encoder_layers=args.num_layers,
            num_decoder_layers=args.num_layers,
            dim_feedforward=args.ffn_hid_dim,
            dropout=args.dropout,
        )
        self.generator = nn.Linear(args.emb_size, tgt_vocab_size)
        self.src_tok_emb = TokenEmbedding(src_vocab_size, args.emb_size)
        self.tgt_tok_emb = TokenEmbedding(tgt_vocab_size, args.emb_size)
        self.positional_encoding = PositionalEncoding(args.emb_size, args.dropout)

    def forward(self, src, tgt):
        """Scores (T, N, words) of the word after each of tgt (T, N)."""
        src_padding, tgt_padding = ((tokens == PAD_IDX).transpose(0, 1) for tokens in (src, tgt))
        outs = self.transformer(
            self.positional_encoding(self.src_tok_emb(src)),
            self.positional_encoding(self.tgt_tok_emb(tgt)),
            tgt_mask=later(tgt.size(0)),
            src_key_padding_mask=src_padding,
            tgt_key_padding_mask=tgt_padding,
            memory_key_padding_mask=src_padding,
        )
        return self.generator(outs)

    def encode(self, src):
        return self.transformer.encoder(self.positional_encoding(self.src_tok_emb(src)))

    def decode(self, tgt, memory):
        embedded = self.positional_encoding(self.tgt_tok_emb(tgt))
        return self.transformer.decoder(embedded, memory, tgt_mask=later(tgt.size(0)))


def later(size):
    """(size, size) bool: where a key comes after the query, which may not read it."""
    return torch.triu(torch.ones((size, size), device=device), diagonal=1) == 1


# %% Training
def train_epoch(model, loader, optimizer, criterion):
    model.train()
    losses = 0
    for src, tgt in loader:
        logits = model(src, tgt[:-1])
        optimizer.zero_grad()
        loss = criterion(logits.reshape(-1, logits.shape[-1]), tgt[1:].reshape(-1))
        loss.backward()
        optimizer.step()
        losses += loss.item()
    return losses / len(loader)


# %% Translating word by word: each time the decoder reads all that it has said
def greedy_decode(model, src, max_len):
    memory = model.encode(src)
    ys = torch.full((1, 1), SOS_IDX, dtype=torch.long, device=device)
    for _ in range(max_len):
        out = model.decode(ys, memory)
        next_word = model.generator(out[-1]).argmax(1)
        ys = torch.cat([ys, next_word.unsqueeze(0)])
        if next_word.item() == EOS_IDX:
            break
    return ys


def translate(model, words, source, target):
    model.eval()
    with torch.no_grad():
        src = torch.LongTensor(source.encode(words)).unsqueeze(1).to(device)
        tokens = greedy_decode(model, src, max_len=len(words) + 5).flatten()
    return target.decode(tokens[1:].tolist())


def main(arguments=None):
    args = options(
        __doc__, arguments, pairs=600, min_freq=1, epochs=12, batch_size=32, emb_size=48, nhead=4, ffn_hid_dim=96,
        num_layers=2, dropout=0.1, lr=0.002,
    )  # fmt: skip
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    source, target, loader, pairs = load_data(args)
    model = Seq2SeqTransformer(len(source), len(target), args)
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
    model = model.to(device)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD_IDX)
    optimizer = optim.Adam(model.parameters(), lr=args.lr, betas=(0.9, 0.98), eps=1e-9)
    losses = []
    for epoch in range(1, args.epochs + 1):
        start = time.time()
        losses.append(train_epoch(model, loader, optimizer, criterion))
        print(f"epoch {epoch}: {time.time() - start:.0f} s, train loss {losses[-1]:.3f}")
    for src, tgt in pairs[:3]:
        print(">", " ".join(src))
        print("=", " ".join(tgt))
        print("<", " ".join(translate(model, src, source, target)))
    return losses


if __name__ == "__main__":
    main()
