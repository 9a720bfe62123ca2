"""Translation character by character: one-hot letters, an LSTM whose last states start another one, greedy sampling.

In the style of Keras' example "Character-level recurrent sequence-to-sequence model", with PyTorch's modules; only the
import lines differ from a script for PyTorch.

    python docs/examples/characters.py
    python docs/examples/characters.py --data spa-eng.zip --pairs 10000 --max-length 40 --latent-dim 256 --epochs 100
"""

import numpy as np
from pairs import load_pairs, options

import minigrad as torch
from minigrad import nn, optim
from minigrad.utils.data import DataLoader, TensorDataset, random_split

START, STOP = "\t", "\n"
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


# %% One-hot characters
class Text:
    """The characters of one side, how long its longest text is, and whether blanks fill up the others in front."""

    def __init__(self, texts, in_front=False):
        self.texts = texts
        self.in_front = in_front
        self.characters = sorted({character for text in texts for character in text} | {" "})
        self.index = {character: i for i, character in enumerate(self.characters)}
        self.longest = max(map(len, texts))

    def one_hot(self, texts):
        """(texts, longest, characters) float32."""
        data = np.zeros((len(texts), self.longest, len(self.characters)), np.float32)
        for i, text in enumerate(texts):
            padded = text.rjust(self.longest) if self.in_front else text.ljust(self.longest)
            for t, character in enumerate(padded):
                data[i, t, self.index[character]] = 1
        return torch.from_numpy(data)


def prepare(args):
    pairs = [pair for pair in load_pairs(args) if len(pair[0]) <= args.max_length]
    source = Text([src.lower() for src, _ in pairs], in_front=True)  # the end of a text is what is read last
    target = Text([START + trg.lower() + STOP for _, trg in pairs])
    encoder_input, decoder_input = source.one_hot(source.texts), target.one_hot(target.texts)
    decoder_target = target.one_hot([text[1:] for text in target.texts]).argmax(2)  # one step ahead
    print(f"{len(pairs)} samples, {len(source.characters)} and {len(target.characters)} characters,")
    print(f"at most {source.longest} and {target.longest} of them in a text")
    return source, target, TensorDataset(encoder_input, decoder_input, decoder_target)


# %% The model
def start_as_keras(lstm):
    """Glorot's numbers from the input, orthogonal ones between the states, and forget gates that are open at first."""
    nn.init.xavier_uniform_(lstm.weight_ih_l0)
    nn.init.orthogonal_(lstm.weight_hh_l0)
    for bias, value in ((lstm.bias_ih_l0, 1.0), (lstm.bias_hh_l0, 0.0)):
        nn.init.zeros_(bias)
        nn.init.constant_(bias.data[lstm.hidden_size : 2 * lstm.hidden_size], value)
    return lstm


class Encoder(nn.Module):
    def __init__(self, num_tokens, latent_dim):
        super().__init__()
        self.lstm = start_as_keras(nn.LSTM(num_tokens, latent_dim, batch_first=True))

    def forward(self, inputs):
        _, states = self.lstm(inputs)  # the outputs are not needed
        return states


class Decoder(nn.Module):
    def __init__(self, num_tokens, latent_dim):
        super().__init__()
        self.lstm = start_as_keras(nn.LSTM(num_tokens, latent_dim, batch_first=True))
        self.dense = nn.Linear(latent_dim, num_tokens)

    def forward(self, inputs, states):
        outputs, states = self.lstm(inputs, states)
        return self.dense(outputs), states


# %% Training: the decoder is given the right characters
def loss_and_accuracy(encoder, decoder, batch, criterion):
    encoder_input, decoder_input, target = [tensor.to(device) for tensor in batch]
    logits, _ = decoder(decoder_input, encoder(encoder_input))
    right = (logits.argmax(-1) == target).float().mean()
    return criterion(logits.flatten(0, 1), target.flatten()), right.item()


def validate(encoder, decoder, dataset, args, criterion):
    """The mean loss of examples that are not trained on."""
    total = 0
    with torch.no_grad():
        for batch in DataLoader(dataset, args.batch_size):
            total += loss_and_accuracy(encoder, decoder, batch, criterion)[0].item() * len(batch[0])
    return total / len(dataset)


def train(encoder, decoder, dataset, held_out, args):
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer, criterion = optim.RMSprop(parameters, lr=args.lr), nn.CrossEntropyLoss()
    losses = []
    for epoch in range(args.epochs):
        total = right = 0
        for batch in DataLoader(dataset, args.batch_size, shuffle=True):
            loss, accuracy = loss_and_accuracy(encoder, decoder, batch, criterion)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch[0])
            right += accuracy * len(batch[0])
        losses.append(total / len(dataset))
        told = f"epoch {epoch + 1}: loss {losses[-1]:.4f}, accuracy {right / len(dataset):.4f}"
        if len(held_out):
            told += f", validation loss {validate(encoder, decoder, held_out, args, criterion):.4f}"
        print(told)
    return losses


# %% Sampling: each character is fed back, with the states that it led to
def decode_sequence(encoder, decoder, text, source, target):
    with torch.no_grad():
        states = encoder(source.one_hot([text]).to(device))
        character, decoded = START, ""
        while len(decoded) < target.longest:
            one = torch.zeros(1, 1, len(target.characters), device=device)
            one[0, 0, target.index[character]] = 1
            logits, states = decoder(one, states)
            character = target.characters[int(logits[0, -1].argmax())]
            if character == STOP:
                break
            decoded += character
    return decoded


def main(arguments=None):
    args = options(
        __doc__, arguments, pairs=3000, max_length=17, epochs=30, batch_size=32, latent_dim=128, lr=0.004,
        validation=0.2,
    )  # fmt: skip
    torch.manual_seed(args.seed)
    source, target, dataset = prepare(args)
    held_out = int(args.validation * len(dataset))
    trained_on, held_out = random_split(dataset, [len(dataset) - held_out, held_out])
    encoder = Encoder(len(source.characters), args.latent_dim).to(device)
    decoder = Decoder(len(target.characters), args.latent_dim).to(device)
    losses = train(encoder, decoder, trained_on, held_out, args)
    for text, wanted in list(zip(source.texts, target.texts, strict=True))[:4]:
        print("Input sentence:  ", text)
        print("Decoded sentence:", decode_sequence(encoder, decoder, text, source, target))
        print("Target sentence: ", wanted.strip())
    return losses


if __name__ == "__main__":
    main()
