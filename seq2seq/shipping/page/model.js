// A model: what decode.py says in NumPy, file and layers, with the same names.
"use strict";

const UNK = 0, PAD = 1, SOS = 2, EOS = 3;
const NUMBERS = { F64: Float64Array, F32: Float32Array, F16: Uint16Array, I8: Int8Array };

// What 16 bits of IEEE 754 stand for.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return exponent ? sign * (1 + fraction / 1024) * 2 ** (exponent - 15) : sign * fraction * 2 ** -24;
}

// Settings, text and weights (float32, by name) of the bytes of a model file.
function readModel(buffer) {
  const end = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, end - 8)));
  const { config, text } = JSON.parse(header.__metadata__.minigrad), weights = {};
  const numbers = ({ dtype, data_offsets: [start, stop] }) => new NUMBERS[dtype](buffer.slice(end + start, end + stop));
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__" || name.endsWith(":scale")) continue;
    const [rows, columns = 1] = entry.shape, raw = numbers(entry), data = new Float32Array(raw);
    const scales = header[`${name}:scale`] && numbers(header[`${name}:scale`]);
    if (entry.dtype === "F16") for (let i = 0; i < raw.length; i++) data[i] = half(raw[i]);
    if (scales) for (let i = 0; i < raw.length; i++) data[i] *= scales[Math.floor(i / columns)];
    weights[name] = { data, rows, columns };
  }
  // A table that is shared is there once.
  const words = weights["decoder.embedding.weight"] ?? weights["encoder.embedding.weight"];
  return { config, text, weights: { "decoder.embedding.weight": words, "decoder.fc_out.weight": words, ...weights } };
}

// A decoder's state is a list of parts, each a list with an entry for each hypothesis, which no step changes.
class Model {
  constructor({ config, weights }) {
    this.w = weights;
    this.c = config;
    this.kind = config.decoder;
    this.feeds = this.kind === "bahdanau" || (this.kind !== "dot-attention" && Boolean(config.input_feeding));
    const chosen = ["lstm", "dot-attention"].includes(this.kind) ? "auto" : config.cell ?? "auto";
    this.cell = chosen !== "auto" ? chosen : this.kind === "gru-context" ? "gru" : "lstm";
    this.parts = this.cell === "lstm" ? 2 : 1; // of the state of a layer
  }

  linear(name, xs) {
    return product(xs, this.w[`${name}.weight`], this.w[`${name}.bias`]?.data);
  }

