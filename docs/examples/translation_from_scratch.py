"""Translation from scratch: a GRU reads a sentence, another one writes it in a second language, attending to the first.

In the style of PyTorch's tutorial "NLP from scratch: translation with a sequence to sequence network and attention";
only the import lines differ from a script for PyTorch.

    python docs/examples/translation_from_scratch.py
    python docs/examples/translation_from_scratch.py --data spa-eng.zip --pairs 20000 --hidden-size 128 --epochs 40
"""

import random
import time

import numpy as np
from pairs import load_pairs, options, plain_letters

import minigrad as torch
import minigrad.nn.functional as F
from minigrad import nn, optim
from minigrad.utils.data import DataLoader, RandomSampler, TensorDataset

SOS_TOKEN, EOS_TOKEN, PAD_TOKEN = 0, 1, 2
MAX_LENGTH = 12

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


# %% Words become numbers
class Lang:
    def __init__(self, name):
        self.name = name
        self.word2index = {}
        self.index2word = {SOS_TOKEN: "SOS", EOS_TOKEN: "EOS", PAD_TOKEN: "PAD"}
        self.n_words = 3

    def add_sentence(self, sentence):
        for word in sentence.split():
            if word not in self.word2index:
                self.word2index[word] = self.n_words
                self.index2word[self.n_words] = word
                self.n_words += 1

    def indexes(self, sentence):
        return [self.word2index[word] for word in sentence.split()] + [EOS_TOKEN]


def prepare_data(args):
    """Two languages, and the pairs that are short enough; from the second language of the data to the first."""
    pairs = [(plain_letters(src), plain_letters(trg)) for src, trg in load_pairs(args, reverse=True)]
    pairs = [pair for pair in pairs if all(0 < len(side.split()) < MAX_LENGTH for side in pair)]
    input_lang, output_lang = Lang("input"), Lang("output")
    for src, trg in pairs:
        input_lang.add_sentence(src)
        output_lang.add_sentence(trg)
    print(f"{len(pairs)} pairs, {input_lang.n_words} and {output_lang.n_words} words")
    return input_lang, output_lang, pairs


def get_dataloader(input_lang, output_lang, pairs, batch_size):
    input_ids = np.full((len(pairs), MAX_LENGTH), PAD_TOKEN)
    target_ids = np.full((len(pairs), MAX_LENGTH), PAD_TOKEN)
    for row, (src, trg) in enumerate(pairs):
        ids = input_lang.indexes(src)
        input_ids[row, : len(ids)] = ids
        ids = output_lang.indexes(trg)
        target_ids[row, : len(ids)] = ids
    data = TensorDataset(torch.LongTensor(input_ids).to(device), torch.LongTensor(target_ids).to(device))
    return DataLoader(data, sampler=RandomSampler(data), batch_size=batch_size)


# %% The model
class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size, dropout_p=0.1):
        super().__init__()
        self.embedding = nn.Embedding(input_size, hidden_size, padding_idx=PAD_TOKEN)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, input):
        embedded = self.dropout(self.embedding(input))
        output, hidden = self.gru(embedded)
        return output, hidden


