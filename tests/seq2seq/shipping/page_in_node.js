// Runs the worker of pages in Node: jobs come in as JSON, [{page, lines, beams}] or {tokenizer, lines, joins}, answers go
// out, a list for each job: for each beam the translated lines, or {split, joined}.
"use strict";
const fs = require("node:fs");
const vm = require("node:vm");

function part(html, id) {
  return html.match(new RegExp(`<script type="[^"]+" id="${id}">([^]*?)</script>`))[1];
}

const programs = new Map(); // by source, which is the same in all pages

function program(source) {
  if (!programs.has(source)) {
    const context = vm.createContext({ atob, TextDecoder, setTimeout, self: {} });
    programs.set(source, vm.runInContext(`${source}\n({ load, translate, tokenizer })`, context));
  }
  return programs.get(source);
}

function run(job) {
  const html = fs.readFileSync(job.page, "utf8"), { load, translate, tokenizer } = program(part(html, "worker"));
  if (job.tokenizer) {
    const { split, join } = tokenizer(job.tokenizer);
    return { split: job.lines.map((line) => split(line)), joined: job.joins.map((tokens) => join(tokens)) };
  }
  const translator = load(part(html, "model"), JSON.parse(part(html, "rules")));
  return job.beams.map((beam) => job.lines.map((line) => translate(translator, line, beam)));
}

const listed = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
process.stdout.write(JSON.stringify(JSON.parse(fs.readFileSync(0, "utf8")).map(run), listed));
