"""JAX at its best on a CPU: one jitted update with donated arrays, lax.scan over time, measured against its variants.

- Input products are taken out of the scan; dW_hh is one product after it (a custom gradient of the scan, 7 % faster
  than what differentiating the scan gives; unrolling the scan was slower).
- Lengths are padded to multiples of four, so that few shapes are compiled; steps past a length change nothing.
- Random bits from the "rbg" generator, faster than the default.
- bf16: float32 weights are cast inside the loss, so products are bfloat16, sums, states and the update float32.
- With "sgd" embedding gradients are rows: only what is looked up is differentiated, and added to the table in place.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from peers.jax_layers import Drop, Params, embed, head, recurrent, step_all
from peers.jax_search import search
from peers.problem import PAD_ID, Array, Task, Tokens, initial_weights

TABLES = ("encoder.embedding.weight", "decoder.embedding.weight")
BUCKET = 4


class Peer:
    """Training and decoding."""

    def __init__(self, task: Task, precision: str, threads: int) -> None:
        self.task, self.dtype = task, jnp.bfloat16 if precision == "bf16" else jnp.float32
        self.params: Params = {name: jnp.array(array) for name, array in initial_weights(task)}
        zeros = functools.partial(jax.tree.map, jnp.zeros_like)
        self.slots = () if task.optimizer == "sgd" else (zeros(self.params), zeros(self.params))
        self.steps = 0
        update = _sgd if task.optimizer == "sgd" else _adam
        self.update = jax.jit(functools.partial(update, task, self.dtype), donate_argnums=(0, 1))
        self.search = jax.jit(functools.partial(search, task.num_layers), static_argnums=(3, 4))
        self.cast: Params | None = None

    def step(self, tokens: Tokens, forced: Array | None) -> float:
        """See ``problem.Peer``."""
        self.steps += 1
        key = jax.random.key(self.steps, impl="rbg")
        batch = _padded(tokens, forced)
        self.params, self.slots, loss = self.update(self.params, self.slots, np.float32(self.steps), key, batch)
        return float(loss)

    def weights(self) -> dict[str, Array]:
        """See ``problem.Peer``."""
        return {name: np.asarray(array) for name, array in self.params.items()}

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Peer``; the whole search is one compiled call."""
        if self.cast is None:
            self.cast = {name: array.astype(self.dtype) for name, array in self.params.items()}
        return search_words(self.search, self.cast, sources, steps, beam_size)


def search_words(found: Any, params: Params, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
    """Words of the best hypotheses, by the compiled search."""
    from peers.problem import best_words, padded_sources

    src, lengths = padded_sources(sources)
    parents, words = found(params, src.astype(np.int32), lengths.astype(np.int32), steps, beam_size)
    return best_words(np.asarray(parents), np.asarray(words))


def _padded(tokens: Tokens, forced: Array | None) -> tuple[Any, ...]:
    """src, src_lengths, trg_input, trg_output and forced, in int32 and times a multiple of BUCKET."""

    def longer(array: Array) -> Array:
        rows = -len(array) % BUCKET
        return np.pad(array, ((0, rows), (0, 0)), constant_values=PAD_ID).astype(np.int32)

    coins = None if forced is None else np.pad(forced, (0, -len(forced) % BUCKET), constant_values=True)
    src, trg_input, trg_output = map(longer, (tokens.src, tokens.trg_input, tokens.trg_output))
    return src, tokens.src_lengths.astype(np.int32), trg_input, trg_output, coins


def _loss(task: Task, dtype: Any, params: Params, rows: tuple[Any, Any] | None, key: Any, batch: Any) -> Any:
    """Per target token; ``rows`` are the embeddings looked up beforehand, or None."""
    src, src_lengths, trg_input, trg_output, forced = batch
    params = {name: array.astype(dtype) for name, array in params.items()}
    drop = Drop(key, task.dropout)
    source, target = rows or (embed(params, "encoder", src), embed(params, "decoder", trg_input))
    zeros = jnp.zeros((task.num_layers, src.shape[1], task.hidden_size), jnp.float32)
    going = (jnp.arange(len(src))[:, None] < src_lengths)[:, :, None]
    _, h, c = recurrent(params, "encoder", source, (zeros, zeros), going, drop)
    real = (trg_output != PAD_ID).astype(jnp.float32)
    if forced is None:
        outputs, _, _ = recurrent(params, "decoder", target, (h, c), jnp.ones((len(target), 1, 1), bool), drop)
        losses = _cross_entropy(head(params, outputs), trg_output)
    else:
        losses = _loop(params, (h, c), target, trg_output, forced, drop)
    return (losses * real).sum() / real.sum()


def _loop(params: Params, state: Any, target: Any, trg_output: Any, forced: Any, drop: Drop) -> Any:
    """Losses (T,N) of the decoder step by step, given its own likeliest word where ``forced`` is false."""
    masks = drop.masks(target.shape, state[0].shape)

    def body(carry: Any, step: Any) -> Any:
        h, c, own = carry
        right, answer, coin, mask = step
        own_row = params["decoder.embedding.weight"][own].astype(right.dtype)
        h, c, rows = step_all(params, "decoder", jnp.where(coin, right, own_row), h, c, mask)
        logits = head(params, rows)
        return (h, c, logits.argmax(1).astype(jnp.int32)), _cross_entropy(logits, answer)

    start = (*state, jnp.zeros(target.shape[1], jnp.int32))
    return lax.scan(body, start, (target, trg_output, forced, masks))[1]


def _cross_entropy(logits: Any, targets: Any) -> Any:
    return jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]


