// The first page: one item in, its classes and its neighbours out.

import { ask, formOf, get, itemPath, postPart } from "./api.js";
import { byId, empty, fill, make, options, percent, say } from "./dom.js";
import { card, fromInspection } from "./viewers.js";

const N_HITS = 6;
const N_FORMATS = 3;
let modalities = [];
let running = null;
let file = null;

export async function begin() {
  const [space, bases] = await Promise.all([get("/v1/modalities"), get("/v1/knowledge").catch(() => ({ data: [] }))]);
  modalities = space.data;
  const readable = modalities.filter((each) => each.available && !each.takes_text);
  fill(byId("formats"), ...readable.map(formats));
  options(byId("modality"), readable.map((each) => each.type), { first: "told by its name" });
  options(byId("knowledge"), bases.data.map((each) => [each.name, `${each.name} (${each.classes} classes)`]), { first: "none" });
  if (bases.data.length) byId("knowledge").value = bases.data[0].name;
  listen();
}

// A modality with its most common formats; all of them when pointed at.
function formats(modality) {
  const all = modality.formats.map((suffix) => suffix.slice(1));
  const more = all.length > N_FORMATS ? ", \u2026" : "";
  return make("li", { title: all.join(", ") }, make("b", {}, modality.type), make("span", {}, ` ${all.slice(0, N_FORMATS).join(", ")}${more}`));
}

function listen() {
  const drop = byId("drop");
  byId("ask").addEventListener("submit", (event) => { event.preventDefault(); askWords(); });
  byId("file").addEventListener("change", (event) => {
    if (event.target.files[0]) take(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  byId("modality").addEventListener("change", () => { showOptions(); if (file) askFile(); });
  for (const id of ["classes", "knowledge"]) byId(id).addEventListener("change", () => (file ? askFile() : byId("words").value && askWords()));
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]); });
  document.addEventListener("paste", (event) => {
    const pasted = event.clipboardData.files[0];
    if (pasted && !byId("page-try").hidden) { event.preventDefault(); take(pasted); }
  });
}

function take(given) {
  file = given;
  byId("modality").value = "";
  showOptions();
  askFile();
}

// The modalities that claim a file by the ending of its name.
function candidates() {
  const chosen = byId("modality").value;
  if (chosen) return modalities.filter((each) => each.type === chosen);
  const name = (file?.name ?? "").toLowerCase();
  const claiming = modalities.filter((each) => each.formats.some((suffix) => name.endsWith(suffix)));
  const ready = claiming.filter((each) => each.available);
  return ready.length ? ready : claiming;
}

function showOptions() {
  const told = candidates().length === 1 ? candidates()[0].options : {};
  fill(byId("options"), ...Object.entries(told).map(([name, text]) => make("p", { className: "field" },
    make("label", { htmlFor: `option-${name}` }, `${name}: ${text}`),
    make("input", { id: `option-${name}`, name, type: "text", autocomplete: "off", onchange: askFile }))));
}

function optionsGiven() {
  const given = [...byId("options").querySelectorAll("input")].filter((input) => input.value.trim() !== "");
  return Object.fromEntries(given.map((input) => {
    const text = input.value.trim();
    return [input.name, text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text];
  }));
}

function askWords() {
  const text = byId("words").value.trim();
  if (!text) return say(byId("try-status"), "Type something first, or drop a file.");
  file = null;
  const kind = modalities.find((each) => each.takes_text);
  answer({ type: kind.type, text }, null);
}

function askFile() {
  if (!file) return;
  const found = candidates();
  if (found.length === 1 && !found[0].available) return say(byId("try-status"), new Error(`${found[0].type}: ${found[0].unavailable_because}`));
  // Where its name does not tell what it is, the server looks into the file.
  answer({ type: found.length === 1 ? found[0].type : "auto", file: "upload", options: optionsGiven() }, file);
}

