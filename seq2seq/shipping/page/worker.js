// The worker: it is given the model once, then texts to translate, and answers line by line. It makes no request.
"use strict";

// The bytes that base64 stands for.
function decoded(base64) {
  const bytes = new Uint8Array((base64.length / 4) * 3), block = 1 << 20; // a whole number of groups of four
  let size = 0;
  for (let at = 0; at < base64.length; at += block) {
    const text = atob(base64.slice(at, at + block));
    for (let i = 0; i < text.length; i++) bytes[size++] = text.charCodeAt(i);
  }
  return bytes.buffer.slice(0, size);
}

// What translates: a model with the text on both sides of it.
function load(base64, rules) {
  const { config, text, weights } = readModel(decoded(base64)), known = text.src_vocabulary.tokens;
  const ids = new Map(known.map((word, id) => [word, id]).slice(EOS + 1)), words = text.trg_vocabulary.tokens;
  return {
    model: new Model({ config, weights }), source: tokenizer(rules.source), target: tokenizer(rules.target),
    known, ids, words, first: config.truncate_source || Infinity, reverses: Boolean(config.reverse_source),
    marks: { both: [[SOS], [EOS]], end: [[], [EOS]], none: [[], []] }[config.source_marks ?? "both"],
    most: text.max_output_length,
  };
}

// A line -> {text, source, target, alignments}: the translation, the tokens, how much a target looked at each source.
function translate({ model, most, first, reverses, marks, known, ids, words, source, target }, line, beam) {
  if (trimmed(line) === "") return { text: "", source: [], target: [], alignments: [] };
  const tokens = source.split(line).slice(0, first);
  if (reverses) tokens.reverse();
  const [before, behind] = marks, unsaid = (ids) => ids.map(() => "");
  const given = [...before, ...tokens.map((token) => ids.get(token) ?? UNK), ...behind];
  const places = [...unsaid(before), ...tokens, ...unsaid(behind)];
  const copies = given.map((id, s) => (id === UNK ? known.length + places.indexOf(places[s]) : id));
  const found = search(model, given, copies, beam, most);
  const out = found.ids.map((id) => words[id] ?? places[id - words.length]);
  return { text: target.join(out), source: places, target: out, alignments: found.alignments };
}

// A newer request ends an older one, which is looked for between two lines.
function answer(post) {
  let translator = null, latest = 0;
  return async ({ data }) => {
    try {
      if (data.kind === "load") {
        translator = load(data.model, data.rules);
        return post({ kind: "ready" });
      }
      latest = data.request;
      for (const [place, line] of data.lines.entries()) {
        post({ kind: "translated", request: data.request, place, ...translate(translator, line, data.beam) });
        await new Promise((resume) => setTimeout(resume));
        if (latest !== data.request) return undefined;
      }
      return post({ kind: "done", request: data.request });
    } catch (error) {
      return post({ kind: "failed", request: data.request, reason: String(error) });
    }
  };
}

self.onmessage = answer((message) => self.postMessage(message));
