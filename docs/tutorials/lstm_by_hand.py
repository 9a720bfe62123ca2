"""An LSTM by hand, in NumPy alone: a step forward, the chain rule backward, a proof that it is right, and a task.

    python docs/tutorials/lstm_by_hand.py

The task: read eight symbols, then say what the first was. A state must carry it past seven others, and the only way in
which the weights can find out is a gradient that comes back through all eight steps. The equations are those of
docs/lstm.md, under the same numbers.

T steps, N sequences, V symbols, H units.
"""

import numpy as np

import minigrad
from minigrad import nn

T, N, V, H = 8, 64, 4, 16
rng = np.random.default_rng(0)


# %% Forward: four gates of each step, and what the backward will want is kept
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forward(x, w):
    """Symbols x (T, N, V), each a row with a single 1 -> the last state h (N, H), and what each step kept."""
    h = c = np.zeros((x.shape[1], H))
    kept = []
    for x_t in x:
        a = x_t @ w["ih"].T + h @ w["hh"].T + w["b"]  # (1), i, f, g and o side by side
        i, f, g, o = np.split(a, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)  # (2)
        before, c = c, f * c + i * g  # (3)
        kept.append((x_t, h, before, c, i, f, g, o))
        h = o * np.tanh(c)  # (4)
    return h, kept


def loss_of(logits, y):
    """The mean of -log p of the right symbols y (N,), and its gradient for the logits (N, V)."""
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    right = np.arange(len(y)), y
    loss = -np.log(p[right]).mean()
    p[right] -= 1  # the famous "p minus one at the right place"
    return loss, p / len(y)


# %% Backward: the same lines from the last to the first, each turned around
def backward(dh, kept, w):
    """The gradients of the weights, from that of the last state."""
    dw = {name: np.zeros_like(w[name]) for name in ("ih", "hh", "b")}
    dc = np.zeros_like(dh)
    for x_t, h, before, c, i, f, g, o in reversed(kept):
        tanh_c = np.tanh(c)
        dc = dc + dh * o * (1 - tanh_c**2)  # (6): the cell is used by h, and by the cell of the next step
        da = np.concatenate([  # (5), (7), (8): s (1 - s) is the slope of a sigmoid that gave s
            dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g**2), dh * tanh_c * o * (1 - o),
        ], axis=1)  # fmt: skip
        dw["ih"] += da.T @ x_t
        dw["hh"] += da.T @ h
        dw["b"] += da.sum(0)
        dc = dc * f  # (9): through the forget gate alone, which is why it can remember
        dh = da @ w["hh"]  # (10)
    return dw


def loss_and_gradients(w, x, y):
    h, kept = forward(x, w)
    loss, dlogits = loss_of(h @ w["out"].T, y)
    return loss, backward(dlogits @ w["out"], kept, w) | {"out": dlogits.T @ h}


# %% Is it right? First proof: move the weights a little, and see whether the loss moves as the gradients say
def batch():
    symbols = rng.integers(V, size=(T, N))
    return np.eye(V)[symbols], symbols[0]


shapes = {"ih": (4 * H, V), "hh": (4 * H, H), "b": (4 * H,), "out": (V, H)}
weights = {name: rng.normal(scale=0.3, size=shape) for name, shape in shapes.items()}
x, y = batch()
_, gradients = loss_and_gradients(weights, x, y)
for name, gradient in gradients.items():
    direction, eps = rng.normal(size=gradient.shape), 1e-5
    up = loss_and_gradients(weights | {name: weights[name] + eps * direction}, x, y)[0]
    down = loss_and_gradients(weights | {name: weights[name] - eps * direction}, x, y)[0]
    expected, found = (up - down) / (2 * eps), (gradient * direction).sum()
    print(f"{name:>3}: the loss moves by {expected:+.8f}, the gradient says {found:+.8f}")
    assert abs(expected - found) < 1e-7 * max(1, abs(expected))

# %% Second proof: the layer of the engine, whose kernel does all steps in one call
rnn = nn.LSTM(V, H).double()
ours = {"weight_ih_l0": "ih", "weight_hh_l0": "hh", "bias_ih_l0": "b"}
rnn.load_state_dict({full: minigrad.tensor(weights[short]) for full, short in ours.items()}, strict=False)
rnn.bias_hh_l0.data.zero_()  # PyTorch's layout has two biases, of which one is enough
_, (h, _) = rnn(minigrad.tensor(x))
logits = h[0] @ minigrad.tensor(weights["out"]).T
nn.functional.cross_entropy(logits, minigrad.tensor(y)).backward()
for full, short in ours.items():
    np.testing.assert_allclose(getattr(rnn, full).grad.numpy(), gradients[short], rtol=1e-8, atol=1e-12)
print("nn.LSTM has the same gradients")

# %% The task: plain gradient descent with momentum
speed = {name: np.zeros(shape) for name, shape in shapes.items()}
for step in range(601):
    x, y = batch()
    loss, gradients = loss_and_gradients(weights, x, y)
    for name, gradient in gradients.items():
        speed[name] = 0.9 * speed[name] - 0.3 * gradient
        weights[name] = weights[name] + speed[name]
    if step % 100 == 0:
        print(f"step {step:3}: loss {loss:.3f}")

x, y = batch()
h, _ = forward(x, weights)
right = ((h @ weights["out"].T).argmax(1) == y).mean()
print(f"it remembers the first of {T} symbols in {right:.0%} of new sequences; guessing gives {1 / V:.0%}")
assert right > 0.95
