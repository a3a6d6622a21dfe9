// The page: takes messages, chooses the frame, draws what has changed.

import { drawable } from "./colours.js";
import { Connection } from "./connection.js";
import * as curves from "./curves.js";
import { pickOnPictures, timeControls } from "./controls.js";
import { header } from "./header.js";
import { Maps } from "./maps.js";
import { alerts, byId, clock, empty, fixed, ledgerTable, particleTable, runList } from "./panels.js";
import { drawFrame, pathOf, Pictures } from "./picture.js";
import { readOut } from "./plot.js";
import { Store } from "./store.js";

const BETWEEN_MS = 120, SOON_MS = 20, LAZY_MS = 150, PANELS_MS = 1000, OVERTAKEN_MS = 150, PREVIEW_FRESH_MS = 2500;
const GAINS = [1, 2, 5, 10, 20, 50, 100];

const store = new Store();
const view = { frame: undefined, live: true, playing: null, picked: null, connected: false, status: null,
  runs: [], chosen: "", note: "" };
// what was shown when, for `operando bench dashboard` and the tests
const seen = { first: null, shown: [] };
window.operando = { seen, store, view };

const maps = new Maps();
const CANVASES = { aligned: byId("aligned"), unaligned: byId("camera") };
const pictures = Object.fromEntries(Object.keys(CANVASES).map((key) => [key, new Pictures(() => {
  view.note = "";
  refresh();
}, () => {
  view.note = "the picture of this frame could not be read; the next will be tried";
  setTimeout(refresh, 1000);
})]));
const connection = new Connection(take, (connected) => {
  view.connected = connected;
  refresh();
});

const TAKERS = {
  status: (message) => { view.status = message; },
  runs: (message) => { view.runs = message.runs; runList(view.runs, view.chosen); },
  run: (message) => { begin(message.run); },
  stop: (message) => { store.run = message.run; },
  stream: (message) => { if (ours(message)) store.describe(message.stream); },
  rows: (message) => { if (ours(message)) rows(message); },
  outlines: (message) => { if (ours(message)) store.addOutlines(message); },
  preview: (message) => { if (ours(message)) preview(message); },
};

// What belongs to a frame comes in several messages: the picture, which is the last that it needs, is
// what makes it be drawn.
function take(message) {
  TAKERS[message.type]?.(message);
  refresh(message.key === "aligned" ? SOON_MS : LAZY_MS);
}

const ours = (message) => store.run !== null && message.run === store.run.key;

function begin(run) {
  const same = run !== null && store.run !== null && run.key === store.run.key;
  store.begin(run);
  maps.clear();
  if (!same) Object.assign(view, { frame: undefined, live: true, picked: null, note: "" });
}

function rows(message) {
  store.add(message);
  // they come by two ways: a preview may overtake the rows of its frame
  for (const preview of Object.values(store.previews)) {
    if (performance.now() - preview.at < OVERTAKEN_MS) preview.frame = store.newest;
  }
  if (view.live) view.frame = store.newest;
}

function preview(message) {
  store.previews[message.key] = { canvas: drawable(message), width: message.width, height: message.height,
    frame: store.newest, at: performance.now() };
}

let dueAt = Infinity, timer, drawnAt = -Infinity, panelsAt = -Infinity, asked = false, later;

// Draw within a time, ms.
function refresh(within = SOON_MS) {
  const now = performance.now();
  const at = Math.max(now + within, drawnAt + BETWEEN_MS);
  if (at >= dueAt) return;
  dueAt = at;
  clearTimeout(timer);
  // not requestAnimationFrame: a page in the background shall be up to date when it is looked at
  timer = setTimeout(() => {
    dueAt = Infinity;
    drawnAt = performance.now();
    draw();
  }, at - now);
}

// Draw all of it, panels too, for the viewer has asked for it.
function answer() {
  asked = true;
  refresh();
}

function draw() {
  if (view.live) view.frame = store.newest;
  header(view, store);
  timeline();
  frames();
  // curves and tables cost more than pictures and need not change as often
  const wait = panelsAt + PANELS_MS - performance.now();
  if (asked || wait <= 0) {
    panelsAt = performance.now();
    asked = false;
    panels();
  } else {
    clearTimeout(later);
    later = setTimeout(refresh, wait);
  }
}

function timeline() {
  const numbers = store.frameNumbers;
  const slider = byId("slider");
  slider.max = Math.max(0, numbers.length - 1);
  const at = numbers.indexOf(view.frame);
  if (at >= 0) slider.value = at;
  slider.disabled = numbers.length < 2;
  byId("live").setAttribute("aria-pressed", String(view.live));
  byId("play").textContent = view.playing ? "stop" : "play";
  const table = store.stream("frames");
  const row = store.frames.get(view.frame);
  byId("frame").textContent = row === undefined ? "no frame yet"
    : `frame ${view.frame} · ${fixed(table.value(row, "energy"), 2)} eV · ${table.word(row, "status")}`
      + `${table.word(row, "reason") ? ` (${table.word(row, "reason")})` : ""}`
      + ` · rev ${table.value(row, "revision")}`;
  byId("frame").title = row === undefined ? "" : clock(table.value(row, "time"));
}

