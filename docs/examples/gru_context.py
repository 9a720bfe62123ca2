"""A GRU that sees the sentence's vector at every step, and so need not keep it in its own state.

In the style of the second of Ben Trevett's notebooks on sequence-to-sequence learning, after Cho et al., "Learning
phrase representations using RNN encoder-decoder for statistical machine translation" (2014); only the import lines
differ from a script for PyTorch.

    python docs/examples/gru_context.py
    python docs/examples/gru_context.py --data multi30k --languages de en --pairs 29000 --emb-dim 256 --hid-dim 512
"""

import math
import random

from pairs import Vocabulary, load_pairs, options, tokenize

import minigrad as torch
from minigrad import nn, optim
from minigrad.nn.utils.rnn import pad_sequence
from minigrad.utils.data import DataLoader, random_split

PAD_IDX, SOS_IDX = 1, 2
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


# %% Data
def load_data(args):
    pairs = [(tokenize(src), tokenize(trg)) for src, trg in load_pairs(args, reverse=not args.data)]
    source = Vocabulary((src for src, _ in pairs), args.min_freq)
    target = Vocabulary((trg for _, trg in pairs), args.min_freq)
    numbers = [(torch.tensor(source.encode(src)), torch.tensor(target.encode(trg))) for src, trg in pairs]
    generator = torch.Generator().manual_seed(args.seed)
    train_data, valid_data = random_split(numbers, [0.9, 0.1], generator=generator)
    print(f"{len(train_data)} pairs to train on; {len(source)} and {len(target)} words")
    train_loader = DataLoader(train_data, args.batch_size, shuffle=True, collate_fn=collate, generator=generator)
    return source, target, train_loader, DataLoader(valid_data, args.batch_size, collate_fn=collate), pairs


def collate(batch):
    src = pad_sequence([src for src, _ in batch], padding_value=PAD_IDX)
    trg = pad_sequence([trg for _, trg in batch], padding_value=PAD_IDX)
    return src.to(device), trg.to(device)


# %% The model
class Encoder(nn.Module):
    def __init__(self, input_dim, emb_dim, hid_dim, dropout):
        super().__init__()
        self.embedding = nn.Embedding(input_dim, emb_dim)
        self.rnn = nn.GRU(emb_dim, hid_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, src):
        embedded = self.dropout(self.embedding(src))
        _outputs, hidden = self.rnn(embedded)
        return hidden


class Decoder(nn.Module):
    def __init__(self, output_dim, emb_dim, hid_dim, dropout):
        super().__init__()
        self.output_dim = output_dim
        self.embedding = nn.Embedding(output_dim, emb_dim)
        self.rnn = nn.GRU(emb_dim + hid_dim, hid_dim)
        self.fc_out = nn.Linear(emb_dim + hid_dim * 2, output_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input, hidden, context):
        embedded = self.dropout(self.embedding(input.unsqueeze(0)))
        _output, hidden = self.rnn(torch.cat((embedded, context), dim=2), hidden)
        seen = torch.cat((embedded.squeeze(0), hidden.squeeze(0), context.squeeze(0)), dim=1)
        return self.fc_out(seen), hidden


class Seq2Seq(nn.Module):
    def __init__(self, encoder, decoder, device):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.device = device

    def forward(self, src, trg, teacher_forcing_ratio=0.5):
        batch_size, trg_len = trg.shape[1], trg.shape[0]
        outputs = torch.zeros(trg_len, batch_size, self.decoder.output_dim).to(self.device)
        context = self.encoder(src)
        hidden = context
        input = trg[0, :]
        for t in range(1, trg_len):
            output, hidden = self.decoder(input, hidden, context)
            outputs[t] = output
            teacher_force = random.random() < teacher_forcing_ratio
            input = trg[t] if teacher_force else output.argmax(1)
        return outputs


def init_weights(m):
    for _name, param in m.named_parameters():
        nn.init.normal_(param.data, mean=0, std=0.1)


# %% Training
def run_epoch(model, loader, criterion, optimizer=None, clip=1.0):
    """The mean loss; trained on the way if there is an optimiser, else with the model's own words."""
    model.train(optimizer is not None)
    epoch_loss = 0
    for src, trg in loader:
        with torch.set_grad_enabled(optimizer is not None):
            output = model(src, trg, 0.5 if optimizer is not None else 0)
            loss = criterion(output[1:].view(-1, output.shape[-1]), trg[1:].view(-1))
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        epoch_loss += loss.item()
    return epoch_loss / len(loader)


def translate(model, words, source, target, max_len=20):
    model.eval()
    with torch.no_grad():
        context = model.encoder(torch.LongTensor(source.encode(words)).unsqueeze(1).to(device))
        hidden, ids = context, [SOS_IDX]
        for _ in range(max_len):
            output, hidden = model.decoder(torch.LongTensor([ids[-1]]).to(device), hidden, context)
            ids.append(output.argmax(1).item())
    return target.decode(ids[1:])


def main(arguments=None):
    args = options(
        __doc__, arguments, pairs=600, min_freq=1, epochs=10, batch_size=32, emb_dim=32, hid_dim=64, dropout=0.1,
        lr=0.01, clip=1.0,
    )  # fmt: skip
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    source, target, train_loader, valid_loader, pairs = load_data(args)
    encoder = Encoder(len(source), args.emb_dim, args.hid_dim, args.dropout)
    decoder = Decoder(len(target), args.emb_dim, args.hid_dim, args.dropout)
    model = Seq2Seq(encoder, decoder, device).to(device)
    model.apply(init_weights)
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD_IDX)
    losses = []
    for epoch in range(args.epochs):
        losses.append(run_epoch(model, train_loader, criterion, optimizer, args.clip))
        valid_loss = run_epoch(model, valid_loader, criterion)
        print(f"epoch {epoch + 1:02}: train PPL {math.exp(losses[-1]):7.3f}, valid PPL {math.exp(valid_loss):7.3f}")
    for src, trg in pairs[:3]:
        print(">", " ".join(src))
        print("=", " ".join(trg))
        print("<", " ".join(translate(model, src, source, target)))
    return losses


if __name__ == "__main__":
    main()
