// What the plots show: curves against time or energy, out of the store.

import { colourOf } from "./colours.js";
import { empty } from "./panels.js";
import { plot } from "./plot.js";

const TIME = "time since the first frame, s";
const AXES = ["#5cc8ff", "#ffb454", "#7ee787"];
const WAITING = "waiting for the first frame";

export const QUANTITIES = {
  displacement_y: ["displacement y", "px"], displacement_x: ["displacement x", "px"],
  residual_y: ["own motion y", "px"],
  residual_x: ["own motion x", "px"],
  path_length: ["path", "px"], area: ["area", "px²"], od_mean: ["mean OD", "OD"],
};

function overTime(store, columns, factor = 1) {
  const frames = store.stream("frames");
  const rows = store.frameNumbers.map((number) => store.frames.get(number));
  return columns.map(([name, column], i) => ({
    name,
    colour: AXES[i],
    points: rows.map((row) => [store.since(frames, row), factor * frames.value(row, column)]),
  }));
}

function show(canvas, series, options, hint) {
  const drawn = plot(canvas, series, options);
  empty(canvas, drawn ? "" : hint);
}

export function drift(canvas, store, cursor) {
  const series = overTime(store, [["y", "drift_y"], ["x", "drift_x"]]);
  show(canvas, series, { xLabel: TIME, yLabel: "drift, px", cursor, legend: true }, WAITING);
}

export function strain(canvas, store, cursor) {
  const series = overTime(store, [["yy", "strain_yy"], ["xx", "strain_xx"], ["yx", "strain_yx"]], 1e3);
  show(canvas, series, { xLabel: TIME, yLabel: "strain, 1e-3", cursor, legend: true }, WAITING);
}

export function latency(canvas, store, cursor) {
  const frames = store.stream("frames");
  // what a later look tells is late by design: the first row of each frame counts
  const points = store.frameNumbers.map((number) => store.firsts.get(number))
    .map((row) => [store.since(frames, row), frames.value(row, "latency")]);
  const series = [{ name: "latency", colour: AXES[0], points }];
  show(canvas, series, { xLabel: TIME, yLabel: "event to result, s", cursor }, WAITING);
}

export function tracks(canvas, store, cursor, quantity, picked) {
  const table = store.stream("particles");
  const series = store.particleNumbers.map((particle) => {
    const track = store.tracks.get(particle);
    const rows = [...track.keys()].sort((a, b) => a - b).map((frame) => track.get(frame));
    return {
      name: `particle ${particle}`,
      colour: colourOf(particle),
      faint: picked !== null && picked !== particle,
      points: rows.map((row) => [store.since(table, row), table.value(row, quantity)]),
    };
  });
  const [name, unit] = QUANTITIES[quantity];
  show(canvas, series, { xLabel: TIME, yLabel: `${name}, ${unit}`, cursor }, "waiting for the first particle");
}

// Spectra of the stream `spectra`; without it, the mean OD of each particle in each frame.
export function spectra(canvas, store, cursor, picked) {
  const own = store.spectra.size > 0;
  const table = store.stream(own ? "spectra" : "particles");
  const source = own ? store.spectra : store.tracks;
  const series = [...source.keys()].sort((a, b) => a - b).map((particle) => {
    const points = [...source.get(particle).values()]
      .map((row) => [table.value(row, "energy"), table.value(row, own ? "od" : "od_mean")])
      .filter(([energy, od]) => Number.isFinite(energy) && Number.isFinite(od))
      .sort((a, b) => a[0] - b[0]);
    return { name: `particle ${particle}`, colour: colourOf(particle), points, dots: true,
      faint: picked !== null && picked !== particle };
  }).filter((line) => line.points.length);
  show(canvas, series, { xLabel: "energy, eV", yLabel: "optical density", cursor },
    "no spectrum yet: it fills in with each energy");
  return own;
}