function frames() {
  const table = store.stream("frames");
  const row = store.frames.get(view.frame);
  const preview = store.previews.aligned;
  const shape = table.arrays.aligned ?? (preview && [preview.height, preview.width]);
  if (!shape || (row === undefined && !preview)) {
    nothing(!view.connected ? "not connected" : store.run === null
      ? "No run yet. The newest run appears here by itself as soon as the processor has seen its first frames."
      : "waiting for the first frame of this run");
    return;
  }
  const found = store.particlesOf(view.frame);
  const gain = gainFor(found.map((p) => Math.hypot(...p.residual)));
  byId("gain").textContent = gain > 1 ? `(${gain} times)` : "";
  const marks = {
    aligned: found.map((p) => (
      { ...p, y: p.alignedY, x: p.alignedX, arrow: p.residual.map((v) => v * gain) })),
    unaligned: found.map((p) => ({ ...p, arrow: p.displacement, ends: true })),
  };
  for (const [key, canvas] of Object.entries(CANVASES)) {
    const { picture, own } = chosen(key, row);
    drawFrame(canvas, picture, shape, { marks: marks[key], picked: view.picked });
    empty(canvas, picture ? (picture.blank ? "no image of this frame" : "") : "loading the picture");
    if (own) note(key, picture);
  }
}

function nothing(hint) {
  for (const canvas of Object.values(CANVASES)) {
    drawFrame(canvas, null, [1, 1], { picked: null });
    empty(canvas, hint);
  }
}

// The picture of a frame: the preview while it is the newest and fresh, else the image itself.
// Until that is there, what was shown last stays (own: false).
function chosen(key, row) {
  const preview = store.previews[key] ?? null;
  const newest = view.frame === store.newest && preview !== null;
  if (row === undefined) return { picture: preview, own: false };
  const own = newest && preview.frame === view.frame;
  const path = pathOf(store.run.key, "frames", key, row);
  const kept = pictures[key].has(path);
  if (kept) return { picture: kept, own: true };
  if (newest && key === "unaligned") return { picture: preview, own }; // it is as small itself
  const fresh = newest ? preview.at + PREVIEW_FRESH_MS - performance.now() : 0;
  if (fresh > 0) {
    clearTimeout(stale);
    stale = setTimeout(refresh, fresh);
  } else if (key in store.stream("frames").arrays) {
    pictures[key].want(path);
  }
  if (newest) return { picture: preview, own };
  return { picture: last[key]?.run === store.run.key ? last[key].picture : null, own: false };
}

const last = {};
let stale;

function note(key, picture) {
  last[key] = { run: store.run.key, picture };
  if (key !== "aligned") return;
  view.note = "";
  seen.first ??= performance.now();
  const before = seen.shown.at(-1);
  if (before?.frame !== view.frame || before?.run !== store.run.key) {
    const time = store.stream("frames").value(store.frames.get(view.frame), "time");
    seen.shown.push({ run: store.run.key, frame: view.frame, time, at: Date.now() / 1000 });
    if (seen.shown.length > 5000) seen.shown.shift();
  }
}

function gainFor(lengths) {
  const known = lengths.filter(Number.isFinite).sort((a, b) => a - b);
  const typical = known.length ? known[Math.floor(known.length / 2)] : 0;
  return typical > 0 ? GAINS.findLast((gain) => gain * typical <= 20) ?? 1 : 1;
}

function panels() {
  const table = store.stream("frames");
  const row = store.frames.get(view.frame);
  const cursor = row === undefined || view.live ? NaN : store.since(table, row);
  curves.drift(byId("drift"), store, cursor);
  curves.strain(byId("strain"), store, cursor);
  curves.latency(byId("latency"), store, cursor);
  curves.tracks(byId("tracks"), store, cursor, byId("quantity").value, view.picked);
  const own = curves.spectra(byId("spectra"), store, table.value(row, "energy"), view.picked);
  byId("spectra-note").textContent = own || !store.tracks.size ? ""
    : "mean OD per frame; no spectra stream";
  particleTable(store, view.frame, view.picked, pick);
  ledgerTable(store);
  alerts(store);
  maps.draw(store);
}

function pick(particle) {
  view.picked = view.picked === particle ? null : particle;
  answer();
}

byId("runs").addEventListener("change", (event) => {
  view.chosen = event.target.value;
  connection.look(view.chosen);
});
for (const [key, [name, unit]] of Object.entries(curves.QUANTITIES)) {
  byId("quantity").append(new Option(`${name}, ${unit}`, key));
}
byId("quantity").addEventListener("change", () => answer());
byId("map-key").addEventListener("change", () => answer());
timeControls(view, store, answer);
pickOnPictures(view, store, pick);
for (const canvas of document.querySelectorAll(".plots canvas")) readOut(canvas);
window.addEventListener("resize", () => answer());
setInterval(() => header(view, store), 2000);
runList([], "");
refresh();
