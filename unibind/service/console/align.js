// Teaching the space a modality: choose a labelled set, watch the run, read what came of it.

import { ask, get } from "./api.js";
import { byId, empty, fill, make, options, say } from "./dom.js";

const POLL_MS = 1000;
const MARKS = { done: "good", failed: "bad", cancelled: "bad" };
let polling = null;

export function listen() {}

export async function begin() {
  const [space, bases] = await Promise.all([get("/v1/modalities"), get("/v1/knowledge").catch(() => ({ data: [] }))]);
  const trained = space.data.filter((each) => !each.takes_text);
  const field = (id, label, control) => make("p", { className: "field" }, make("label", { htmlFor: id }, label), Object.assign(control, { id, name: id.replace("align-", "") }));
  const modality = make("select"), knowledge = make("select"), learn = make("select"), head = make("select");
  options(modality, trained.map((each) => [each.type, `${each.type}${each.has_head ? " (has a head; it will be replaced)" : ""}`]));
  options(learn, [["knowledge", "the sentences of a knowledge base"], ["class_names", "the names of the folders"], ["captions", "each item's own caption"]]);
  options(knowledge, bases.data.map((each) => each.name));
  options(head, [["ridge", "for unseen classes and search"], ["linear", "for a closed set of classes"]]);
  const form = make("form", { onsubmit: (event) => { event.preventDefault(); start(form); } },
    make("div", { className: "columns" },
      field("align-modality", "Modality", modality),
      field("align-upload", "Zip of labelled files", make("input", { type: "file", accept: ".zip" })),
      field("align-set", "or a public set that the server has", make("input", { type: "text", placeholder: "stamps" })),
      field("align-learn", "Learn from", learn),
      field("align-knowledge", "Knowledge base", knowledge),
      field("align-head", "Head", head)),
    make("p", { className: "row" }, make("button", { type: "submit" }, "Train"), make("span", { id: "align-status", role: "status", "aria-live": "polite" })));
  const own = make("details", {}, make("summary", {}, "A modality that is not in the list"),
    make("p", {}, "A package of your own adds it: a reader and an encoder, written for you to fill in. Start with"),
    make("pre", {}, "unibind modality new depth\npip install -e unibind-depth\nunibind align --modality depth --data my-files/"));
  fill(byId("align"), form, own, make("h3", {}, "Runs"), make("div", { id: "runs" }));
  await refresh();
}

async function start(form) {
  const status = byId("align-status");
  const wanted = new FormData();
  wanted.append("modality", byId("align-modality").value);
  wanted.append("head", byId("align-head").value);
  const learn = byId("align-learn").value;
  if (learn === "knowledge") wanted.append("knowledge", byId("align-knowledge").value);
  else wanted.append("learn_from", learn);
  const [upload] = byId("align-upload").files, set = byId("align-set").value.trim();
  if (!upload && !set) return say(status, new Error("Choose a zip of labelled files, or name a public set."));
  if (upload) wanted.append("file", upload, upload.name);
  else wanted.append("set", set);
  const button = form.querySelector("button");
  button.disabled = true;
  say(status, upload ? "uploading \u2026" : "starting \u2026");
  try {
    await ask("/v1/alignments", { method: "POST", form: wanted });
    say(status, "");
    await refresh();
  } catch (error) {
    say(status, error);
  }
  button.disabled = false;
}

async function refresh() {
  clearTimeout(polling);
  const { data } = await get("/v1/alignments");
  fill(byId("runs"), ...(data.length ? data.map(run) : [empty("No run since the server began", "Choose a zip above and train: its progress is shown here.")]));
  const goes = data.some((each) => each.status === "queued" || each.status === "running");
  if (goes && !byId("page-align").hidden) polling = setTimeout(() => refresh().catch((error) => say(byId("align-status"), error)), POLL_MS);
}

function run(told) {
  const goes = told.status === "queued" || told.status === "running";
  return make("section", { className: "panel" },
    make("p", { className: "row" }, make("strong", {}, told.modality),
      make("span", { className: `mark ${MARKS[told.status] ?? "busy"}` }, `${told.status}: ${told.stage}`), make("span", { className: "pale" }, `${told.seconds.toFixed(0)} s`),
      goes ? make("button", { type: "button", onclick: async () => { await ask(`/v1/alignments/${told.id}`, { method: "DELETE" }).catch(() => null); refresh(); } }, "Stop") : null),
    goes ? make("progress", { max: told.n_total || 1, value: told.n_done, "aria-label": told.stage }) : null,
    told.error ? make("p", { className: "error" }, told.error) : null,
    told.result ? outcome(told.result) : null);
}

function outcome(result) {
  const held = result.held_out ?? {};
  const rows = [
    ["items", result.items], ["names", result.names], ["learned from", result.learned_from], ["encoder", result.encoder],
    ...Object.entries(held).map(([name, value]) => [`held out: ${name.replaceAll("_", " ")}`, typeof value === "number" && !Number.isInteger(value) ? value.toFixed(3) : value]),
  ].filter(([, value]) => value !== undefined && typeof value !== "object");
  return make("table", {}, make("tbody", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value))))));
}
