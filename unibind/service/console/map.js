// The stored items on a plane, one colour and one shape for each modality.

import { get } from "./api.js";
import { byId, empty, fill, make, say } from "./dom.js";
import { card } from "./viewers.js";

const N_COLOURS = 8; // --kind-0 and so on, of the theme
const REACH_PX = 14, MARGIN = 24;
let points = [], kinds = [], hidden = new Set(), chosen = null;

export async function begin() {
  const status = byId("map-status");
  say(status, "reading the store \u2026");
  try {
    const chart = await get("/v1/map?limit=1500");
    points = chart.points;
    kinds = Object.keys(chart.types);
    const [x, y] = chart.explained;
    say(status, points.length
      ? `${points.length} of ${chart.stored} items; the two axes hold ${(100 * (x + y)).toFixed(0)} % of what differs.`
      : "");
    byId("map-canvas").hidden = !points.length;
    byId("map-empty").hidden = points.length > 0;
    byId("map-empty").replaceChildren(...empty("Nothing is stored yet", "Keep an item on the first page, or run ",
      make("code", {}, "unibind index add FOLDER"), "; then it has a place here.").childNodes);
  } catch (error) {
    say(status, error);
  }
  legend();
  draw();
}

export function listen() {
  const canvas = byId("map-canvas");
  new ResizeObserver(draw).observe(canvas);
  new MutationObserver(() => { legend(); draw(); }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  canvas.addEventListener("click", (event) => choose(nearest(event)));
  canvas.addEventListener("mousemove", (event) => { canvas.title = nearest(event)?.label ?? ""; });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const shown = points.filter((point) => !hidden.has(point.type)).sort((a, b) => a.x - b.x);
    if (!step || !shown.length) return;
    event.preventDefault();
    choose(shown[(shown.indexOf(chosen) + step + shown.length) % shown.length]);
  });
}

function legend() {
  fill(byId("map-legend"), ...kinds.map((kind, n) => {
    const box = make("input", { type: "checkbox", checked: !hidden.has(kind), id: `kind-${n}`, onchange: () => {
      if (box.checked) hidden.delete(kind); else hidden.add(kind);
      draw();
    } });
    const swatch = make("canvas", { width: 16, height: 16, "aria-hidden": "true" });
    mark(swatch.getContext("2d"), 8, 8, n, 5);
    const count = points.filter((point) => point.type === kind).length;
    return make("li", {}, box, make("label", { htmlFor: `kind-${n}` }, swatch, kind, make("span", { className: "pale" }, ` (${count})`)));
  }));
}

function mark(context, x, y, n, size) {
  context.fillStyle = ofTheme(`--kind-${n % N_COLOURS}`);
  context.beginPath();
  if (n % 3 === 0) context.arc(x, y, size, 0, 2 * Math.PI);
  else if (n % 3 === 1) context.rect(x - size, y - size, 2 * size, 2 * size);
  else { context.moveTo(x, y - size); context.lineTo(x + size, y + size); context.lineTo(x - size, y + size); }
  context.fill();
}

const ofTheme = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function place(point, canvas) {
  const all = points.filter((each) => !hidden.has(each.type));
  const span = (axis) => {
    const values = all.map((each) => each[axis]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [left, right] = span("x"), [low, high] = span("y");
  const [wide, tall] = [canvas.clientWidth - 2 * MARGIN, canvas.clientHeight - 2 * MARGIN];
  return [MARGIN + wide * (point.x - left) / (right - left || 1), MARGIN + tall * (high - point.y) / (high - low || 1)];
}

function draw() {
  const canvas = byId("map-canvas");
  if (!canvas.clientWidth) return;
  const scale = devicePixelRatio || 1;
  [canvas.width, canvas.height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.globalAlpha = 0.8;
  for (const point of points) {
    if (!hidden.has(point.type) && point !== chosen) mark(context, ...place(point, canvas), kinds.indexOf(point.type), 5);
  }
  if (!chosen || hidden.has(chosen.type)) return;
  const [x, y] = place(chosen, canvas);
  context.globalAlpha = 1;
  mark(context, x, y, kinds.indexOf(chosen.type), 8);
  context.strokeStyle = ofTheme("--ink");
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, 14, 0, 2 * Math.PI);
  context.stroke();
}

function nearest(event) {
  const canvas = byId("map-canvas");
  let best = null, least = REACH_PX;
  for (const point of points) {
    if (hidden.has(point.type)) continue;
    const [x, y] = place(point, canvas);
    const distance = Math.hypot(x - event.offsetX, y - event.offsetY);
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
}

function choose(point) {
  chosen = point;
  draw();
  if (!point) return fill(byId("map-item"));
  fill(byId("map-item"), make("ul", { className: "hits" }, card({ key: point.key, type: point.type, metadata: { caption: point.label } })));
}
