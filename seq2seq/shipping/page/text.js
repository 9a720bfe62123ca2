// Sentences to tokens and back, by the rules that text_rules.py wrote down at export. Whitespace is Python's, not quite
// JavaScript's.
"use strict";

const BLANK = "\u2581";
const SPACES = "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const WHITE = new RegExp(`[${SPACES}]+`, "u");
const isWhite = (character) => WHITE.test(character);
const wordsOf = (text) => text.split(WHITE).filter((word) => word !== "");
const trimmed = (text) => text.replace(new RegExp(`^[${SPACES}]+|[${SPACES}]+$`, "gu"), "");

// A pattern that was translated from Python, to be looked for anywhere, or at the start alone.
const everywhere = ([source, flags]) => new RegExp(source, `gu${flags}`);
const atStart = ([source, flags]) => new RegExp(`^(?:${source})`, `u${flags}`);

// {split: sentence -> tokens, join: tokens -> sentence}
function tokenizer(rules) {
  const make = { space: spaces, char: characters, sentencepiece: subwords, word: words }[rules.name];
  const { split, join } = make(rules);
  return { split: (text) => split(rules.lower ? text.toLowerCase() : text), join };
}

function spaces() {
  return { split: (text) => text.split(" ").filter((token) => token !== ""), join: (tokens) => tokens.join(" ") };
}

function characters() {
  const encoded = { " ": BLANK, [BLANK]: BLANK + BLANK }, decoded = { [BLANK]: " ", [BLANK + BLANK]: BLANK };
  return {
    split: (text) => Array.from(text, (character) => encoded[character] ?? character),
    join: (tokens) => tokens.map((token) => decoded[token] ?? token).join(""),
  };
}

function words(rules) {
  const split = { moses: moses, spacy: spacy }[rules.backend](rules.split), join = mosesJoiner(rules.join);
  const torn = rules.join.torn.map(([pattern, whole]) => [everywhere(pattern), whole]);
  const mended = (tokens) => torn.reduce((text, [pattern, whole]) => text.replace(pattern, whole), join(tokens));
  return { split, join: mended };
}

// --- Moses (tokenizer.perl and detokenizer.perl, as the library sacremoses has them)
function moses({ clean, pad, part, end, alpha, lower, prefixes, numeric }) {
  const ready = (rules) => rules.map(([pattern, by]) => [everywhere(pattern), by]);
  const [cleaning, padding, parting, ending] = [clean, pad, part, end].map(ready);
  const apply = (rules, text) => rules.reduce((found, [pattern, by]) => found.replace(pattern, by), text);
  const isAlpha = new RegExp(alpha, "u"), isLower = new RegExp(lower, "u");
  const known = new Set(prefixes), beforeNumbers = new Set(numeric);

  function keepsDot(prefix, next) {
    if (prefix.includes(".") && isAlpha.test(prefix)) return true;
    if (known.has(prefix) && !beforeNumbers.has(prefix)) return true;
    if (next !== undefined && isLower.test(Array.from(next)[0])) return true;
    return beforeNumbers.has(prefix) && next !== undefined && /^[0-9]/.test(next);
  }

  return (sentence) => {
    let text = apply(padding, trimmed(apply(cleaning, sentence)));
    const closes = (end) => (end < text.length ? " " : "");
    text = text.replace(/\.{2,}/g, (dots, at) => ` ${"DOT".repeat(dots.length)}MULTI${closes(at + dots.length)}`);
    const tokens = wordsOf(apply(parting, text));
    text = tokens.map((token, i) => {
      const prefix = token.slice(0, -1), endsInDot = prefix !== "" && token.endsWith(".");
      return endsInDot && !keepsDot(prefix, tokens[i + 1]) ? `${prefix} .` : token;
    }).join(" ");
    text = apply(ending, text);
    return wordsOf(text.replace(/(?:DOT)+MULTI/g, (marker) => ".".repeat((marker.length - 5) / 3)));
  };
}

