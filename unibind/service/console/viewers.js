// Showing an item: as a picture, a sound to play, or a cloud to turn.

import { get, itemPath, objectUrl } from "./api.js";
import { make } from "./dom.js";

const TURN_PER_S = 0.5;

// What was read of a file that is at hand: its preview, a turning cloud where it has points in
// space, and a player where the browser can play the file.
export function fromInspection(inspection, file) {
  const shown = make("div", { className: "seen" });
  const points = pointsOf(inspection.item);
  if (points) shown.append(cloud(points));
  else if (inspection.preview) shown.append(make("img", { src: inspection.preview, alt: `What was read: ${inspection.type}` }));
  if (file && isPlayable(file.type)) shown.append(player(URL.createObjectURL(file)));
  else if (typeof inspection.item.value === "string") shown.append(make("blockquote", {}, inspection.item.value));
  shown.append(make("p", { className: "pale" }, inspection.units));
  return shown;
}

// A stored item as a card: its picture if the server has its content, else its words.
export function card(hit) {
  const words = hit.metadata.caption ?? hit.metadata.label ?? hit.metadata.text ?? hit.key;
  const picture = make("div");
  const item = make("li", { className: "hit" }, picture, make("strong", {}, String(words)),
    make("span", { className: "pale" }, hit.score === undefined ? hit.type : `score ${hit.score.toFixed(2)}`));
  show(hit, picture, String(words));
  return item;
}

async function show(hit, place, words) {
  if (!(await draws(hit.type))) return; // its words are shown
  place.classList.add("waiting");
  try {
    const url = await inTurn(() => patiently(() => objectUrl(`${itemPath(hit.key)}/preview`, "image/png")));
    place.append(make("img", { src: url, alt: words, onload: () => URL.revokeObjectURL(url) }));
  } catch {
    return; // nothing was kept of it
  } finally {
    place.classList.remove("waiting");
  }
  place.append(make("button", { type: "button", className: "open", "aria-label": `Open ${words}`, onclick: (event) => open(hit, place, event.target) }, "Open"));
}

// Whether items of a modality have pictures; asked once.
let drawing = null;
async function draws(type) {
  drawing ??= get("/v1/modalities").then((space) => new Set(space.data.filter((each) => each.draws).map((each) => each.type)));
  return (await drawing).has(type);
}

// A few pictures at a time: a page full of them must not crowd out what people ask.
const N_AT_ONCE = 3;
const queue = [];
let nRunning = 0;
function inTurn(work) {
  return new Promise((resolve, reject) => {
    queue.push(() => work().then(resolve, reject).finally(() => { nRunning -= 1; next(); }));
    next();
  });
}
function next() {
  while (nRunning < N_AT_ONCE && queue.length) {
    nRunning += 1;
    queue.shift()();
  }
}

// A server that is busy says so; a picture can wait.
async function patiently(work, nTries = 5) {
  for (let n = 1; ; n++) {
    try {
      return await work();
    } catch (error) {
      if (error.status !== 429 || n === nTries) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * n));
    }
  }
}

// Fetches what was uploaded, to play it or turn it.
async function open(hit, place, button) {
  button.disabled = true;
  try {
    const inspection = await get(`${itemPath(hit.key)}/inspect`);
    const points = pointsOf(inspection.item);
    if (points) return place.replaceChildren(cloud(points));
    const url = await objectUrl(`${itemPath(hit.key)}/content`, "");
    const saving = make("a", { href: url, download: hit.key }, "Save the file");
    if (!inspection.item.fields?.samples) return button.replaceWith(saving);
    const sound = player(url);
    sound.addEventListener("error", () => sound.replaceWith(saving)); // a format that browsers do not play
    button.replaceWith(sound);
    sound.play().catch(() => null);
  } catch (error) {
    button.replaceWith(make("span", { className: "error" }, error.message));
  }
}

const player = (url) => make("audio", { controls: true, src: url });
const isPlayable = (type) => type !== "" && document.createElement("audio").canPlayType(type) !== "" && type.startsWith("audio/");

