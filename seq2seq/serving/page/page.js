// The page: sends what was typed to the API beside it and shows what comes back. What comes back is text, and only ever
// becomes text (textContent): nothing that a model or a person writes is read as HTML.
"use strict";

const part = (id) => document.getElementById(id);
const form = part("form"), source = part("source"), model = part("model"), beam = part("beam");
const attends = part("attends"), button = part("translate"), state = part("status");
const output = part("output"), attention = part("attention"), maps = part("maps");
let busy = false;

function make(name, text) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  return element;
}

function tell(text, bad = false) {
  state.textContent = text;
  state.classList.toggle("bad", bad);
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

async function begin() {
  const known = await answerOf(await fetch("models"));
  for (const { name, attends: looks, source_language: from, target_language: to } of known.models) {
    const option = make("option", from && to ? `${name} (${from} to ${to})` : name);
    option.value = name;
    option.dataset.language = to || "";
    option.dataset.attends = looks ? "yes" : "";
    model.append(option);
  }
  chosen();
  beam.max = known.max_beam_size;
  part("limits").textContent =
    `Up to ${plural(known.max_sentences, "sentence")} of ${plural(known.max_characters, "character")} each. ` +
    "Ctrl+Enter translates.";
}

// What the chosen model cannot do is not offered.
function chosen() {
  attends.disabled = !model.selectedOptions[0]?.dataset.attends;
}

async function answerOf(response) {
  if (response.ok) return response.json();
  throw new Error(await reasonOf(response));
}

async function reasonOf(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

function post(route, asked) {
  return fetch(route, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked) });
}

// Lines of the output, one for each sentence.
function lines(count) {
  output.lang = model.selectedOptions[0]?.dataset.language || "";
  output.replaceChildren(...Array.from({ length: count }, () => make("p")));
  return [...output.children];
}

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, kind, data] = /^event: (\w+)\ndata: (.*)$/s.exec(block);
      yield [kind, JSON.parse(data)];
    }
  }
}

// Greedy search, word by word.
async function streamed(asked, shown) {
  const response = await post("stream", asked);
  if (!response.ok) throw new Error(await reasonOf(response));
  for await (const [kind, data] of eventsOf(response)) {
    if (kind === "token") shown[data.sentence].textContent = data.text;
    if (kind === "error") throw new Error(data.error);
    if (kind === "done") return data;
  }
  throw new Error("The connection was lost.");
}

function heatMap(number, words, { tokens, alignment }) {
  const table = make("table"), head = make("tr"), body = make("tbody");
  table.append(make("caption", `Sentence ${number}`));
  head.append(make("td"));
  alignment[0].forEach((_, place) => {
    const cell = make("th", alignment[0].length === words.length ? words[place] : `${place + 1}`);
    cell.scope = "col";
    head.append(cell);
  });
  alignment.forEach((weights, place) => {
    const row = make("tr"), name = make("th", tokens[place]);
    name.scope = "row";
    row.append(name);
    for (const weight of weights) {
      const cell = make("td", weight.toFixed(2));
      cell.style.setProperty("--weight", weight);
      row.append(cell);
    }
    body.append(row);
  });
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  const frame = make("div");
  frame.className = "scroll";
  frame.tabIndex = 0; // so that the keyboard can scroll it
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", `Attention of sentence ${number}`);
  frame.append(table);
  return frame;
}

function show(found, shown) {
  found.translations.forEach((text, place) => (shown[place].textContent = text));
  const tables = found.hypotheses
    .map(([best], place) => (best.alignment?.length ? heatMap(place + 1, found.source_tokens[place], best) : null))
    .filter(Boolean);
  maps.replaceChildren(...tables);
  attention.hidden = tables.length === 0;
}

async function translate() {
  const sentences = source.value.split("\n").filter((line) => line.trim());
  if (busy || sentences.length === 0 || !form.reportValidity()) return;
  busy = true;
  button.setAttribute("aria-disabled", "true");
  output.setAttribute("aria-busy", "true");
  tell("Translating ...");
  const shown = lines(sentences.length);
  maps.replaceChildren();
  attention.hidden = true;
  const asked = { sentences, model: model.value, alignment: attends.checked && !attends.disabled };
  const size = beam.valueAsNumber;
  try {
    const found =
      size === 1 ? await streamed(asked, shown) : await answerOf(await post("translate", { ...asked, beam_size: size }));
    show(found, shown);
    tell(`Translated ${plural(sentences.length, "sentence")}.`);
  } catch (error) {
    tell(error.message, true);
  } finally {
    busy = false;
    button.removeAttribute("aria-disabled");
    output.setAttribute("aria-busy", "false");
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  translate();
});
source.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    translate();
  }
});
model.addEventListener("change", chosen);
begin().catch((error) => tell(error.message, true));
