// Knowledge bases: their lines, what lint finds, what a reviewer changes and what that moves.

import { get, post } from "./api.js";
import { byId, empty, fill, make, options, say } from "./dom.js";

const PAGE = 50;
let shown = null, findings = null, offset = 0;

export async function begin() {
  try {
    const bases = (await get("/v1/knowledge")).data.map((each) => each.name);
    options(byId("base"), bases);
    options(byId("against"), bases, { first: "another base" });
    if (!bases.length) return say(byId("knowledge-status"), "The server has no knowledge base; make one with `unibind knowledge build NAME --classes a,b,c`.");
    await showLines();
  } catch (error) {
    say(byId("knowledge-status"), error);
  }
}

export function listen() {
  byId("reviewer").value = sessionStorage.getItem("unibind-reviewer") ?? "";
  byId("reviewer").addEventListener("change", (event) => sessionStorage.setItem("unibind-reviewer", event.target.value));
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("base").addEventListener("change", () => { byId("class").value = ""; byId("view").value = ""; again(); });
  for (const id of ["class", "view", "containing"]) byId(id).addEventListener("change", again);
  byId("show-lines").addEventListener("click", again);
  byId("show-findings").addEventListener("click", showFindings);
  byId("against").addEventListener("change", compare);
}

function again() {
  offset = 0;
  showLines();
}

function pressed(id) {
  for (const each of ["show-lines", "show-findings"]) byId(each).setAttribute("aria-pressed", String(each === id));
}

async function showLines() {
  pressed("show-lines");
  const base = byId("base").value;
  const query = new URLSearchParams({ offset, limit: PAGE });
  for (const [name, id] of [["class_name", "class"], ["view", "view"], ["words", "containing"]]) if (byId(id).value) query.set(name, byId(id).value);
  try {
    shown = await get(`/v1/knowledge/${base}/lines?${query}`);
    options(byId("class"), shown.classes, { chosen: byId("class").value, first: "all" });
    options(byId("view"), shown.views, { chosen: byId("view").value, first: "all" });
    say(byId("knowledge-status"), `${shown.total} lines of ${base}`);
    fill(byId("lines"), shown.data.length ? table(shown.data.map((line) => row(line, "")), ["Class", "View", "Line", ""]) : empty("No line is like that", "Choose another class or view, or other words."));
    pager();
  } catch (error) {
    say(byId("knowledge-status"), error);
  }
}

function pager() {
  const turn = (by) => () => { offset += by; showLines(); };
  fill(byId("pager"),
    make("button", { type: "button", disabled: offset === 0, onclick: turn(-PAGE) }, "Back"),
    make("button", { type: "button", disabled: offset + PAGE >= shown.total, onclick: turn(PAGE) }, "Next"),
    make("span", { className: "pale" }, shown.total ? `${offset + 1} to ${Math.min(offset + PAGE, shown.total)} of ${shown.total}` : ""));
}

async function showFindings() {
  pressed("show-findings");
  const base = byId("base").value;
  say(byId("knowledge-status"), "looking for faults; the first time this takes half a minute \u2026");
  try {
    findings = await get(`/v1/knowledge/${base}/findings`);
    const faults = findings.data.filter((each) => each.row > 0);
    say(byId("knowledge-status"), `${findings.data.length} findings in ${base}`);
    fill(byId("pager"));
    fill(byId("lines"), faults.length ? table(findings.data.slice(0, 500).map(finding), ["Row", "Fault", "Evidence", "What to do"]) : empty("Nothing was found", "Lint has no fault to find with these lines."));
  } catch (error) {
    say(byId("knowledge-status"), error);
  }
}

const finding = (each) => make("tr", {}, ...[each.row, each.kind, each.evidence, each.remedy].map((text) => make("td", {}, String(text))));

const table = (rows, names) => make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Lines" },
  make("table", { className: "cards" }, make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name || "Change")))), make("tbody", {}, ...rows)));

function row(line) {
  const text = make("td", { className: "text" }, line.text, line.status === "unreviewed" ? null : make("span", { className: "pale" }, ` (${line.status} by ${line.reviewer})`));
  const act = (action) => () => change(line, { action });
  return make("tr", {}, make("td", { className: "narrow" }, line.class_name), make("td", { className: "narrow" }, line.view), text,
    make("td", {}, make("span", { className: "row" },
      make("button", { type: "button", onclick: act("accept"), "aria-label": `Accept line ${line.row}` }, "Accept"),
      make("button", { type: "button", onclick: () => edit(line, text), "aria-label": `Edit line ${line.row}` }, "Edit"),
      make("button", { type: "button", onclick: act("reject"), "aria-label": `Reject line ${line.row}` }, "Reject"))));
}

// Shows what an edit would move before it is saved.
function edit(line, cell) {
  const area = make("textarea", { value: line.text, "aria-label": `New text of line ${line.row}` });
  const outcome = make("div", { role: "status" });
  const wanted = () => ({ action: "edit", text: area.value });
  fill(cell, area, make("span", { className: "row" },
    make("button", { type: "button", onclick: async () => fill(outcome, difference(await changes(line, { ...wanted(), dry_run: true }))) }, "What changes?"),
    make("button", { type: "button", className: "first", onclick: () => change(line, wanted()) }, "Save"),
    make("button", { type: "button", onclick: showLines }, "Cancel")), outcome);
  area.focus();
}

async function changes(line, wanted) {
  const reviewer = byId("reviewer").value.trim();
  if (!reviewer) {
    byId("reviewer").focus();
    const error = new Error("Type your name first: a change says who made it.");
    say(byId("knowledge-status"), error);
    throw error;
  }
  try {
    return await post(`/v1/knowledge/${byId("base").value}/changes`, { rows: [line.row], reviewer, content_id: shown.content_id, ...wanted });
  } catch (error) {
    say(byId("knowledge-status"), error);
    throw error;
  }
}

async function change(line, wanted) {
  const done = await changes(line, wanted).catch(() => null);
  if (!done) return;
  await showLines();
  byId("knowledge-status").append(" ", difference(done));
}

function difference(told) {
  const shifts = Object.entries(told.center_shifts).filter(([, by]) => by > 0).sort((a, b) => b[1] - a[1]);
  return make("div", { className: "diff" },
    ...told.removed.slice(0, 50).map((each) => make("p", {}, make("del", {}, `${each.class_name}: ${each.text}`))),
    ...told.added.slice(0, 50).map((each) => make("p", {}, make("ins", {}, `${each.class_name}: ${each.text}`))),
    make("p", { className: "pale" }, shifts.length ? `Centers moved (1 \u2212 cosine): ${shifts.slice(0, 8).map(([name, by]) => `${name} ${by.toFixed(4)}`).join(", ")}` : "No center moved."));
}

async function compare() {
  const [base, other] = [byId("base").value, byId("against").value];
  if (!other) return showLines();
  say(byId("knowledge-status"), `comparing ${base} with ${other} \u2026`);
  try {
    const told = await get(`/v1/knowledge/${base}/diff?against=${encodeURIComponent(other)}`);
    say(byId("knowledge-status"), `${other} beside ${base}: ${told.added.length} lines more, ${told.removed.length} fewer`);
    fill(byId("lines"), difference(told));
    fill(byId("pager"));
  } catch (error) {
    say(byId("knowledge-status"), error);
  }
}
