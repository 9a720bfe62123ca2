"""Is a gradient right? Finite differences, what they can see, and what they cannot.

    python docs/tutorials/gradient_check.py

Every gradient of this project is held against them. They know nothing of the chain rule, so a mistake in a derivation
cannot be in both.
"""

import numpy as np

import minigrad
from minigrad import Function, nn
from minigrad.gradcheck import GradcheckError, gradcheck

rng = np.random.default_rng(0)

# %% A function and its gradient: the length of tanh(W x)
W, x = rng.normal(size=(6, 5)), rng.normal(size=5)


def f(x):
    return np.linalg.norm(np.tanh(W @ x))


def gradient(x):
    y = np.tanh(W @ x)
    return W.T @ (y / np.linalg.norm(y) * (1 - y**2))


# %% One direction instead of five: a wrong entry shows in nearly every direction, and a model of a million weights
# costs two evaluations
direction = rng.normal(size=5)
right = gradient(x) @ direction
print("    eps   error in float64   error in float32")
errors = {}
for power in range(1, 12):
    eps = 10.0**-power
    central = (f(x + eps * direction) - f(x - eps * direction)) / (2 * eps)
    single = np.float32(f(np.float32(x + eps * direction))) - np.float32(f(np.float32(x - eps * direction)))
    errors[power] = abs(central - right) / abs(right)
    print(f"  1e-{power:02d}   {errors[power]:16.1e}   {abs(single / (2 * eps) - right) / abs(right):16.1e}")

# Left, eps is too large: the curve is no line there, and the error falls with eps squared. Right, it is too small: the
# difference of two numbers that agree in eleven digits has five left. Between lies 1e-5, which leaves nine right digits
# in float64; in float32 there are never more than four. So gradients are checked in float64.
assert errors[5] < 1e-9 < min(errors[1], errors[11])

# %% The engine's checker: any function of tensors, every input by itself
a = minigrad.tensor(W, requires_grad=True)
b = minigrad.tensor(rng.normal(size=(5, 3)), requires_grad=True)
print(gradcheck(lambda a, b: (a @ b).tanh(), [a, b], names=["a", "b"]))


# %% It must fail on a wrong one, else it proves nothing. Here the slope of tanh lost its square
class WrongTanh(Function):
    @staticmethod
    def forward(ctx, x):
        y = np.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved
        return dy * (1 - y)


vector = minigrad.tensor(x, requires_grad=True)
try:
    gradcheck(WrongTanh.apply, vector)
except GradcheckError as error:
    print(error)
else:
    raise AssertionError("a wrong gradient was taken for a right one")

# %% What it cannot see: at its kink a relu has a slope on the left, 0, and one on the right, 1; the difference has the
# mean of both, and no gradient is wrong for being another
kinked = minigrad.tensor([0.0, 1.0, -1.0], dtype=minigrad.double, requires_grad=True)
report = gradcheck(nn.functional.relu, kinked, raise_exception=False)
print("at a kink the check", "passes" if report else "fails, and the gradient is right nevertheless")
