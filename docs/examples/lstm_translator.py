"""Sequence to sequence with LSTMs: the encoder's last states are all that the decoder knows of a sentence.

In the style of the first of Ben Trevett's notebooks on sequence-to-sequence learning, after Sutskever et al., "Sequence
to sequence learning with neural networks" (2014); only the import lines differ from a script for PyTorch.

    python docs/examples/lstm_translator.py
    python docs/examples/lstm_translator.py --data multi30k --languages de en --pairs 29000 --emb-dim 256 \
        --hid-dim 512 --dropout 0.5 --init 0.08 --lr 0.001 --min-freq 2 --batch-size 128
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


# %% Data: German is read backwards, as in the paper, so that the first words of both sides are close
def load_data(args):
    pairs = [(tokenize(src)[::-1], tokenize(trg)) for src, trg in load_pairs(args, reverse=not args.data)]
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
    def __init__(self, input_dim, emb_dim, hid_dim, n_layers, dropout):
        super().__init__()
        self.embedding = nn.Embedding(input_dim, emb_dim)
        self.rnn = nn.LSTM(emb_dim, hid_dim, n_layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, src):
        embedded = self.dropout(self.embedding(src))
        _outputs, (hidden, cell) = self.rnn(embedded)
        return hidden, cell


class Decoder(nn.Module):
    def __init__(self, output_dim, emb_dim, hid_dim, n_layers, dropout):
        super().__init__()
        self.output_dim = output_dim
        self.embedding = nn.Embedding(output_dim, emb_dim)
        self.rnn = nn.LSTM(emb_dim, hid_dim, n_layers, dropout=dropout)
        self.fc_out = nn.Linear(hid_dim, output_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input, hidden, cell):
        input = input.unsqueeze(0)
        embedded = self.dropout(self.embedding(input))
        output, (hidden, cell) = self.rnn(embedded, (hidden, cell))
        prediction = self.fc_out(output.squeeze(0))
        return prediction, hidden, cell


class Seq2Seq(nn.Module):
    def __init__(self, encoder, decoder, device):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.device = device

    def forward(self, src, trg, teacher_forcing_ratio=0.5):
        trg_len, batch_size = trg.shape
        outputs = torch.zeros(trg_len, batch_size, self.decoder.output_dim).to(self.device)
        hidden, cell = self.encoder(src)
        input = trg[0, :]
        for t in range(1, trg_len):
            output, hidden, cell = self.decoder(input, hidden, cell)
            outputs[t] = output
            teacher_force = random.random() < teacher_forcing_ratio
            top1 = output.argmax(1)
            input = trg[t] if teacher_force else top1
        return outputs


def init_weights(m, bound):
    for _name, param in m.named_parameters():
        nn.init.uniform_(param.data, -bound, bound)


# %% Training
def train(model, loader, optimizer, criterion, clip):
    model.train()
    epoch_loss = 0
    for src, trg in loader:
        optimizer.zero_grad()
        output = model(src, trg)
        output_dim = output.shape[-1]
        loss = criterion(output[1:].view(-1, output_dim), trg[1:].view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        epoch_loss += loss.item()
    return epoch_loss / len(loader)


def evaluate(model, loader, criterion):
    model.eval()
    epoch_loss = 0
    with torch.no_grad():
        for src, trg in loader:
            output = model(src, trg, 0)  # the model's own words
            output_dim = output.shape[-1]
            epoch_loss += criterion(output[1:].view(-1, output_dim), trg[1:].view(-1)).item()
    return epoch_loss / len(loader)


def translate(model, words, source, target, max_len=20):
    model.eval()
    src = torch.LongTensor(source.encode(words)).unsqueeze(1).to(device)
    with torch.no_grad():
        hidden, cell = model.encoder(src)
        ids = [SOS_IDX]
        for _ in range(max_len):
            output, hidden, cell = model.decoder(torch.LongTensor([ids[-1]]).to(device), hidden, cell)
            ids.append(output.argmax(1).item())
    return target.decode(ids[1:])


def main(arguments=None):
    args = options(
        __doc__, arguments, pairs=1500, min_freq=1, epochs=12, batch_size=32, emb_dim=32, hid_dim=96, n_layers=2,
        dropout=0.1, init=0.2, lr=0.005, clip=1.0,
    )  # fmt: skip
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.deterministic = True
    source, target, train_loader, valid_loader, pairs = load_data(args)
    encoder = Encoder(len(source), args.emb_dim, args.hid_dim, args.n_layers, args.dropout)
    decoder = Decoder(len(target), args.emb_dim, args.hid_dim, args.n_layers, args.dropout)
    model = Seq2Seq(encoder, decoder, device).to(device)
    model.apply(lambda m: init_weights(m, args.init))
    print(f"{sum(p.numel() for p in model.parameters() if p.requires_grad):,} trainable parameters")
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD_IDX)
    losses, best_valid_loss, best = [], float("inf"), None
    for epoch in range(args.epochs):
        train_loss = train(model, train_loader, optimizer, criterion, args.clip)
        valid_loss = evaluate(model, valid_loader, criterion)
        losses.append(train_loss)
        if valid_loss < best_valid_loss:
            best_valid_loss = valid_loss
            best = {name: value.clone() for name, value in model.state_dict().items()}
        print(f"epoch {epoch + 1:02}: train PPL {math.exp(train_loss):7.3f}, valid PPL {math.exp(valid_loss):7.3f}")
    model.load_state_dict(best)
    for src, trg in pairs[:3]:
        print(">", " ".join(src[::-1]))
        print("=", " ".join(trg))
        print("<", " ".join(translate(model, src, source, target)))
    return losses


if __name__ == "__main__":
    main()
