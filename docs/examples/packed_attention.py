"""A GRU in both directions over packed sentences, and a decoder that attends to it, but never to padding.

In the style of the third and fourth of Ben Trevett's notebooks on sequence-to-sequence learning, after Bahdanau et
al., "Neural machine translation by jointly learning to align and translate" (2015); only the import lines differ from a
script for PyTorch.

    python docs/examples/packed_attention.py
    python docs/examples/packed_attention.py --data multi30k --languages de en --pairs 29000 --emb-dim 256 --hid-dim 512
"""

import math
import random

from pairs import Vocabulary, load_pairs, options, tokenize

import minigrad as torch
import minigrad.nn.functional as F
from minigrad import nn, optim
from minigrad.nn.utils.rnn import pad_sequence
from minigrad.utils.data import DataLoader

PAD_IDX, SOS_IDX, EOS_IDX = 1, 2, 3
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


# %% Data: a batch says how long its sentences are
def load_data(args):
    pairs = [(tokenize(src), tokenize(trg)) for src, trg in load_pairs(args, reverse=not args.data)]
    source = Vocabulary((src for src, _ in pairs), args.min_freq)
    target = Vocabulary((trg for _, trg in pairs), args.min_freq)
    numbers = [(torch.tensor(source.encode(src)), torch.tensor(target.encode(trg))) for src, trg in pairs]
    print(f"{len(pairs)} pairs; {len(source)} and {len(target)} words")
    return source, target, DataLoader(numbers, args.batch_size, shuffle=True, collate_fn=collate), pairs


def collate(batch):
    src_len = torch.tensor([len(src) for src, _ in batch])
    src = pad_sequence([src for src, _ in batch], padding_value=PAD_IDX)
    trg = pad_sequence([trg for _, trg in batch], padding_value=PAD_IDX)
    return src.to(device), src_len, trg.to(device)


# %% The model
class Encoder(nn.Module):
    def __init__(self, input_dim, emb_dim, enc_hid_dim, dec_hid_dim, dropout):
        super().__init__()
        self.embedding = nn.Embedding(input_dim, emb_dim)
        self.rnn = nn.GRU(emb_dim, enc_hid_dim, bidirectional=True)
        self.fc = nn.Linear(enc_hid_dim * 2, dec_hid_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, src, src_len):
        embedded = self.dropout(self.embedding(src))
        packed_embedded = nn.utils.rnn.pack_padded_sequence(embedded, src_len, enforce_sorted=False)
        packed_outputs, hidden = self.rnn(packed_embedded)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(packed_outputs)
        hidden = torch.tanh(self.fc(torch.cat((hidden[-2, :, :], hidden[-1, :, :]), dim=1)))
        return outputs, hidden


class Attention(nn.Module):
    def __init__(self, enc_hid_dim, dec_hid_dim):
        super().__init__()
        self.attn = nn.Linear((enc_hid_dim * 2) + dec_hid_dim, dec_hid_dim)
        self.v = nn.Linear(dec_hid_dim, 1, bias=False)

    def forward(self, hidden, encoder_outputs, mask):
        src_len = encoder_outputs.shape[0]
        hidden = hidden.unsqueeze(1).repeat(1, src_len, 1)
        encoder_outputs = encoder_outputs.permute(1, 0, 2)
        energy = torch.tanh(self.attn(torch.cat((hidden, encoder_outputs), dim=2)))
        attention = self.v(energy).squeeze(2)
        attention = attention.masked_fill(mask == 0, -1e10)
        return F.softmax(attention, dim=1)


class Decoder(nn.Module):
    def __init__(self, output_dim, emb_dim, enc_hid_dim, dec_hid_dim, dropout, attention):
        super().__init__()
        self.output_dim = output_dim
        self.attention = attention
        self.embedding = nn.Embedding(output_dim, emb_dim)
        self.rnn = nn.GRU((enc_hid_dim * 2) + emb_dim, dec_hid_dim)
        self.fc_out = nn.Linear((enc_hid_dim * 2) + dec_hid_dim + emb_dim, output_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input, hidden, encoder_outputs, mask):
        embedded = self.dropout(self.embedding(input.unsqueeze(0)))
        a = self.attention(hidden, encoder_outputs, mask).unsqueeze(1)
        weighted = torch.bmm(a, encoder_outputs.permute(1, 0, 2)).permute(1, 0, 2)
        output, hidden = self.rnn(torch.cat((embedded, weighted), dim=2), hidden.unsqueeze(0))
        features = torch.cat((output.squeeze(0), weighted.squeeze(0), embedded.squeeze(0)), dim=1)
        return self.fc_out(features), hidden.squeeze(0), a.squeeze(1)


