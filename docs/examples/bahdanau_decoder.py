"""Additive attention with a masked softmax, and the decoder that asks it at every step.

In the style of the chapter on attention in "Dive into Deep Learning" (d2l.ai), after Bahdanau et al., "Neural machine
translation by jointly learning to align and translate" (2015); only the import lines differ from a script for PyTorch.

    python docs/examples/bahdanau_decoder.py
    python docs/examples/bahdanau_decoder.py --data spa-eng.zip --pairs 20000 --num-hiddens 256 --epochs 30
"""

import collections
import math
import random

from pairs import load_pairs, options, plain_letters

import minigrad as torch
import minigrad.nn.functional as F
from minigrad import nn
from minigrad.optim import Adam
from minigrad.utils.data import DataLoader, TensorDataset

PAD, BOS, EOS, UNK = 0, 1, 2, 3
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


# %% Data: all sentences cut or padded to one length, with their valid lengths
class Vocab:
    def __init__(self, sentences, min_freq=1):
        counter = collections.Counter(token for tokens in sentences for token in tokens)
        kept = [token for token, count in counter.items() if count >= min_freq]
        self.idx_to_token = ["<pad>", "<bos>", "<eos>", "<unk>", *kept]
        self.token_to_idx = {token: idx for idx, token in enumerate(self.idx_to_token)}

    def __len__(self):
        return len(self.idx_to_token)

    def __getitem__(self, tokens):
        return [self.token_to_idx.get(token, UNK) for token in tokens]


def build_array(sentences, vocab, num_steps):
    rows = [([*vocab[tokens], EOS] + [PAD] * num_steps)[:num_steps] for tokens in sentences]
    array = torch.tensor(rows)
    return array, (array != PAD).sum(1)


def load_data(args):
    pairs = [(plain_letters(src).split(), plain_letters(trg).split()) for src, trg in load_pairs(args)]
    src_vocab = Vocab([src for src, _ in pairs], args.min_freq)
    tgt_vocab = Vocab([tgt for _, tgt in pairs], args.min_freq)
    src_array, src_valid_len = build_array([src for src, _ in pairs], src_vocab, args.num_steps)
    tgt_array, tgt_valid_len = build_array([tgt for _, tgt in pairs], tgt_vocab, args.num_steps)
    dataset = TensorDataset(src_array, src_valid_len, tgt_array, tgt_valid_len)
    print(f"{len(dataset)} pairs, {len(src_vocab)} and {len(tgt_vocab)} words")
    return DataLoader(dataset, args.batch_size, shuffle=True), src_vocab, tgt_vocab, pairs


# %% Attention
def masked_softmax(X, valid_lens):
    """Softmax over the last axis of (batch, queries, keys), 0 behind the valid lengths (batch,)."""
    if valid_lens is None:
        return F.softmax(X, dim=-1)
    shape = X.shape
    valid_lens = torch.repeat_interleave(valid_lens, shape[1])
    X = X.reshape(-1, shape[-1])
    mask = torch.arange(shape[-1], device=X.device)[None, :] < valid_lens[:, None]
    X = X.masked_fill(~mask, -1e6)
    return F.softmax(X.reshape(shape), dim=-1)


class AdditiveAttention(nn.Module):
    def __init__(self, key_size, query_size, num_hiddens, dropout):
        super().__init__()
        self.W_k = nn.Linear(key_size, num_hiddens, bias=False)
        self.W_q = nn.Linear(query_size, num_hiddens, bias=False)
        self.w_v = nn.Linear(num_hiddens, 1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries, keys, values, valid_lens):
        queries, keys = self.W_q(queries), self.W_k(keys)
        features = torch.tanh(queries.unsqueeze(2) + keys.unsqueeze(1))
        scores = self.w_v(features).squeeze(-1)
        self.attention_weights = masked_softmax(scores, valid_lens)
        return torch.bmm(self.dropout(self.attention_weights), values)


# %% Encoder and decoder
class Seq2SeqEncoder(nn.Module):
    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers, dropout=0.0):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = nn.GRU(embed_size, num_hiddens, num_layers, dropout=dropout)

    def forward(self, X):
        return self.rnn(self.embedding(X.t()))


class Seq2SeqAttentionDecoder(nn.Module):
    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers, dropout=0.0):
        super().__init__()
        self.attention = AdditiveAttention(num_hiddens, num_hiddens, num_hiddens, dropout)
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = nn.GRU(embed_size + num_hiddens, num_hiddens, num_layers, dropout=dropout)
        self.dense = nn.Linear(num_hiddens, vocab_size)

    def init_state(self, enc_outputs, enc_valid_lens):
        outputs, hidden_state = enc_outputs
        return outputs.permute(1, 0, 2), hidden_state, enc_valid_lens

    def forward(self, X, state):
        enc_outputs, hidden_state, enc_valid_lens = state
        outputs, self._attention_weights = [], []
        for x in self.embedding(X).permute(1, 0, 2):
            query = hidden_state[-1].unsqueeze(1)
            context = self.attention(query, enc_outputs, enc_outputs, enc_valid_lens)
            x = torch.cat((context, x.unsqueeze(1)), dim=-1)
            out, hidden_state = self.rnn(x.permute(1, 0, 2), hidden_state)
            outputs.append(out)
            self._attention_weights.append(self.attention.attention_weights)
        outputs = self.dense(torch.cat(outputs, dim=0))
        return outputs.permute(1, 0, 2), [enc_outputs, hidden_state, enc_valid_lens]

    @property
    def attention_weights(self):
        return self._attention_weights


