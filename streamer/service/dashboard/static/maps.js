// Maps of the particles: one picture per particle, of the newest row of the stream `maps`.

import { byId, fixed, make } from "./panels.js";
import { fetchPicture, pathOf } from "./picture.js";

const NAMES = {
  fraction: "oxidised fraction", fraction_sigma: "error of the fraction",
  edge_energy: "edge energy", white_line: "white line",
};
const FIXED = { fraction: [0, 1] };
// pictures of maps come one after the other, so that they do not hold up those of frames
const PAUSE_MS = 100;

export class Maps {
  constructor() {
    this.select = byId("map-key");
    this.wanted = "fraction";
    this.select.addEventListener("change", () => {
      this.wanted = this.select.value;
      this.clear();
    });
    this.clear();
  }

  clear() {
    this.shown = new Map(); // particle -> row that is shown
    this.figures = new Map();
    this.busy = false;
    byId("maps").replaceChildren();
  }

  async draw(store) {
    const table = store.stream("maps");
    const keys = Object.keys(table.arrays);
    this.select.hidden = !keys.length;
    byId("maps-empty").textContent = store.maps.size ? "" : !store.run
      ? "no run yet" : "no maps in this run yet: they come when enough energies were seen "
      + "(settings of the processor: xanes)";
    if (!keys.length) return;
    this.offer(keys);
    if (this.busy) return;
    this.busy = true;
    const shown = this.shown;
    try {
      for (const [particle, row] of [...store.maps].sort(([a], [b]) => a - b)) {
        if (shown !== this.shown) return; // another run or quantity meanwhile
        if (shown.get(particle) === row) continue;
        await this.show(store, table, particle, row);
        await new Promise((done) => { setTimeout(done, PAUSE_MS); });
      }
    } catch {
      byId("map-note").textContent = "a map could not be read; trying again with the next";
    } finally {
      if (shown === this.shown) this.busy = false;
    }
  }

  // Arrays of a stream come one by one; what the viewer chose stays chosen.
  offer(keys) {
    const names = [...this.select.options].map((option) => option.value);
    if (names.join() === keys.join()) return;
    const before = this.select.value;
    this.select.replaceChildren(...keys.map((key) => new Option(NAMES[key] ?? key, key)));
    this.select.value = [this.wanted, before, keys[0]].find((key) => keys.includes(key));
    if (this.select.value !== before) this.clear();
  }

  // The figure that one of a particle goes before; null at the end.
  after(particle) {
    const later = [...this.figures.keys()].filter((number) => number > particle);
    return later.length ? this.figures.get(Math.min(...later)) : null;
  }

  async show(store, table, particle, row) {
    const key = this.select.value;
    const shown = this.shown;
    const path = pathOf(store.run.key, "maps", key, row);
    const picture = await fetchPicture(path, (p) => FIXED[key] ?? [p.low, p.high]);
    if (shown !== this.shown) return;
    const unit = table.units[key] ? ` ${table.units[key]}` : "";
    const digits = key === "edge_energy" ? 1 : 2;
    const note = picture.blank ? "unknown"
      : `${fixed(picture.low, digits)} to ${fixed(picture.high, digits)}${unit}`;
    const figure = make("figure");
    picture.canvas.dataset.particle = particle;
    figure.append(picture.canvas, make("figcaption",
      `particle ${particle} · ${note} · ${fixed(table.value(row, "n_energies"), 0)} energies`));
    const old = this.figures.get(particle);
    if (old) old.replaceWith(figure);
    else byId("maps").insertBefore(figure, this.after(particle));
    this.figures.set(particle, figure);
    this.shown.set(particle, row);
    byId("map-note").textContent = key in FIXED ? "colours from 0 (dark) to 1 (bright)"
      : "colours over the central 98 % of each particle";
  }
}