function mosesJoiner({ language, patterns, cjk }) {
  const is = Object.fromEntries(Object.entries(patterns).map(([name, [source]]) => [name, new RegExp(source, "u")]));
  const isCJK = (character) => {
    const code = character.codePointAt(0);
    return cjk.some(([first, last]) => first <= code && code <= last);
  };

  // Whether blanks stand before and after a token, which the next ones may take away.
  function place(token, i, tokens, quotes) {
    const previous = tokens[i - 1] ?? "", next = tokens[i + 1] ?? "", [first] = Array.from(token);
    if (isCJK(first) && language !== "ko") return [!(i > 0 && isCJK(Array.from(previous).pop())), true];
    if (is.currency.test(token)) return [true, false];
    if (is.punctuation.test(token)) return [language === "fr" && /^[?!:;\\%]$/.test(token) ? "always" : false, true];
    if (language === "en" && i > 0 && is.contraction.test(token)) return [false, true];
    if (language === "cs" && i > 1 && /^[0-9]+ [.,]$/.test(tokens.slice(-2).join(" ")) && /^[0-9]+$/.test(token)) {
      return [false, true];
    }
    if (["fr", "it", "ga"].includes(language) && is.elision.test(token) && is.alpha.test(next)) return [true, false];
    if (is.quote.test(token)) return quoted(token, i > 0 && previous.endsWith("s"), quotes);
    return [true, true];
  }

  // Quotation marks open and close by turns.
  function quoted(token, afterS, counts) {
    const mark = /^[„“”]+$/.test(token) ? '"' : token;
    counts[mark] = counts[mark] ?? 0;
    if (language === "cs" && token === "„") counts[mark] = 0;
    if (language === "cs" && token === "“") counts[mark] = 1;
    if (counts[mark] % 2 === 0 && language === "en" && token === "'" && afterS) return [false, true];
    counts[mark] += 1;
    return counts[mark] % 2 === 1 ? [true, false] : [false, true];
  }

  return (given) => {
    const tokens = wordsOf(` ${given.join(" ")} `.replaceAll(" @-@ ", "-")), counts = Object.create(null);
    let text = "", blank = " ";
    tokens.forEach((token, i) => {
      const [before, after] = place(token, i, tokens, counts);
      text += (before === "always" ? " " : before ? blank : "") + token;
      blank = after ? " " : "";
    });
    return trimmed(text.replace(/ {2,}/g, " "));
  };
}

// --- spaCy (its Tokenizer, without the cache)
function spacy({ prefix, suffix, infix, whole, url, exceptions }) {
  const [prefixes, suffixes, infixes] = [prefix, suffix, infix].map(everywhere);
  const wholes = [whole, url].map((pattern) => pattern && atStart(pattern)), special = new Map(exceptions);
  const isWhole = (text, ...which) => which.some((one) => one && one.test(text));
  const length = (pattern, text) => ((pattern.lastIndex = 0), pattern.exec(text)?.[0].length ?? 0);
  const trie = new Map();

  // A run of characters without blanks -> its tokens.
  function chunk(text, withSpecial) {
    const isSpecial = (part) => withSpecial && special.has(part), front = [], back = [];
    if (isSpecial(text)) return special.get(text);
    let size = 0;
    while (text.length !== size && text && !isWhole(text, wholes[0]) && !isSpecial(text)) {
      size = text.length;
      const first = length(prefixes, text), rest = text.slice(first);
      const last = first && isSpecial(rest) ? 0 : length(suffixes, rest), stem = text.slice(0, size - last);
      if (last && isSpecial(stem)) {
        text = stem;
      } else {
        if (first) front.push(text.slice(0, first));
        text = rest.slice(0, rest.length - last);
      }
      if (last) back.unshift(rest.slice(rest.length - last));
    }
    const middle = !text ? [] : isSpecial(text) ? special.get(text) : isWhole(text, ...wholes) ? [text] : inner(text);
    return [...front, ...middle, ...back];
  }

  // What stands between words without a blank, such as hyphens, and the words.
  function inner(text) {
    const found = [];
    let start = 0;
    for (const match of text.matchAll(infixes)) {
      if (match.index === 0) continue;
      if (match.index !== start) found.push(text.slice(start, match.index));
      if (match[0]) found.push(match[0]);
      start = match.index + match[0].length;
    }
    return start < text.length ? [...found, text.slice(start)] : found;
  }

  // {text, blank: whether one follows} of a sentence: whitespace is a token but for single blanks.
  function tokens(text, withSpecial) {
    const found = [];
    let start = 0, at = 0, white = text !== "" && isWhite(text[0]);
    const close = (end) => {
      const parts = start < end ? chunk(text.slice(start, end), withSpecial) : [];
      found.push(...parts.map((part) => ({ text: part, blank: false })));
    };
    for (const character of text) {
      if (isWhite(character) !== white) {
        close(at);
        if (character === " ") found[found.length - 1].blank = true;
        start = character === " " ? at + 1 : at;
        white = !white;
      }
      at += character.length;
    }
    close(text.length);
    return found;
  }

  // What several tokens say together is an exception too: the longest first, of these the first.
  function mended(found) {
    const spans = [];
    found.forEach((_, start) => {
      for (let node = trie, end = start; end < found.length && (node = node.get(found[end].text)); end++) {
        if (node.ends) spans.push([start, end + 1]);
      }
    });
    spans.sort((a, b) => b[1] - b[0] - (a[1] - a[0]) || a[0] - b[0]);
    const seen = new Set(), taken = new Map();
    for (const [start, end] of spans) {
      if (!seen.has(start) && !seen.has(end - 1)) taken.set(start, end);
      for (let i = start; i < end; i++) seen.add(i);
    }
    const out = [];
    for (let i = 0; i < found.length; i++) {
      const end = taken.get(i) ?? i + 1, parts = found.slice(i, end);
      const text = parts.map((part, n) => part.text + (part.blank && n < parts.length - 1 ? " " : "")).join("");
      out.push(...((taken.has(i) && special.get(text)) || parts.map((part) => part.text)));
      i = end - 1;
    }
    return out;
  }

  for (const text of special.keys()) {
    if (!(text.includes(" ") || length(prefixes, text) || length(suffixes, text) || text.match(infixes))) continue;
    let node = trie;
    for (const { text: token } of tokens(text, false)) {
      if (!node.has(token)) node.set(token, new Map());
      node = node.get(token);
    }
    node.ends = true;
  }
  return (text) => mended(tokens(text, true));
}