  norm(name, xs) {
    if (!this.w[`${name}.weight`]) return xs;
    const gain = this.w[`${name}.weight`].data, bias = this.w[`${name}.bias`].data;
    return xs.map((x) => {
      const mean = x.reduce((a, b) => a + b, 0) / x.length;
      const scale = 1 / Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length + 1e-5);
      return x.map((value, i) => (value - mean) * scale * gain[i] + bias[i]);
    });
  }

  // Rows of the embedding of a half.
  embedded(half, ids) {
    const table = this.w[`${half}.embedding.weight`];
    return ids.map((id) => rowsOf(table, id, id + 1).data);
  }

  // --- recurrent layers
  gates(name, suffix, xs) {
    return product(xs, this.w[`${name}.weight_ih${suffix}`], this.w[`${name}.bias_ih${suffix}`].data);
  }

  // One step from the gates (R, .) that the input makes, and h and of an LSTM c (R, H); to the next h and c.
  advance(cell, name, suffix, gates, [hs, cs]) {
    const u = this.w[`${name}.weight_hh${suffix}`], bias = this.w[`${name}.bias_hh${suffix}`].data, size = u.columns;
    if (cell === "lstm") {
      const sums = product(hs, u, bias), next = [[], []];
      sums.forEach((sum, r) => {
        const gate = (k, i) => gates[r][k * size + i] + sum[k * size + i];
        const c = cs[r].map((before, i) => sigmoid(gate(1, i)) * before + sigmoid(gate(0, i)) * Math.tanh(gate(2, i)));
        next[0].push(c.map((value, i) => sigmoid(gate(3, i)) * Math.tanh(value)));
        next[1].push(c);
      });
      return next;
    }
    const sums = product(hs, rowsOf(u, 0, 2 * size), bias);
    const gate = (r, k) => hs[r].map((_, i) => sigmoid(gates[r][k * size + i] + sums[r][k * size + i]));
    const resets = hs.map((_, r) => gate(r, 0)), acts = cell === "cho-gru"; // on h, or on the product
    const reset = acts ? hs.map((h, r) => h.map((value, i) => value * resets[r][i])) : hs;
    const made = product(reset, rowsOf(u, 2 * size, 3 * size), bias.subarray(2 * size));
    return [hs.map((h, r) => {
      const z = gate(r, 1);
      return h.map((before, i) => {
        const n = Math.tanh(gates[r][2 * size + i] + (acts ? 1 : resets[r][i]) * made[r][i]);
        return (1 - z[i]) * n + z[i] * before;
      });
    })];
  }

  // The names of a layer of a stack, which has a module for each layer where something is between them.
  layer(half, n) {
    const name = `${half}.rnn.layers.${n}`;
    return this.w[`${name}.weight_ih_l0`] ? [name, "_l0"] : [`${half}.rnn`, `_l${n}`];
  }

  between(half, n, xs, ys) {
    const normed = this.norm(`${half}.rnn.norms.${n}`, ys);
    const adds = this.c[half === "decoder" ? "decoder_residual" : "residual"] && xs[0].length === ys[0].length;
    return adds ? normed.map((y, r) => plus(xs[r], y)) : normed;
  }

  // Rows (R, .) through the layers of a decoder, from the states of each.
  stack(cell, xs, states) {
    const next = states.map((state, n) => {
      const [name, suffix] = this.layer("decoder", n);
      const after = this.advance(cell, name, suffix, this.gates(name, suffix, xs), state);
      xs = this.between("decoder", n, xs, after[0]);
      return after;
    });
    return [xs, next];
  }

  // All positions (S, .) through a layer of an encoder: h of each, the last h and c.
  pass(cell, name, suffix, xs) {
    const zero = [new Float32Array(this.c.hidden_size / (this.c.split_directions ? 2 : 1))], ys = [];
    let state = cell === "lstm" ? [zero, zero] : [zero];
    for (const gates of this.gates(name, suffix, xs)) {
      state = this.advance(cell, name, suffix, [gates], state);
      ys.push(state[0][0]);
    }
    return [ys, state];
  }

  recurrent(cell, both, xs) {
    const states = [], layers = this.c.num_layers;
    for (let n = 0; n < layers; n++) {
      if (n >= layers - (this.c.pyramid ?? 0)) xs = inPairs(xs);
      const [name, suffix] = this.layer("encoder", n);
      let [ys, last] = this.pass(cell, name, suffix, xs);
      if (both) {
        const [back, first] = this.pass(cell, name, `${suffix}_reverse`, [...xs].reverse());
        ys = ys.map((y, t) => joined(y, back[back.length - 1 - t]));
        last = last.map((part, k) => [joined(part[0], first[k][0])]);
      }
      xs = this.between("encoder", n, xs, ys);
      states.push(last);
    }
    return [xs, states];
  }

  // --- Transformer
  // The ids at some steps -> rows (T, E), with positions.
  placed(half, ids, steps) {
    const size = this.w[`${half}.embedding.weight`].columns, learned = this.w[`${half}.positions.learned.weight`];
    const wave = (step, i) => (i % 2 ? Math.cos : Math.sin)(step / 10000 ** ((i - (i % 2)) / size));
    return this.embedded(half, ids).map((row, t) => {
      const place = learned && rowsOf(learned, steps[t], steps[t] + 1).data;
      return row.map((x, i) => x * Math.sqrt(size) + (place ? place[i] : wave(steps[t], i)));
    });
  }

  // Of queries, keys and values (0, 1, 2) those asked for.
  project(name, xs, ...which) {
    const weight = this.w[`${name}.in_proj_weight`], bias = this.w[`${name}.in_proj_bias`].data, size = weight.columns;
    const part = (k) => [rowsOf(weight, k * size, (k + 1) * size), bias.subarray(k * size, (k + 1) * size)];
    return which.map((k) => product(xs, ...part(k)));
  }

  // Queries (R, E), of each a list of keys and of values (S, E) -> (R, E), and the alignments (R, S): means over heads.
  heads(name, queries, keys, values) {
    const count = this.c.num_heads, size = queries[0].length / count, alignments = [];
    const found = queries.map((query, r) => {
      const parts = [], mean = new Float32Array(keys[r].length);
      for (let first = 0; first < query.length; first += size) {
        const weights = softmax(Float32Array.from(keys[r], (key) => dot(query, key, first, size) / Math.sqrt(size)));
        parts.push(weighted(weights, values[r].map((value) => value.subarray(first, first + size))));
        weights.forEach((weight, s) => (mean[s] += weight / count));
      }
      alignments.push(mean);
      return joined(...parts);
    });
    return [this.linear(`${name}.out_proj`, found), alignments];
  }

  // A layer: attentions, then two linear layers, each added to what it reads.
  blocks(name, xs, ...attentions) {
    const activate = (row) => row.map(ACTIVATIONS[this.c.activation]);
    const feed = (ys) => this.linear(`${name}.linear2`, this.linear(`${name}.linear1`, ys).map(activate));
    [...attentions, feed].forEach((block, n) => {
      const norm = `${name}.norm${n + 1}`, add = (ys) => xs.map((x, r) => plus(x, ys[r]));
      xs = this.c.norm_first ? add(block(this.norm(norm, xs))) : this.norm(norm, add(block(xs)));
    });
    return xs;
  }

  layers(half) {
    return Array.from({ length: this.c.num_layers }, (_, n) => `${half}.layers.${n}`);
  }

  // --- what is kept of a source
  // ids (S,) -> outputs (S, D), and for each layer h and perhaps c (1, H).
  encode(ids) {
    const kind = this.c.encoder;
    let xs, states = [];
    if (kind === "transformer") {
      xs = this.placed("encoder", ids, ids.map((_, t) => t));
      for (const name of this.layers("encoder")) {
        xs = this.blocks(name, xs, (ys) => {
          const [queries, keys, values] = this.project(`${name}.self_attn`, ys, 0, 1, 2);
          return this.heads(`${name}.self_attn`, queries, ys.map(() => keys), ys.map(() => values))[0];
        });
      }
      xs = this.norm("encoder.norm", xs);
    } else {
      const both = kind.startsWith("bi");
      [xs, states] = this.recurrent(both ? kind.slice(2) : kind, both, this.embedded("encoder", ids));
    }
    return [xs, this.bridged(xs, states)];
  }

  bridged(xs, states) {
    const bridges = [0, 1].map((k) => `encoder.bridges.${k}`).filter((name) => this.w[`${name}.weight`]);
    if (!bridges.length) return states;
    const layers = this.c.num_layers, activate = ACTIVATIONS[this.c.bridge_activation ?? "tanh"];
    const made = (name, rows) => this.linear(name, rows).map((row) => row.map(activate));
    if (states.length) {
      const read = this.c.bridge_top ? states.map(() => states[layers - 1].slice(0, 1)) : states;
      return read.map((two) => bridges.map((name, k) => made(name, two[k] ?? two[two.length - 1])));
    }
    const whole = bridges.map((name) => made(name, [meanOf(xs)])[0]);
    const cut = (row, n) => row.subarray((n * row.length) / layers, ((n + 1) * row.length) / layers);
    return Array.from({ length: layers }, (_, n) => whole.map((row) => [cut(row, n)]));
  }

  // The state before the first token; `copies`: of each position the token that a copy of it is.
  start(ids, copies) {
    const [values, states] = this.encode(ids);
    this.values = values;
    this.copies = copies;
    if (this.kind === "transformer") {
      const xs = this.w["decoder.bridge.weight"] ? this.linear("decoder.bridge", values) : values;
      this.memory = this.layers("decoder").map((name) => this.project(`${name}.multihead_attn`, xs, 1, 2));
      return this.memory.flatMap(() => [[[]], [[]]]);
    }
    const made = () => [tanhOf(this.linear("decoder.initial", [meanOf(values)]))];
    const flat = this.kind === "conditional-gru" ? made() : states.flatMap((two) => two.slice(0, this.parts));
    if (this.kind === "gru-context") this.context = states[states.length - 1][0][0];
    if (["lstm", "gru-context"].includes(this.kind)) return flat;
    this.keys = this.w["decoder.attention.v"] ? this.linear("decoder.attention.key", values) : values;
    const nothing = [new Float32Array(values.length)];
    const size = (this.kind === "luong" ? flat[0][0] : values[0]).length; // it reads its features instead of contexts
    const first = { contexts: [new Float32Array(size)], coverage: nothing, alignments: nothing };
    const { contexts, coverage, alignments } = this.kind === "bahdanau" ? this.attend(flat[0], nothing) : first;
    return [...flat, coverage, contexts, alignments];
  }

  // From h (R, H): contexts (R, D), alignments (R, S), and the coverage (R, S) with these.
  attend(hs, coverage) {
    const [ask, v, covers] = ["query.weight", "v", "coverage"].map((name) => this.w[`decoder.attention.${name}`]);
    const isScaled = this.c.attention === "scaled" && this.kind !== "dot-attention";
    const queries = ask ? product(hs, ask) : hs, scale = isScaled ? Math.sqrt(hs[0].length) : 1;
    const additive = (r, key, s) => {
      const covered = covers ? coverage[r][s] : 0;
      return dot(v.data, key.map((k, i) => Math.tanh(queries[r][i] + k + (covers ? covered * covers.data[i] : 0))));
    };
    const score = v ? additive : (r, key) => dot(queries[r], key) / scale;
    const alignments = hs.map((_, r) => softmax(Float32Array.from(this.keys, (key, s) => score(r, key, s))));
    const contexts = alignments.map((weights) => weighted(weights, this.values));
    return { contexts, alignments, coverage: alignments.map((weights, r) => plus(coverage[r], weights)) };
  }

  // tokens (R,) -> log p (R, V), of a pointer-generator (R, V + S), the next state, and the alignments (R, S) or null.
  step(tokens, state) {
    const known = this.w["decoder.fc_out.weight"].rows, ids = tokens.map((token) => (token < known ? token : UNK));
    if (this.kind === "transformer") return this.stepOfTransformer(ids, state);
    const xs = this.embedded("decoder", ids), attends = !["lstm", "gru-context"].includes(this.kind);
    if (this.kind === "conditional-gru") return this.stepOfConditionalGRU(xs, state);
    if (attends) return this.stepWithAttention(xs, state);
    const contexts = xs.map(() => this.context ?? new Float32Array(0));
    const [ys, next] = this.stack(this.cell, xs.map((x, r) => joined(x, contexts[r])), this.byLayer(state));
    const features = this.kind === "lstm" ? ys : ys.map((y, r) => joined(xs[r], y, contexts[r]));
    return this.written(features, next.flat(), null);
  }

  written(features, state, alignments) {
    return { logProbs: this.linear("decoder.fc_out", features).map(logSoftmax), state, alignments };
  }

  byLayer(state) {
    const layers = Array.from({ length: state.length / this.parts }, (_, n) => n * this.parts);
    return layers.map((first) => state.slice(first, first + this.parts));
  }

  stepOfTransformer(ids, caches) {
    const at = caches[0][0].length, next = [];
    let xs = this.placed("decoder", ids, ids.map(() => at)), alignments = null;
    this.layers("decoder").forEach((name, n) => {
      const own = `${name}.self_attn`, other = `${name}.multihead_attn`, [keys, values] = this.memory[n];
      const toSteps = (ys) => {
        const [queries, ...made] = this.project(own, ys, 0, 1, 2);
        const both = made.map((part, k) => part.map((row, r) => [...caches[2 * n + k][r], row]));
        next.push(...both);
        return this.heads(own, queries, ...both)[0];
      };
      const toMemory = (ys) => {
        const [queries] = this.project(other, ys, 0);
        const [found, weights] = this.heads(other, queries, ys.map(() => keys), ys.map(() => values));
        alignments = weights; // those of the last layer stay
        return found;
      };
      xs = this.blocks(name, xs, toSteps, toMemory);
    });
    return this.written(this.norm("decoder.norm", xs), next, alignments);
  }

  stepOfConditionalGRU(xs, [hs, before]) {
    const cell = (name, rows, h) => this.advance("gru", name, "", this.gates(name, "", rows), [h])[0];
    const asks = cell("decoder.cells.0", xs, hs), { contexts, coverage, alignments } = this.attend(asks, before);
    const next = cell("decoder.cells.1", contexts, asks);
    const features = this.linear("decoder.combine", xs.map((x, r) => joined(contexts[r], next[r], x)));
    return this.written(tanhOf(features), [next, coverage], alignments);
  }

  stepWithAttention(xs, state) {
    const [coverage, before, beforeThat] = state.slice(-3), flat = state.slice(0, -3);
    let read = before, weights = beforeThat, tops, found, next; // as Bahdanau's decoder has them, of the state before
    if (this.feeds) {
      const gates = this.gates("decoder.attentive", "", xs.map((x, r) => joined(x, before[r])));
      const first = this.advance(this.cell, "decoder.attentive", "", gates, flat.slice(0, this.parts));
      found = this.attend(first[0], coverage);
      if (this.kind !== "bahdanau") [read, weights] = [found.contexts, found.alignments];
      const normed = this.norm("decoder.norm", first[0]), others = this.byLayer(flat.slice(this.parts));
      const [ys, after] = others.length
        ? this.stack(this.cell, normed.map((top, r) => joined(top, read[r])), others) : [normed, []];
      [tops, next] = [ys, [...first, ...after.flat()]];
    } else {
      const given = this.kind === "luong" ? xs.map((x, r) => joined(x, before[r])) : xs;
      const [ys, after] = this.stack(this.cell, given, this.byLayer(flat));
      found = this.attend(ys, coverage);
      [tops, next, read, weights] = [ys, after.flat(), found.contexts, found.alignments];
    }
    const both = tops.map((top, r) => joined(read[r], top));
    const features = this.w["decoder.combine.weight"] ? this.combined(both) : both.map((row, r) => joined(row, xs[r]));
    const after = [...next, found.coverage, this.kind === "luong" ? features : found.contexts, found.alignments];
    const step = this.written(features, after, weights);
    return this.kind === "pointer-generator" ? this.copied(step, both, xs) : step;
  }

  combined(both) {
    const found = this.linear("decoder.combine", both);
    return this.c.linear_features ? found : tanhOf(found);
  }

  // The same where words may also be copied from the source.
  copied(step, both, xs) {
    const writes = this.linear("decoder.generate", both.map((row, r) => joined(row, xs[r]))).map(([x]) => sigmoid(x));
    const logProbs = step.logProbs.map((logs, r) => {
      const p = new Float64Array(logs.length + this.copies.length);
      logs.forEach((log, token) => (p[token] = Math.exp(log) * writes[r]));
      this.copies.forEach((token, s) => (p[token] += step.alignments[r][s] * (1 - writes[r])));
      return p.map(Math.log);
    });
    return { ...step, logProbs };
  }
}

