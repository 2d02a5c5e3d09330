// The frame of the page: which section is shown, light or dark, the key, and the server's health.

import { get, useKey } from "./api.js";
import * as align from "./align.js";
import { byId, say } from "./dom.js";
import * as knowledge from "./knowledge.js";
import * as map from "./map.js";
import * as trying from "./try.js";

const PAGES = { try: trying, map, knowledge, align };
const HEALTH_EVERY_MS = 15_000;
const begun = new Set();

async function turnTo() {
  const name = location.hash.slice(1) in PAGES ? location.hash.slice(1) : "try";
  for (const each of Object.keys(PAGES)) byId(`page-${each}`).hidden = each !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (begun.has(name) && name !== "map") return; // the map shows what was stored since
  begun.add(name);
  try {
    await PAGES[name].begin();
  } catch (error) {
    begun.delete(name);
    say(byId(`${name}-status`) ?? byId("health"), error);
    if (error.status === 401) byId("key-dialog").showModal();
  }
}

function theme(given) {
  const isDark = given === "dark";
  document.documentElement.dataset.theme = given;
  byId("theme").setAttribute("aria-pressed", String(isDark));
  localStorage.setItem("unibind-theme", given);
}

async function health() {
  const line = byId("health");
  try {
    await get("/readyz");
    byId("space").textContent ||= (await get("/v1/models").catch(() => ({ data: [] }))).data[0]?.id ?? "";
    say(line, "ready");
    line.className = "good";
  } catch (error) {
    line.textContent = error.status === 503 ? "not ready" : error.message;
    line.className = "bad";
  }
}

theme(localStorage.getItem("unibind-theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
byId("key").addEventListener("click", () => byId("key-dialog").showModal());
byId("key-dialog").addEventListener("close", (event) => {
  if (event.target.returnValue !== "save") return;
  useKey(byId("key-value").value);
  begun.clear();
  turnTo();
});
map.listen();
knowledge.listen();
align.listen();
addEventListener("hashchange", turnTo);
turnTo();
health();
setInterval(health, HEALTH_EVERY_MS);
