"""Greedy and beam search of the JAX peer, compiled as a whole."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from peers.jax_layers import Drop, Params, embed, head, recurrent, step_all
from peers.problem import IMPOSSIBLE, SOS_ID, SPECIALS


def search(num_layers: int, params: Params, src: Any, lengths: Any, steps: int, beam_size: int) -> tuple[Any, Any]:
    """Parents and words, (steps,N,K) each; the first step has one beam."""
    count = src.shape[1]
    hidden = params["encoder.rnn.weight_hh_l0"].shape[1]
    zeros = jnp.zeros((num_layers, count, hidden), jnp.float32)
    going = (jnp.arange(len(src))[:, None] < lengths)[:, :, None]
    drop = Drop(None, 0.0)
    _, h, c = recurrent(params, "encoder", embed(params, "encoder", src), (zeros, zeros), going, drop)
    banned = jnp.zeros(params["decoder.fc_out.bias"].shape).at[jnp.array(SPECIALS)].set(IMPOSSIBLE)

    def advance(words: Any, scores: Any, h: Any, c: Any) -> Any:
        width = scores.shape[1]
        h, c, rows = step_all(params, "decoder", params["decoder.embedding.weight"][words.ravel()], h, c)
        totals = scores[:, :, None] + jax.nn.log_softmax(head(params, rows) + banned).reshape(count, width, -1)
        scores, parents, found = _best(totals, beam_size)
        chosen = (parents + jnp.arange(count)[:, None] * width).ravel()
        return (found, scores, h[:, chosen], c[:, chosen]), (parents, found)

    start = jnp.full((count, 1), SOS_ID), jnp.zeros((count, 1)), h, c
    carry, (parents, words) = advance(*start)
    _, (later_parents, later_words) = lax.scan(lambda state, _: advance(*state), carry, length=steps - 1)
    return jnp.concatenate([parents[None], later_parents]), jnp.concatenate([words[None], later_words])


def _best(totals: Any, beam_size: int) -> tuple[Any, Any, Any]:
    """Scores, parents and words (N,K) of the best continuations; the k best of every beam hold the k best of all."""
    if beam_size == 1:
        found = totals[:, 0].argmax(1)[:, None].astype(jnp.int32)
        return totals.max(2), jnp.zeros_like(found), found
    scores, words = lax.top_k(totals, beam_size)
    scores, best = lax.top_k(scores.reshape(len(totals), -1), beam_size)
    return scores, best // beam_size, jnp.take_along_axis(words.reshape(len(totals), -1), best, 1)