// Two positions side by side become one; the last of an odd number stands beside nothing.
function inPairs(xs) {
  const nothing = new Float32Array(xs[0].length);
  return xs.filter((_, t) => t % 2 === 0).map((x, n) => joined(x, xs[2 * n + 1] ?? nothing));
}

// The best hypothesis that a beam finds, by log p / length: its ids, and the alignment of each, <eos> among them.
function search(model, ids, copies, beam, most) {
  let state = model.start(ids, copies), going = [{ total: 0, ids: [SOS], alignments: [] }];
  let best = { score: -Infinity, ids: [SOS], alignments: [] };
  while (going.length) {
    const step = model.step(going.map((row) => row.ids[row.ids.length - 1]), state), parents = [], next = [];
    for (const { total, parent, token } of likeliest(going, step.logProbs, beam)) {
      const row = { total, ids: [...going[parent].ids, token], alignments: going[parent].alignments };
      if (step.alignments) row.alignments = [...row.alignments, step.alignments[parent]];
      if (token === EOS || row.ids.length > most) {
        const score = total / (row.ids.length - 1);
        if (score > best.score) best = { ...row, score };
      } else if (total > -Infinity) {
        next.push(row);
        parents.push(parent);
      }
    }
    going = next.length && best.score < Math.max(...next.map((row) => row.total)) / most ? next : [];
    state = step.state.map((part) => parents.map((r) => part[r]));
  }
  return { ids: best.ids.slice(1).filter((token) => token !== EOS), alignments: best.alignments };
}

// Of all extensions of the hypotheses the `beam` likeliest, best first, equal ones in order; never <pad> and <sos>.
function likeliest(going, logProbs, beam) {
  const found = [];
  logProbs.forEach((logs, parent) => {
    for (let token = 0; token < logs.length; token++) {
      const total = token === PAD || token === SOS ? -Infinity : going[parent].total + logs[token];
      if (found.length === beam && !(total > found[beam - 1].total)) continue;
      let at = found.length;
      while (at > 0 && total > found[at - 1].total) at--;
      found.splice(at, 0, { total, parent, token });
      if (found.length > beam) found.pop();
    }
  });
  return found;
}
