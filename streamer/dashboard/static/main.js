// The page: takes messages, chooses the frame, draws what has changed.

import { drawable } from "./colours.js";
import { Connection } from "./connection.js";
import * as curves from "./curves.js";
import { Maps } from "./maps.js";
import { alerts, badge, byId, clock, empty, figures, fixed, ledgerTable, particleTable, runList } from "./panels.js";
import { drawFrame, pathOf, Pictures } from "./picture.js";
import { readOut } from "./plot.js";
import { Store } from "./store.js";

const BETWEEN_MS = 120, OVERTAKEN_MS = 150, PREVIEW_FRESH_MS = 900, PLAY_MS = 150, RATE_OVER_MS = 10_000, STILL_MS = 5_000;
const GAINS = [1, 2, 5, 10, 20, 50, 100];

const store = new Store();
const view = { frame: undefined, live: true, playing: null, picked: null, connected: false, status: null,
  runs: [], chosen: "", note: "" };
// what was shown when, for `operando bench dashboard` and the tests
const seen = { first: null, shown: [] };
window.operando = { seen, store, view };

const maps = new Maps();
const pictures = new Pictures(() => refresh(), () => {
  view.note = "the picture of this frame could not be read; the next will be tried";
  setTimeout(refresh, 1000);
});
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
  preview: (message) => { if (ours(message)) preview(message); },
};

function take(message) {
  TAKERS[message.type]?.(message);
  refresh();
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
  if (store.preview && performance.now() - store.preview.at < OVERTAKEN_MS) {
    store.preview.frame = store.newest;
  }
  if (view.live) view.frame = store.newest;
}

function preview(message) {
  store.preview = { canvas: drawable(message), width: message.width, height: message.height,
    frame: store.newest, at: performance.now() };
}

let due = false, drawnAt = -Infinity;

function refresh() {
  if (due) return;
  due = true;
  // not requestAnimationFrame: a page in the background shall be up to date when it is looked at
  const pause = Math.max(20, drawnAt + BETWEEN_MS - performance.now());
  setTimeout(() => {
    due = false;
    drawnAt = performance.now();
    draw();
  }, pause);
}

function draw() {
  if (view.live) view.frame = store.newest;
  header();
  timeline();
  frames();
  panels();
}

function header() {
  byId("trouble").hidden = true;
  const run = store.run;
  const still = performance.now() - (store.arrived.at(-1) ?? -Infinity) > STILL_MS;
  if (!view.connected) {
    trouble("the dashboard does not answer", "Is it still running? This page tries again by itself.");
    badge(byId("state"), "not connected", "bad");
  } else if (run === null) {
    badge(byId("state"), "waiting for a run", "warn");
  } else if (run.stop) {
    const good = run.stop.exit_status === "success";
    badge(byId("state"), `finished: ${run.stop.exit_status ?? ""}`, good ? "good" : "bad");
  } else {
    badge(byId("state"), still ? "open, no new frames" : "live", still ? "warn" : "good");
  }
  const status = view.status;
  if (view.connected && status && !status.ok) trouble(status.what, status.remedy);
  const live = run !== null && !run.stop;
  if (status) badge(byId("tiled"), status.ok ? `Tiled: ${live && status.how === "pushed" ? "pushed" : "connected"}` : "Tiled: trouble",
    status.ok ? "" : "bad");
  byId("tiled").title = status ? status.tiled : "";
  summary();
}

function trouble(what, remedy) {
  byId("trouble").hidden = false;
  byId("what").textContent = `${what}.`;
  byId("remedy").textContent = remedy;
}

function summary() {
  const table = store.stream("frames");
  const row = store.frames.get(store.newest);
  // what a later look tells is late by design
  const latency = table.value(store.firsts.get(store.newest), "latency");
  const list = [["sample", store.run?.sample || "–"], ["frames", String(store.frames.size)]];
  list.push(["rate", `${fixed(rate(), 1)} /s`], ["latency", `${fixed(latency, 2)} s`]);
  list.push(["particles", fixed(table.value(row, "n_particles"), 0)]);
  if (view.note) list.push(["note", view.note]);
  figures(list);
}

