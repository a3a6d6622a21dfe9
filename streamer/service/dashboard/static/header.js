// The line at the top: which run, how it goes, and what is wrong if something is.

import { badge, byId, figures, fixed } from "./panels.js";

const RATE_OVER_MS = 10_000, STILL_MS = 5_000;

export function header(view, store) {
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
  summary(view, store);
}

function trouble(what, remedy) {
  byId("trouble").hidden = false;
  byId("what").textContent = `${what}.`;
  byId("remedy").textContent = remedy;
}

function summary(view, store) {
  const table = store.stream("frames");
  const row = store.frames.get(store.newest);
  // what a later look tells is late by design
  const latency = table.value(store.firsts.get(store.newest), "latency");
  const list = [["sample", store.run?.sample || "–"], ["frames", String(store.frames.size)]];
  list.push(["rate", `${fixed(rate(store), 1)} /s`], ["latency", `${fixed(latency, 2)} s`]);
  list.push(["particles", fixed(table.value(row, "n_particles"), 0)]);
  if (view.note) list.push(["note", view.note]);
  figures(list);
}

// Frames per second: as they arrive while the run goes on, else over the whole run.
function rate(store) {
  const table = store.stream("frames");
  const numbers = store.frameNumbers;
  if (numbers.length < 2) return NaN;
  const from = store.run?.stop ? 0 : Math.max(0, numbers.length - 20);
  const times = [numbers[from], numbers.at(-1)].map((n) => table.value(store.frames.get(n), "time"));
  const still = performance.now() - store.arrived.at(-1) > RATE_OVER_MS;
  return !store.run?.stop && still ? 0 : (numbers.length - 1 - from) / (times[1] - times[0]);
}