// --- SentencePiece
function subwords({ pieces, bpe, unknown }) {
  const scores = new Map(pieces), longest = Math.max(...pieces.map(([piece]) => Array.from(piece).length));
  const least = Math.min(...scores.values()) - 10; // of a character that no piece has
  const cut = bpe ? (text) => merged(text, scores) : (text) => bestPath(text, scores, longest, Math.fround(least));

  function split(text) {
    const flat = ` ${text.replace(/^ +| +$/g, "")}`.replace(/ +/g, BLANK).replace(/\u2581+$/, "");
    const found = [];
    let afterUnknown = false;
    for (const piece of flat === "" ? [] : cut(flat)) { // unknown ones side by side are one token
      const isUnknown = !scores.has(piece);
      if (isUnknown && afterUnknown) found.push(found.pop() + piece);
      else found.push(piece);
      afterUnknown = isUnknown;
    }
    return found;
  }

  function join(tokens) {
    let text = "";
    for (const token of tokens) {
      const piece = text === "" ? token.replace(/^\u2581/, "") : token; // a sentence begins with no blank
      if (scores.has(token)) text += piece.replaceAll(BLANK, " ");
      else text += token === unknown ? " \u2047 " : token;
    }
    return text;
  }
  return { split, join };
}

// Pairs of pieces become one, the one of the highest score first, of equal ones the first.
function merged(text, scores) {
  const parts = Array.from(text);
  for (;;) {
    let best = -1, most = -Infinity;
    for (let i = 0; i + 1 < parts.length; i++) {
      const score = scores.get(parts[i] + parts[i + 1]);
      if (score > most) [best, most] = [i, score];
    }
    if (best < 0) return parts;
    parts.splice(best, 2, parts[best] + parts[best + 1]);
  }
}

// The pieces whose scores have the largest sum, which is taken in float32.
function bestPath(text, scores, longest, least) {
  const characters = Array.from(text), ends = [{ total: 0, start: -1 }];
  for (let start = 0; start < characters.length; start++) {
    let piece = "", single = false;
    const consider = (end, score) => {
      const total = Math.fround(score + ends[start].total);
      if (!ends[end] || total > ends[end].total) ends[end] = { total, start };
    };
    for (let end = start + 1; end <= characters.length && end - start <= longest; end++) {
      piece += characters[end - 1];
      if (!scores.has(piece)) continue;
      consider(end, scores.get(piece));
      single = single || end === start + 1;
    }
    if (!single) consider(start + 1, least);
  }
  const found = [], last = characters.length;
  for (let end = last; end > 0; end = ends[end].start) found.push(characters.slice(ends[end].start, end).join(""));
  return found.reverse();
}
