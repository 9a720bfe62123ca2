"""The layers of the JAX peer: dropout, a scan over time with its own gradient, stacking, one decoding step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Params = dict[str, Any]


class Drop:
    """Inverted dropout; every mask has a key of its own. Nothing is drawn where the probability is 0."""

    def __init__(self, key: Any, probability: float) -> None:
        self.key, self.keep = key, 1.0 - probability

    def mask(self, shape: tuple[int, ...]) -> Any:
        """Of 0 and 1 / keep."""
        if self.keep == 1:
            return jnp.ones(shape)
        self.key, own = jax.random.split(self.key)
        return jax.random.bernoulli(own, self.keep, shape) / self.keep

    def __call__(self, x: Any) -> Any:
        return x if self.keep == 1 else x * self.mask(x.shape).astype(x.dtype)

    def masks(self, embedded: tuple[int, ...], states: tuple[int, ...]) -> list[Any]:
        """For a loop over time: of the embeddings (T,N,E), and of the states between layers (T,N,H)."""
        between = (embedded[0], *states[1:])
        return [self.mask(embedded), *(self.mask(between) for _ in range(states[0] - 1))]


def embed(params: Params, side: str, ids: Any) -> Any:
    """Rows of the table, (T,N,E)."""
    return params[f"{side}.embedding.weight"][ids]


def head(params: Params, rows: Any) -> Any:
    """float32 logits (..., V)."""
    weight, bias = params["decoder.fc_out.weight"], params["decoder.fc_out.bias"]
    return product(rows, weight) + bias.astype(jnp.float32)


def product(x: Any, weight: Any) -> Any:
    """x W^T in the weights' precision, float32 out."""
    return jnp.matmul(x.astype(weight.dtype), weight.T, preferred_element_type=jnp.float32)


def _cell(gates_pre: Any, c_prev: Any) -> tuple[Any, Any]:
    i, f, g, o = jnp.split(gates_pre, 4, -1)
    c = jax.nn.sigmoid(f) * c_prev + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _forward(pre: Any, weight_hh: Any, h0: Any, c0: Any, going: Any) -> Any:
    """y, h_n, c_n of one layer from its input products (T,N,4H), and what its gradient needs."""

    def body(state: Any, step: Any) -> Any:
        h_prev, c_prev = state
        pre_t, going_t = step
        gates_pre = pre_t + product(h_prev, weight_hh)
        h, c = _cell(gates_pre, c_prev)
        h, c = jnp.where(going_t, h, h_prev), jnp.where(going_t, c, c_prev)
        return (h, c), (h, gates_pre, h_prev, c_prev)

    (h_n, c_n), (y, gates_pre, h_prev, c_prev) = lax.scan(body, (h0, c0), (pre, going))
    return (y, h_n, c_n), (gates_pre, h_prev, c_prev, weight_hh, going)


def _backward(cache: Any, grads: Any) -> Any:
    """Gradients of pre, weight_hh, h0, c0; weight_hh's is one product after the scan."""
    gates_pre, h_prev, c_prev, weight_hh, going = cache
    dy, dh_n, dc_n = grads

    def body(state: Any, step: Any) -> Any:
        dh, dc = state
        dy_t, gates_pre_t, c_prev_t, going_t = step
        dh = dh + dy_t
        pull = jax.vjp(_cell, gates_pre_t, c_prev_t)[1]
        dgates, dc_prev = pull((jnp.where(going_t, dh, 0), jnp.where(going_t, dc, 0)))
        dh_prev = product(dgates, weight_hh.T)
        return (jnp.where(going_t, dh_prev, dh), jnp.where(going_t, dc_prev, dc)), dgates

    (dh0, dc0), dgates = lax.scan(body, (dh_n, dc_n), (dy, gates_pre, c_prev, going), reverse=True)
    rows = dgates.reshape(-1, dgates.shape[-1]).astype(weight_hh.dtype)
    dweight = product(rows.T, h_prev.reshape(-1, h_prev.shape[-1]).astype(weight_hh.dtype).T)
    return dgates, dweight.astype(weight_hh.dtype), dh0, dc0, None


@jax.custom_vjp
def _layer(pre: Any, weight_hh: Any, h0: Any, c0: Any, going: Any) -> Any:
    return _forward(pre, weight_hh, h0, c0, going)[0]


_layer.defvjp(_forward, _backward)


def _bias(params: Params, name: str) -> Any:
    parts = params[name.replace("#", "bias_ih")], params[name.replace("#", "bias_hh")]
    return parts[0].astype(jnp.float32) + parts[1].astype(jnp.float32)


def recurrent(params: Params, side: str, x: Any, state: Any, going: Any, drop: Drop) -> Any:
    """The stack over whole sequences: outputs (T,N,H), h_n and c_n (L,N,H). ``going`` (T,N or 1,1) holds states."""
    ends = []
    for layer in range(len(state[0])):
        x = drop(x)
        name = f"{side}.rnn.#_l{layer}"
        flat = product(x.reshape(-1, x.shape[-1]), params[name.replace("#", "weight_ih")])
        pre = flat.reshape(*x.shape[:2], -1) + _bias(params, name)
        x, h, c = _layer(pre, params[name.replace("#", "weight_hh")], state[0][layer], state[1][layer], going)
        ends.append((h, c))
    return x, jnp.stack([h for h, _ in ends]), jnp.stack([c for _, c in ends])


def step_all(params: Params, side: str, x: Any, h: Any, c: Any, masks: Any = None) -> Any:
    """One step of the stack: next h and c (L,N,H), and the output (N,H)."""
    next_h, next_c = [], []
    for layer in range(len(h)):
        x = x if masks is None else x * masks[layer].astype(x.dtype)
        name = f"{side}.rnn.#_l{layer}"
        gates_pre = product(x, params[name.replace("#", "weight_ih")]) + _bias(params, name)
        x, cell = _cell(gates_pre + product(h[layer], params[name.replace("#", "weight_hh")]), c[layer])
        next_h.append(x)
        next_c.append(cell)
    return jnp.stack(next_h), jnp.stack(next_c), x