class Seq2Seq(nn.Module):
    def __init__(self, encoder, decoder, src_pad_idx, device):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.src_pad_idx = src_pad_idx
        self.device = device

    def create_mask(self, src):
        return (src != self.src_pad_idx).permute(1, 0)

    def forward(self, src, src_len, trg, teacher_forcing_ratio=0.5):
        trg_len, batch_size = trg.shape
        outputs = torch.zeros(trg_len, batch_size, self.decoder.output_dim).to(self.device)
        encoder_outputs, hidden = self.encoder(src, src_len)
        mask = self.create_mask(src)
        input = trg[0, :]
        for t in range(1, trg_len):
            output, hidden, _ = self.decoder(input, hidden, encoder_outputs, mask)
            outputs[t] = output
            teacher_force = random.random() < teacher_forcing_ratio
            input = trg[t] if teacher_force else output.argmax(1)
        return outputs


def init_weights(m):
    for name, param in m.named_parameters():
        if "weight" in name:
            nn.init.normal_(param.data, mean=0, std=0.1)
        else:
            nn.init.constant_(param.data, 0)


# %% Training
def train(model, loader, optimizer, criterion, clip):
    model.train()
    epoch_loss = 0
    for src, src_len, trg in loader:
        optimizer.zero_grad()
        output = model(src, src_len, trg)
        loss = criterion(output[1:].view(-1, output.shape[-1]), trg[1:].view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        epoch_loss += loss.item()
    return epoch_loss / len(loader)


# %% Translating, and what was attended to
def translate_sentence(model, words, source, target, max_len=20):
    """The translation, and (steps, words) how it attended to the source."""
    model.eval()
    src = torch.LongTensor(source.encode(words)).unsqueeze(1).to(device)
    with torch.no_grad():
        encoder_outputs, hidden = model.encoder(src, torch.LongTensor([len(src)]))
        mask = model.create_mask(src)
        ids, attentions = [SOS_IDX], torch.zeros(max_len, 1, len(src)).to(device)
        for i in range(max_len):
            output, hidden, attention = model.decoder(
                torch.LongTensor([ids[-1]]).to(device), hidden, encoder_outputs, mask
            )
            attentions[i] = attention
            ids.append(output.argmax(1).item())
            if ids[-1] == EOS_IDX:
                break
    return target.decode(ids[1:]), attentions[: len(ids) - 1, 0]


def show_attention(words, translation, attention):
    """Each word with the word of the source that it attended to most."""
    seen = ["<sos>", *words, "<eos>"]
    best = attention.argmax(1).tolist()
    print("  ", ", ".join(f"{word} ({seen[index]})" for word, index in zip(translation, best, strict=False)))


def main(arguments=None):
    args = options(
        __doc__, arguments, pairs=600, min_freq=1, epochs=8, batch_size=32, emb_dim=32, hid_dim=48, dropout=0.1,
        lr=0.005, clip=1.0,
    )  # fmt: skip
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    source, target, loader, pairs = load_data(args)
    attention = Attention(args.hid_dim, args.hid_dim)
    encoder = Encoder(len(source), args.emb_dim, args.hid_dim, args.hid_dim, args.dropout)
    decoder = Decoder(len(target), args.emb_dim, args.hid_dim, args.hid_dim, args.dropout, attention)
    model = Seq2Seq(encoder, decoder, PAD_IDX, device).to(device)
    model.apply(init_weights)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD_IDX)
    losses = []
    for epoch in range(args.epochs):
        losses.append(train(model, loader, optimizer, criterion, args.clip))
        print(f"epoch {epoch + 1:02}: loss {losses[-1]:.3f}, PPL {math.exp(losses[-1]):7.3f}")
    for src, trg in pairs[:3]:
        translation, attention = translate_sentence(model, src, source, target)
        print(">", " ".join(src))
        print("=", " ".join(trg))
        print("<", " ".join(translation))
        show_attention(src, translation, attention)
    return losses


if __name__ == "__main__":
    main()