// Frames per second: as they arrive while the run goes on, else over the whole run.
function rate() {
  const table = store.stream("frames");
  const numbers = store.frameNumbers;
  if (numbers.length < 2) return NaN;
  const from = store.run?.stop ? 0 : Math.max(0, numbers.length - 20);
  const times = [numbers[from], numbers.at(-1)].map((n) => table.value(store.frames.get(n), "time"));
  const still = performance.now() - store.arrived.at(-1) > RATE_OVER_MS;
  return !store.run?.stop && still ? 0 : (numbers.length - 1 - from) / (times[1] - times[0]);
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
  const shape = table.arrays.aligned ?? (store.preview && [store.preview.height, store.preview.width]);
  const canvases = [byId("aligned"), byId("camera")];
  if (!shape || (row === undefined && !store.preview)) {
    const hint = !view.connected ? "not connected" : store.run === null
      ? "No run yet. The newest run appears here by itself as soon as the processor has seen its first frames."
      : "waiting for the first frame of this run";
    canvases.forEach((canvas) => { drawFrame(canvas, null, [1, 1], { picked: null }); empty(canvas, hint); });
    return;
  }
  const { picture, own } = chosen(row);
  const found = store.particlesOf(view.frame);
  const gain = gainFor(found.map((p) => Math.hypot(...p.residual)));
  byId("gain").textContent = gain > 1 ? `(${gain} times)` : "";
  const common = { picked: view.picked };
  const on = (place) => found.map(place);
  drawFrame(canvases[0], picture, shape, { ...common, marks: on((p) => (
    { ...p, y: p.alignedY, x: p.alignedX, arrow: p.residual.map((v) => v * gain) })) });
  const drift = ["drift_y", "drift_x"].map((name) => table.value(row, name));
  const shift = drift.every(Number.isFinite) ? drift : [0, 0];
  drawFrame(canvases[1], picture, shape, { ...common, shift, marks: on((p) => (
    { ...p, arrow: p.displacement, ends: true })) });
  const hint = picture ? (picture.blank ? "no image of this frame" : "") : "loading the picture";
  canvases.forEach((canvas) => empty(canvas, hint));
  if (own) note(picture);
}

// The picture of a frame: the preview while it is the newest and fresh, else the image itself.
// Until that is there, what was shown last stays (own: false).
function chosen(row) {
  const preview = store.preview;
  const newest = view.frame === store.newest && preview !== null;
  if (row === undefined) return { picture: preview, own: false };
  const path = pathOf(store.run.key, "frames", "aligned", row);
  const kept = pictures.has(path);
  if (kept) return { picture: kept, own: true };
  if (newest && performance.now() - preview.at < PREVIEW_FRESH_MS) setTimeout(refresh, PREVIEW_FRESH_MS);
  else if ("aligned" in store.stream("frames").arrays) pictures.want(path);
  if (newest) return { picture: preview, own: preview.frame === view.frame };
  return { picture: last.run === store.run.key ? last.picture : null, own: false };
}

let last = { run: null, picture: null };

function note(picture) {
  last = { run: store.run.key, picture };
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
  refresh();
}

function goTo(index) {
  const numbers = store.frameNumbers;
  view.frame = numbers[Math.min(Math.max(index, 0), numbers.length - 1)];
  view.live = false;
  refresh();
}

function stopPlaying() {
  clearInterval(view.playing);
  view.playing = null;
}

byId("slider").addEventListener("input", (event) => { stopPlaying(); goTo(Number(event.target.value)); });
byId("live").addEventListener("click", () => { stopPlaying(); view.live = true; refresh(); });
byId("play").addEventListener("click", () => {
  if (view.playing) {
    stopPlaying();
  } else {
    const last = store.frames.size - 1;
    let at = view.live || store.frameNumbers.indexOf(view.frame) >= last ? 0 : store.frameNumbers.indexOf(view.frame);
    view.playing = setInterval(() => {
      goTo(at);
      at += 1;
      if (at >= store.frames.size) stopPlaying();
    }, PLAY_MS);
  }
  refresh();
});
byId("runs").addEventListener("change", (event) => {
  view.chosen = event.target.value;
  connection.look(view.chosen);
});
for (const [key, [name, unit]] of Object.entries(curves.QUANTITIES)) {
  byId("quantity").append(new Option(`${name}, ${unit}`, key));
}
byId("quantity").addEventListener("change", refresh);
byId("map-key").addEventListener("change", refresh);
for (const [id, marks] of [["aligned", (p) => [p.alignedY, p.alignedX]], ["camera", (p) => [p.y, p.x]]]) {
  byId(id).addEventListener("click", (event) => {
    const box = byId(id).getBoundingClientRect();
    const [y, x] = byId(id).toImage(event.clientX - box.left, event.clientY - box.top);
    const hit = store.particlesOf(view.frame)
      .find((p) => Math.hypot(marks(p)[0] - y, marks(p)[1] - x) <= Math.max(p.radius, 6));
    if (hit) pick(hit.particle);
  });
}
for (const canvas of document.querySelectorAll(".plots canvas")) readOut(canvas);
window.addEventListener("resize", refresh);
setInterval(header, 2000);
runList([], "");
refresh();