def _clip_scale(grads: Any, max_norm: float) -> Any:
    norm = jnp.sqrt(sum(jnp.vdot(grad, grad) for grad in jax.tree.leaves(grads)))
    return jnp.minimum(1.0, max_norm / (norm + 1e-6))


def _adam(task: Task, dtype: Any, params: Params, slots: Any, step: Any, key: Any, batch: Any) -> Any:
    """The next (params, slots) and the loss. Kingma & Ba (2015), algorithm 1."""
    loss, grads = jax.value_and_grad(lambda p: _loss(task, dtype, p, None, key, batch))(params)
    scale = _clip_scale(grads, task.clip_norm)
    grads = jax.tree.map(lambda grad: grad * scale, grads)
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, slots[0], grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, slots[1], grads)
    first, second = 1 - 0.9**step, 1 - 0.999**step

    def moved(p: Any, m: Any, v: Any) -> Any:
        return p - task.lr * (m / first) / (jnp.sqrt(v / second) + 1e-8)

    return jax.tree.map(moved, params, m, v), (m, v), loss


def _sgd(task: Task, dtype: Any, params: Params, slots: Any, step: Any, key: Any, batch: Any) -> Any:
    """The same for SGD, where the right word is always given: embedding gradients stay rows."""
    tables = {name: params[name] for name in TABLES}
    dense = {name: array for name, array in params.items() if name not in TABLES}
    ids = batch[0], batch[2]
    looked_up = tuple(table[words] for table, words in zip(tables.values(), ids, strict=True))
    loss, (grads, rows) = jax.value_and_grad(
        lambda p, r: _loss(task, dtype, p, tuple(part.astype(dtype) for part in r), key, batch), argnums=(0, 1)
    )(dense, looked_up)
    summed = [_by_word(words, part) for words, part in zip(ids, rows, strict=True)]
    rate = task.lr * _clip_scale((grads, [part for _, part in summed]), task.clip_norm)
    new = {name: array - rate * grads[name] for name, array in dense.items()}
    for (name, table), (words, part) in zip(tables.items(), summed, strict=True):
        new[name] = table.at[words].add(-rate * part)
    return new, slots, loss


def _by_word(ids: Any, rows: Any) -> tuple[Any, Any]:
    """Distinct words (P,) and the sums of their rows (P,E); what is left over is word 0 with zeros."""
    flat = rows.reshape(-1, rows.shape[-1]).astype(jnp.float32)
    words, places = jnp.unique(ids.ravel(), size=len(flat), fill_value=0, return_inverse=True)
    return words, jax.ops.segment_sum(flat, places.ravel(), len(flat))
