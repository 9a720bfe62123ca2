// What a reader sees: text goes to the worker, translations come back. Text enters the page as text alone.
"use strict";

(() => {
  const at = (id) => document.getElementById(id), form = at("form"), source = at("source"), status = at("status");
  const worker = new Worker(URL.createObjectURL(new Blob([at("worker").textContent], { type: "text/javascript" })));
  let request = 0, count = 0;

  function made(name, text, parent) {
    const element = document.createElement(name);
    element.textContent = text;
    parent.append(element);
    return element;
  }

  function say(text, isError = false) {
    status.textContent = text;
    status.classList.toggle("error", isError);
  }

  // A table of how much each word of the translation looked at each word of the source.
  function draw({ source: sources, target, alignments, place }) {
    if (!target.length || !alignments.length || alignments[0].length !== sources.length) return;
    const table = made("table", "", at("maps"));
    made("caption", `Line ${place + 1}: each row says where the source was looked at for a word, in per cent`, table);
    const head = made("tr", "", made("thead", "", table)), body = made("tbody", "", table);
    const names = sources.map((token, s) => (s === 0 ? "(start)" : s === sources.length - 1 ? "(end)" : token));
    for (const name of ["", ...names]) made(name ? "th" : "td", name, head).scope = "col";
    [...target, "(end)"].slice(0, alignments.length).forEach((token, t) => {
      const row = made("tr", "", body);
      made("th", token, row).scope = "row";
      for (const weight of alignments[t]) {
        const cell = made("td", String(Math.round(100 * weight)), row);
        cell.style.setProperty("--weight", `${Math.round(100 * weight)}%`);
      }
    });
    at("attention").hidden = false;
  }

  const answers = {
    ready() {
      say("Ready. Nothing you type leaves this page.");
      at("translate").disabled = false;
    },
    translated(found) {
      const line = made("p", found.text, at("translations"));
      line.dir = "auto";
      draw(found);
      say(`Translating: ${found.place + 1} of ${count} lines`);
    },
    done() {
      say(`Done: ${count} ${count === 1 ? "line" : "lines"}.`);
    },
    failed({ reason }) {
      say(`Failed: ${reason}`, true);
    },
  };

  worker.onmessage = ({ data }) => {
    if (data.request === undefined || data.request === request) answers[data.kind](data);
  };
  worker.onerror = (event) => say(`Failed: ${event.message}`, true);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const lines = source.value.replace(/\n$/, "").split("\n");
    request += 1;
    count = lines.length;
    at("translations").replaceChildren();
    at("maps").replaceChildren();
    at("attention").hidden = true;
    say(`Translating: 0 of ${count} lines`);
    worker.postMessage({ request, kind: "translate", lines, beam: Number(at("beam").value) });
  });
  source.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !at("translate").disabled) form.requestSubmit();
  });

  worker.postMessage({ kind: "load", model: at("model").textContent, rules: JSON.parse(at("rules").textContent) });
  at("model").remove(); // the worker has it now
})();