class EncoderDecoder(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, enc_X, dec_X, enc_valid_lens):
        state = self.decoder.init_state(self.encoder(enc_X), enc_valid_lens)
        return self.decoder(dec_X, state)[0]


def init_seq2seq(module):
    if type(module) is nn.Linear:
        nn.init.xavier_uniform_(module.weight)
    if type(module) is nn.GRU:
        for name, param in module.named_parameters():
            if "weight" in name:
                nn.init.xavier_uniform_(param)


class MaskedSoftmaxCELoss(nn.CrossEntropyLoss):
    """Cross-entropy in which padding has no weight."""

    def forward(self, pred, label, valid_len):
        weights = (torch.arange(label.shape[1], device=label.device)[None, :] < valid_len[:, None]).float()
        losses = F.cross_entropy(pred.permute(0, 2, 1), label, reduction="none")
        return (losses * weights).mean(dim=1)


# %% Training, prediction, BLEU
def train_seq2seq(net, data_iter, lr, num_epochs):
    net.apply(init_seq2seq)
    net.to(device)
    optimizer, loss = Adam(net.parameters(), lr=lr), MaskedSoftmaxCELoss()
    net.train()
    per_token = []
    for epoch in range(num_epochs):
        total, tokens = 0.0, 0
        for batch in data_iter:
            optimizer.zero_grad()
            X, X_valid_len, Y, Y_valid_len = [x.to(device) for x in batch]
            bos = torch.full((len(Y), 1), BOS, device=device)
            dec_input = torch.cat([bos, Y[:, :-1]], dim=1)
            losses = loss(net(X, dec_input, X_valid_len), Y, Y_valid_len)
            losses.sum().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1)
            optimizer.step()
            total, tokens = total + losses.sum().item() * Y.shape[1], tokens + Y_valid_len.sum().item()
        per_token.append(total / tokens)
        print(f"epoch {epoch + 1}, loss per token {per_token[-1]:.3f}")
    return per_token


def predict(net, src_tokens, src_vocab, tgt_vocab, num_steps):
    """The likeliest token at each step, and (steps, source) the attention."""
    net.eval()
    X, valid_len = build_array([src_tokens], src_vocab, num_steps)
    tokens, weights = [], []
    with torch.no_grad():
        state = net.decoder.init_state(net.encoder(X.to(device)), valid_len.to(device))
        dec_X = torch.tensor([[BOS]], device=device)
        for _ in range(num_steps):
            Y, state = net.decoder(dec_X, state)
            dec_X = Y.argmax(dim=2)
            weights.append(net.decoder.attention_weights[0].reshape(-1))
            if dec_X.item() == EOS:
                break
            tokens.append(tgt_vocab.idx_to_token[dec_X.item()])
    return tokens, torch.stack(weights)


def bleu(pred, label, k=2):
    """BLEU of one sentence, without smoothing, of n-grams up to k."""
    if not pred:
        return 0.0
    score = math.exp(min(0, 1 - len(label) / len(pred)))
    for n in range(1, min(k, len(pred)) + 1):
        left = collections.Counter(tuple(label[i : i + n]) for i in range(len(label) - n + 1))
        grams = collections.Counter(tuple(pred[i : i + n]) for i in range(len(pred) - n + 1))
        score *= math.pow((grams & left).total() / grams.total(), math.pow(0.5, n))
    return score


def main(arguments=None):
    args = options(
        __doc__, arguments, pairs=600, min_freq=1, num_steps=9, epochs=10, batch_size=32, embed_size=32,
        num_hiddens=48, num_layers=2, dropout=0.1, lr=0.005,
    )  # fmt: skip
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    data_iter, src_vocab, tgt_vocab, pairs = load_data(args)
    sizes = args.embed_size, args.num_hiddens, args.num_layers, args.dropout
    net = EncoderDecoder(Seq2SeqEncoder(len(src_vocab), *sizes), Seq2SeqAttentionDecoder(len(tgt_vocab), *sizes))
    losses = train_seq2seq(net, data_iter, args.lr, args.epochs)
    for src, tgt in pairs[:4]:
        translation, weights = predict(net, src, src_vocab, tgt_vocab, args.num_steps)
        print(f"{' '.join(src)} => {' '.join(translation)}, bleu {bleu(translation, tgt):.3f}")
        assert weights.shape[1] == args.num_steps
    return losses


if __name__ == "__main__":
    main()