// Points in space, wherever an item has them: an array of three columns called points.
function pointsOf(item) {
  const points = item.fields?.points?.array;
  if (points?.shape?.[1] !== 3) return null;
  const colours = item.fields.colours?.array ?? item.fields.colors?.array;
  return { points: numbers(points), colours: colours?.shape?.[1] === 3 ? numbers(colours) : null };
}

function numbers({ dtype, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const kinds = { float32: Float32Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array };
  return new (kinds[dtype] ?? Float32Array)(bytes.buffer);
}

// A cloud that turns about its upright axis; drag, or use the arrow keys, to turn it by hand.
function cloud({ points, colours }) {
  const canvas = make("canvas", { width: 640, height: 480, tabIndex: 0, role: "img", "aria-label": `A cloud of ${points.length / 3} points; the arrow keys turn it` });
  const { centre, radius } = sphereOf(points);
  const isDark = document.documentElement.dataset.theme === "dark";
  const [near, far] = isDark ? [[160, 198, 255], [52, 74, 110]] : [[24, 78, 184], [176, 196, 230]];
  let turn = 0.6, tilt = 0.3, before = null;
  let moves = !matchMedia("(prefers-reduced-motion: reduce)").matches;

  function draw() {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const depths = new Float32Array(canvas.width * canvas.height).fill(-Infinity);
    const [sinTurn, cosTurn, sinTilt, cosTilt] = [Math.sin(turn), Math.cos(turn), Math.sin(tilt), Math.cos(tilt)];
    const scale = 0.47 * Math.min(canvas.width, canvas.height) / radius;
    for (let n = 0; n < points.length; n += 3) {
      const [x, y, z] = [points[n] - centre[0], points[n + 1] - centre[1], points[n + 2] - centre[2]];
      const right = cosTurn * x + sinTurn * y, away = cosTurn * y - sinTurn * x;
      const up = cosTilt * z + sinTilt * away, depth = sinTilt * z - cosTilt * away;
      splat(image, depths, canvas.width / 2 + scale * right, canvas.height / 2 - scale * up, depth / radius, n);
    }
    context.putImageData(image, 0, 0);
  }

  function splat(image, depths, x, y, depth, n) {
    for (let dx = 0; dx < 2; dx++) {
      for (let dy = 0; dy < 2; dy++) {
        const place = Math.round(y + dy) * canvas.width + Math.round(x + dx);
        if (!(depth > depths[place])) continue;
        depths[place] = depth;
        const shade = 0.5 + 0.5 * depth;
        for (let c = 0; c < 3; c++) {
          image.data[4 * place + c] = colours ? colours[n + c] : near[c] * shade + far[c] * (1 - shade);
        }
        image.data[4 * place + 3] = 255;
      }
    }
  }

  let last = performance.now();
  function step(now) {
    if (!canvas.isConnected && now - last > 1000) return;
    if (moves && before === null && canvas.isConnected) {
      turn += TURN_PER_S * Math.min(0.1, (now - last) / 1000);
      draw();
    }
    last = canvas.isConnected ? now : last;
    requestAnimationFrame(step);
  }

  canvas.addEventListener("pointerdown", (event) => { before = event; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { before = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (before === null) return;
    turn += (event.clientX - before.clientX) / 100;
    tilt += (event.clientY - before.clientY) / 100;
    before = event;
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
    if (!by) return;
    event.preventDefault();
    moves = false;
    [turn, tilt] = [turn + by[0], tilt + by[1]];
    draw();
  });
  draw();
  requestAnimationFrame(step);
  return canvas;
}

function sphereOf(points) {
  const centre = [0, 0, 0];
  for (let n = 0; n < points.length; n++) centre[n % 3] += points[n] / (points.length / 3);
  let radius = 1e-9;
  for (let n = 0; n < points.length; n += 3) {
    radius = Math.max(radius, Math.hypot(points[n] - centre[0], points[n + 1] - centre[1], points[n + 2] - centre[2]));
  }
  return { centre, radius };
}
