// Tables and lists. Texts that come from elsewhere (names of samples, messages) are only ever set
// as text, never as markup.

import { colourOf } from "./colours.js";

export const byId = (id) => document.getElementById(id);

export function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

export function fixed(value, digits) {
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}

export function clock(seconds) {
  return Number.isFinite(seconds) ? new Date(1000 * seconds).toLocaleString() : "";
}

export function badge(element, text, kind = "") {
  element.textContent = text;
  element.className = `badge ${kind}`;
}

// Say why a view is empty; "" if it is not.
export function empty(canvas, text) {
  const note = canvas.parentElement.querySelector(".empty");
  note.textContent = text;
  note.hidden = !text;
}

export function figures(list) {
  const rows = list.map(([name, value]) => {
    const row = make("div");
    row.append(make("dt", name), make("dd", value));
    return row;
  });
  byId("figures").replaceChildren(...rows);
}

export function runList(runs, chosen) {
  const select = byId("runs");
  const options = [new Option(runs.length ? "newest" : "no run yet", "")];
  for (const run of runs) {
    const when = clock(run.time);
    const how = run.stop ? run.stop.exit_status ?? "" : "open";
    const name = run.sample || "unnamed sample";
    options.push(new Option(`${when} · ${name} · ${how} · ${String(run.original_run_uid).slice(0, 8)}`, run.key));
  }
  select.replaceChildren(...options);
  select.value = chosen;
}

const COLUMNS = [
  // heading, column, digits, unit
  ["y", "y", 1, "px"], ["x", "x", 1, "px"], ["±", "sigma_y", 2, "px"],
  ["moved", "displacement", 1, "px"], ["speed", "velocity", 2, "px/s"], ["OD", "od_mean", 2, ""],
];

function amount(table, row, column) {
  const own = table.value(row, column);
  if (Number.isFinite(own) || table.index.has(column)) return own;
  return Math.hypot(table.value(row, `${column}_y`), table.value(row, `${column}_x`));
}

export function particleTable(store, frame, picked, pick) {
  const table = store.stream("particles");
  const heading = make("tr");
  heading.append(make("th", "id"), make("th", "state"));
  for (const [name, , , unit] of COLUMNS) heading.append(make("th", unit ? `${name}, ${unit}` : name));
  const rows = store.particlesOf(frame).sort((a, b) => a.particle - b.particle).map((found) => {
    const line = make("tr", "", picked === found.particle ? "picked" : "");
    const first = make("td");
    const chip = make("span", "", "chip");
    chip.style.background = colourOf(found.particle);
    first.append(chip, String(found.particle));
    line.append(first, make("td", found.state));
    for (const [, column, digits] of COLUMNS) {
      line.append(make("td", fixed(amount(table, found.row, column), digits)));
    }
    line.addEventListener("click", () => pick(found.particle));
    return line;
  });
  if (!rows.length) {
    const none = make("td", frame === undefined ? "no frame yet" : "no particle in this frame");
    none.colSpan = 2 + COLUMNS.length;
    rows.push(make("tr"));
    rows[0].append(none);
  }
  byId("particles-note").textContent = frame === undefined ? ""
    : `of frame ${store.known(frame)}; click to single one out`;
  byId("particles").tHead.replaceChildren(heading);
  byId("particles").tBodies[0].replaceChildren(...rows);
}

// The books of the run: of its stop, else those of its newest frame.
export function books(store) {
  const ledger = store.run?.stop?.ledger;
  if (ledger) {
    const sum = (part) => Object.values(part ?? {}).reduce((a, b) => a + b, 0);
    const found = { received: ledger.received, aligned: ledger.aligned, degraded: ledger.degraded,
      skipped: sum(ledger.skipped), dropped: sum(ledger.dropped) };
    for (const part of ["skipped", "dropped"]) {
      for (const [reason, n] of Object.entries(ledger[part] ?? {})) found[`  ${part}: ${reason}`] = n;
    }
    return [found, ledger.balanced === false ? "NOT balanced" : "balanced"];
  }
  const frames = store.stream("frames");
  const found = {};
  for (const name of ["received", "aligned", "degraded", "skipped", "dropped"]) {
    const values = [...store.frames.values()].map((row) => frames.value(row, `ledger_${name}`));
    found[name] = values.filter(Number.isFinite).reduce((a, b) => Math.max(a, b), 0);
  }
  return [found, "so far"];
}

export function ledgerTable(store) {
  const [found, note] = books(store);
  const rows = Object.entries(found).map(([name, value]) => {
    const line = make("tr");
    line.append(make("td", name), make("td", String(value)));
    return line;
  });
  const last = make("tr");
  last.append(make("td", "received = all others"), make("td", note));
  byId("ledger").replaceChildren(...rows, last);
}

const SEVERITIES = new Set(["info", "warning", "alarm"]);

export function alerts(store) {
  const table = store.stream("advice");
  const items = [];
  for (let row = table.rows.length - 1; row >= 0 && items.length < 50; row -= 1) {
    if (!(table.value(row, "seq_num") >= 1)) continue;
    const severity = table.word(row, "severity");
    const particle = table.value(row, "particle");
    const about = particle >= 0 ? ` · particle ${particle}` : "";
    const move = ["move_y", "move_x"].map((name) => table.value(row, name));
    const moves = move.every(Number.isFinite) && Math.hypot(...move) > 0
      ? ` · move (${fixed(move[0], 1)}, ${fixed(move[1], 1)}) px` : "";
    const text = `${severity}: ${table.word(row, "message")}${about}${moves}`;
    const item = make("li", text, SEVERITIES.has(severity) ? severity : "info");
    item.title = `${table.word(row, "kind")}, ${clock(table.value(row, "time"))}`;
    items.push(item);
  }
  if (!items.length) items.push(make("li", store.run ? "no alerts in this run" : "no run yet"));
  byId("alerts").replaceChildren(...items);
}