async function answer(part, upload) {
  running?.abort();
  const mine = running = new AbortController();
  const status = byId("try-status");
  say(status, `reading ${upload ? upload.name : "the words"} \u2026`);
  const classes = byId("classes").value.split(",").map((name) => name.trim()).filter(Boolean);
  const base = byId("knowledge").value;
  const among = classes.length ? { classes } : base ? { knowledge: base } : null;
  const targets = modalities.filter((each) => each.stored > 0);
  try {
    const [inspection, classified, ...found] = await Promise.all([
      postPart("/v1/inspect", { input: part }, upload, mine),
      among ? postPart("/v1/classify", { input: part, ...among, top: 6 }, upload, mine) : null,
      ...targets.map((each) => postPart("/v1/search", { input: part, into: [each.type], k: N_HITS }, upload, mine)),
    ]);
    if (mine !== running) return;
    fill(byId("answer"), make("div", { className: "panels" }, readPanel(inspection, part, upload), classPanel(classified)),
      ...neighbours(targets, found, inspection.type));
    say(status, "");
  } catch (error) {
    if (error.name === "AbortError" || mine !== running) return;
    fill(byId("answer"));
    byId("more").open = byId("options").childElementCount > 0;
    say(status, error);
  }
}

function readPanel(inspection, part, upload) {
  const panel = make("section", { className: "panel" }, make("h3", {}, "What was read ", make("span", { className: "mark" }, inspection.type)), fromInspection(inspection, upload));
  if (!upload) return panel;
  const name = make("input", { type: "text", value: upload.name || "pasted", "aria-label": "Key to keep it under" });
  const said = make("span", { role: "status" });
  const keep = make("button", { type: "button", onclick: async () => {
    const item = { ...part, type: inspection.type, metadata: { caption: upload.name || "pasted" } };
    try {
      await ask(itemPath(name.value), { method: "PUT", form: formOf(item, upload) });
      say(said, "kept; it will be found from now on");
    } catch (error) {
      say(said, error);
    }
  } }, "Keep it in the index");
  panel.append(make("p", { className: "row keep" }, name, keep, said));
  return panel;
}

function classPanel(classified) {
  const panel = make("section", { className: "panel" }, make("h3", {}, "Which class it is"));
  if (!classified) {
    panel.append(empty("No classes were asked about", "Choose a knowledge base, or type classes of your own, under \u201cClasses, modality and options\u201d."));
    return panel;
  }
  const [result] = classified.results;
  if (result.is_unknown) panel.append(make("p", {}, make("strong", {}, "Probably none of them."), " The likeliest:"));
  const classes = result.is_unknown ? result.predictions.slice(1) : result.predictions;
  panel.append(make("ol", { className: "classes" }, ...classes.map((each, n) => make("li", { className: "class" },
    make("div", { className: "bar" }, filled(each.probability),
      make("strong", {}, each.label), make("span", {}, percent(each.probability))),
    n === 0 && each.reasons.length ? reasonList(each.reasons) : null))));
  return panel;
}

function filled(share) {
  const bar = make("span", { className: "fill", "aria-hidden": "true" });
  bar.style.width = `${100 * share}%`;
  return bar;
}

const reasonList = (reasons) => make("ul", { className: "reasons" },
  ...reasons.slice(0, 4).map((reason) => make("li", {},
    make("span", { className: "share" }, `${reason.share < 0 ? "\u2212" : "+"}${percent(Math.abs(reason.share))}`), make("span", {}, reason.text))));

// Its own kind comes first: that is what one knows it by.
function neighbours(targets, found, own) {
  if (!targets.length) return [empty("No neighbours yet",
    "Nothing is stored. Keep this item in the index, or run ", make("code", {}, "unibind index add FOLDER"), ".")];
  const rows = targets.map((each, n) => ({ each, hits: found[n].results[0].hits }));
  rows.sort((a, b) => (b.each.type === own) - (a.each.type === own));
  return rows.map(({ each, hits }) => make("section", { className: "near", "aria-label": `Nearest ${each.type}` },
    make("h3", {}, `Nearest ${each.type} `, make("span", { className: "pale" }, `among ${each.stored} stored`)),
    make("ul", { className: "hits" }, ...hits.map(card))));
}