class BahdanauAttention(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.Wa = nn.Linear(hidden_size, hidden_size)
        self.Ua = nn.Linear(hidden_size, hidden_size)
        self.Va = nn.Linear(hidden_size, 1)

    def forward(self, query, keys):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys)))
        scores = scores.squeeze(2).unsqueeze(1)
        weights = F.softmax(scores, dim=-1)
        context = torch.bmm(weights, keys)
        return context, weights


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size, dropout_p=0.1):
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attention = BahdanauAttention(hidden_size)
        self.gru = nn.GRU(2 * hidden_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, output_size)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, encoder_outputs, encoder_hidden, target_tensor=None):
        """Log-probabilities of every step. With a target each step is given the right word, else the likeliest."""
        batch_size = encoder_outputs.size(0)
        decoder_input = torch.empty(batch_size, 1, dtype=torch.long, device=device).fill_(SOS_TOKEN)
        decoder_hidden = encoder_hidden
        decoder_outputs, attentions = [], []
        for i in range(MAX_LENGTH):
            output, decoder_hidden, weights = self.forward_step(decoder_input, decoder_hidden, encoder_outputs)
            decoder_outputs.append(output)
            attentions.append(weights)
            if target_tensor is not None:
                decoder_input = target_tensor[:, i].unsqueeze(1)
            else:
                _, topi = output.topk(1)
                decoder_input = topi.squeeze(-1).detach()
        decoder_outputs = F.log_softmax(torch.cat(decoder_outputs, dim=1), dim=-1)
        return decoder_outputs, decoder_hidden, torch.cat(attentions, dim=1)

    def forward_step(self, input, hidden, encoder_outputs):
        embedded = self.dropout(self.embedding(input))
        query = hidden.permute(1, 0, 2)
        context, weights = self.attention(query, encoder_outputs)
        output, hidden = self.gru(torch.cat((embedded, context), dim=2), hidden)
        return self.out(output), hidden, weights


# %% Training
def train_epoch(dataloader, encoder, decoder, encoder_optimizer, decoder_optimizer, criterion):
    total_loss = 0
    for input_tensor, target_tensor in dataloader:
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        encoder_outputs, encoder_hidden = encoder(input_tensor)
        decoder_outputs, _, _ = decoder(encoder_outputs, encoder_hidden, target_tensor)
        loss = criterion(decoder_outputs.view(-1, decoder_outputs.size(-1)), target_tensor.view(-1))
        loss.backward()
        encoder_optimizer.step()
        decoder_optimizer.step()
        total_loss += loss.item()
    return total_loss / len(dataloader)


def train(dataloader, encoder, decoder, n_epochs, learning_rate):
    start = time.time()
    losses = []
    encoder_optimizer = optim.Adam(encoder.parameters(), lr=learning_rate)
    decoder_optimizer = optim.Adam(decoder.parameters(), lr=learning_rate)
    criterion = nn.NLLLoss(ignore_index=PAD_TOKEN)
    for epoch in range(1, n_epochs + 1):
        loss = train_epoch(dataloader, encoder, decoder, encoder_optimizer, decoder_optimizer, criterion)
        losses.append(loss)
        print(f"epoch {epoch} of {n_epochs}, {time.time() - start:.0f} s, loss {loss:.4f}")
    return losses


# %% What it has learnt
def evaluate(encoder, decoder, sentence, input_lang, output_lang):
    with torch.no_grad():
        input_tensor = torch.tensor(input_lang.indexes(sentence), dtype=torch.long, device=device).view(1, -1)
        encoder_outputs, encoder_hidden = encoder(input_tensor)
        decoder_outputs, _, attentions = decoder(encoder_outputs, encoder_hidden)
        _, topi = decoder_outputs.topk(1)
        words = []
        for index in topi.view(-1).tolist():
            if index == EOS_TOKEN:
                break
            words.append(output_lang.index2word[index])
    return words, attentions


def evaluate_randomly(encoder, decoder, pairs, input_lang, output_lang, n=4):
    for src, trg in random.sample(pairs, min(n, len(pairs))):
        words, _ = evaluate(encoder, decoder, src, input_lang, output_lang)
        print(">", src)
        print("=", trg)
        print("<", " ".join(words))


def main(arguments=None):
    args = options(
        __doc__, arguments, pairs=600, epochs=8, hidden_size=48, batch_size=32, lr=0.005,
    )  # fmt: skip
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    input_lang, output_lang, pairs = prepare_data(args)
    dataloader = get_dataloader(input_lang, output_lang, pairs, args.batch_size)
    encoder = EncoderRNN(input_lang.n_words, args.hidden_size).to(device)
    decoder = AttnDecoderRNN(args.hidden_size, output_lang.n_words).to(device)
    losses = train(dataloader, encoder, decoder, args.epochs, args.lr)
    encoder.eval()
    decoder.eval()
    evaluate_randomly(encoder, decoder, pairs, input_lang, output_lang)
    return losses


if __name__ == "__main__":
    main()
