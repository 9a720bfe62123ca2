"""A tape in forty lines: how a program that computes forward can be walked backward.

    python docs/tutorials/tape.py

The engine's own is minigrad/tape.py, described in docs/autograd.md. It is this one with what long programs need: it
does not recurse, frees what was used, and tells what is wrong.
"""

import numpy as np

import minigrad


# %% A number that remembers where it came from
class Var:
    """An array, and for each array that it was made of a function from its gradient to theirs."""

    def __init__(self, array, parents=()):
        self.array, self.parents, self.grad = np.asarray(array, float), parents, None

    def __add__(self, other):
        return Var(self.array + other.array, [(self, lambda g: g), (other, lambda g: g)])

    def __mul__(self, other):
        return Var(self.array * other.array, [(self, lambda g: g * other.array), (other, lambda g: g * self.array)])

    def __matmul__(self, other):
        return Var(self.array @ other.array, [(self, lambda g: g @ other.array.T), (other, lambda g: self.array.T @ g)])

    def tanh(self):
        y = np.tanh(self.array)
        return Var(y, [(self, lambda g: g * (1 - y**2))])

    def sum(self):
        return Var(self.array.sum(), [(self, lambda g: np.full_like(self.array, g))])

    # %% Backward: from the result, each thing once, and only when all that used it have had their say
    def backward(self):
        order, seen = [], set()

        def visit(var):
            if id(var) not in seen:
                seen.add(id(var))
                for parent, _ in var.parents:
                    visit(parent)
                order.append(var)  # after all that it was made of

        visit(self)
        self.grad = np.ones_like(self.array)
        for var in reversed(order):
            for parent, gradient_of in var.parents:
                more = gradient_of(var.grad)
                parent.grad = more if parent.grad is None else parent.grad + more  # used twice: both count


# %% A small network, in which w is used at each of three steps
rng = np.random.default_rng(0)
x_array, w_array = rng.normal(size=(5, 4)), rng.normal(size=(4, 4))


def network(x, w):
    h = x
    for _ in range(3):
        h = (h @ w).tanh()
    return (h * h).sum()


x, w = Var(x_array), Var(w_array)
loss = network(x, w)
loss.backward()
print(f"loss {float(loss.array):.6f}, the gradient of w begins with {w.grad[0].round(4)}")

# %% The engine runs the same lines, for its tensors have the same methods
x_tensor = minigrad.tensor(x_array, requires_grad=True)
w_tensor = minigrad.tensor(w_array, requires_grad=True)
network(x_tensor, w_tensor).backward()
np.testing.assert_allclose(w.grad, w_tensor.grad.numpy(), rtol=1e-10)
np.testing.assert_allclose(x.grad, x_tensor.grad.numpy(), rtol=1e-10)
print("minigrad's tape finds the same")


# %% Why the order matters: walked from parent to parent as they come, a thing hands on a part of its gradient, and is
# visited again for each way that leads to it: here 2 ** 12 times, where the tape goes 12 times
def ways(var):
    return 1 + sum(ways(parent) for parent, _ in var.parents)


h = Var(1.0)
for _ in range(12):
    h = h + h
h.backward()
print(f"12 doublings: {ways(h)} visits without an order, 13 with one")
assert ways(h) == 2**13 - 1
