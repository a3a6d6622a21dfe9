// What the page knows of one run: rows of its streams, sorted into what the panels show.
// A frame has a row per revision; the highest revision counts, and of equal ones the later row.

const LONGEST_PATH = 200;

const finite = (value) => (Number.isFinite(value) ? value : 0);

export class Stream {
  constructor(name) {
    this.name = name;
    this.rows = [];
    this.outlines = [];
    this.describe({ columns: [], units: {}, codes: {}, arrays: {} });
  }

  describe(description) {
    this.columns = description.columns;
    this.units = description.units;
    this.codes = description.codes;
    this.arrays = description.arrays;
    this.index = new Map(this.columns.map((column, i) => [column, i]));
  }

  value(row, column) {
    const i = this.index.get(column);
    return i === undefined || row === undefined ? NaN : this.rows[row][i];
  }

  word(row, column) {
    const words = this.codes[column];
    const code = this.value(row, column);
    return words === undefined || !Number.isInteger(code) ? "" : words[code] ?? "";
  }
}

// Keep in `map` under `key` the better of two rows of a stream.
function keepBest(map, key, stream, row) {
  const known = map.get(key);
  if (known === undefined || known === row
      || !(stream.value(row, "revision") < stream.value(known, "revision"))) {
    map.set(key, row);
  }
}

function below(map, key) {
  if (!map.has(key)) map.set(key, new Map());
  return map.get(key);
}

export class Store {
  constructor() {
    this.begin(null);
  }

  begin(run) {
    this.run = run;
    this.streams = new Map();
    this.frames = new Map();     // frame -> row of `frames`
    this.firsts = new Map();     // frame -> the first row that told of it
    this.tracks = new Map();     // particle -> frame -> row of `particles`
    this.peopled = new Map();    // frame -> its particles so far
    this.spectra = new Map();    // particle -> energy -> row of `spectra`
    this.maps = new Map();       // particle -> row of `maps`
    this.newest = undefined;     // the highest frame
    this.previews = {};          // image key -> its newest picture
    this.arrived = [];           // when frames came here, ms
  }

  stream(name) {
    if (!this.streams.has(name)) this.streams.set(name, new Stream(name));
    return this.streams.get(name);
  }

  describe(description) {
    this.stream(description.name).describe(description);
  }

  add(message) {
    const stream = this.stream(message.stream);
    const width = message.columns;
    for (let i = 0; (i + 1) * width <= message.data.length; i += 1) {
      const row = message.start + i;
      stream.rows[row] = message.data.subarray(i * width, (i + 1) * width);
      if (stream.value(row, "seq_num") >= 1) this.sort(stream, row);
    }
  }

  addOutlines(message) {
    const { outlines } = this.stream(message.stream);
    const width = message.columns;
    for (let i = 0; (i + 1) * width <= message.data.length; i += 1) {
      const outline = message.data.subarray(i * width, (i + 1) * width);
      if (outline.some((reach) => reach > 0)) outlines[message.start + i] = outline;
    }
  }

  sort(stream, row) {
    const particle = stream.value(row, "particle");
    const frame = stream.value(row, "frame");
    if (stream.name === "frames") {
      if (!this.frames.has(frame)) this.arrived.push(performance.now());
      keepBest(this.frames, frame, stream, row);
      if (!(this.firsts.get(frame) <= row)) this.firsts.set(frame, row);
      if (this.newest === undefined || frame > this.newest) this.newest = frame;
    } else if (stream.name === "particles") {
      keepBest(below(this.tracks, particle), frame, stream, row);
      if (!this.peopled.has(frame)) this.peopled.set(frame, new Set());
      this.peopled.get(frame).add(particle);
    } else if (stream.name === "spectra") {
      keepBest(below(this.spectra, particle), stream.value(row, "energy"), stream, row);
    } else if (stream.name === "maps") {
      this.maps.set(particle, row);
    }
  }

  get frameNumbers() {
    return [...this.frames.keys()].sort((a, b) => a - b);
  }

  get particleNumbers() {
    return [...this.tracks.keys()].sort((a, b) => a - b);
  }

  // Time of a row since the first frame, s.
  since(stream, row) {
    return stream.value(row, "time") - this.began;
  }

  get began() {
    const frames = this.stream("frames");
    return frames.rows.length ? frames.value(0, "time") : 0;
  }

  // The frame whose particles are shown with a frame: itself, or one before it while some of its
  // own particles are on their way.
  known(frame) {
    if (this.complete(frame)) return frame;
    const before = [...this.peopled.keys()].filter((number) => number < frame && this.complete(number));
    return before.length ? Math.max(...before) : frame;
  }

  complete(frame) {
    const expected = this.stream("frames").value(this.frames.get(frame), "n_particles");
    return (this.peopled.get(frame)?.size ?? 0) >= expected;
  }

  // Particles of a frame, with the place of each in the image and in the aligned frame, px.
  particlesOf(shown) {
    const frame = this.known(shown);
    const drift = this.driftOf(frame), now = this.driftOf(shown);
    const found = [];
    for (const [particle, track] of this.tracks) {
      if (track.has(frame)) found.push(this.particleOf(particle, track, frame, drift, now));
    }
    return found;
  }

  driftOf(frame) {
    const row = this.frames.get(frame);
    return ["drift_y", "drift_x"].map((name) => finite(this.stream("frames").value(row, name)));
  }

  particleOf(particle, track, frame, drift, now) {
    const table = this.stream("particles");
    const row = track.get(frame);
    const pair = (name) => [`${name}y`, `${name}x`].map((column) => table.value(row, column));
    const [y, x] = pair("");
    const residual = pair("residual_");
    return {
      particle, row, residual,
      state: table.word(row, "state"),
      y: y - drift[0] + now[0], x: x - drift[1] + now[1],
      // the aligned frame shows a particle where drift and its own motion are taken out
      alignedY: y - drift[0] - finite(residual[0]),
      alignedX: x - drift[1] - finite(residual[1]),
      radius: Math.sqrt(this.areaOf(track, frame) / Math.PI),
      outline: this.outlineOf(track, frame),
      displacement: pair("displacement_"),
      path: this.pathOf(track, frame),
    };
  }

  // Places (y, x) of a particle up to a frame, px.
  pathOf(track, frame) {
    const table = this.stream("particles");
    return [...track.keys()].filter((number) => number <= frame).sort((a, b) => a - b)
      .slice(-LONGEST_PATH)
      .map((number) => ["y", "x"].map((axis) => table.value(track.get(number), axis)));
  }

  // How far its mask reaches in equal steps of the angle, px; of the nearest frame not after this
  // one of which that is known, else the first. Undefined if there is none.
  outlineOf(track, frame) {
    const { outlines } = this.stream("particles");
    const known = [...track.keys()].filter((number) => outlines[track.get(number)] !== undefined);
    const before = known.filter((number) => number <= frame);
    if (!known.length) return undefined;
    return outlines[track.get(before.length ? Math.max(...before) : Math.min(...known))];
  }

  // The area of a particle, or the last one known where it was not seen.
  areaOf(track, frame) {
    const table = this.stream("particles");
    const area = table.value(track.get(frame), "area");
    if (Number.isFinite(area)) return area;
    const known = [...track.values()].map((row) => table.value(row, "area")).filter(Number.isFinite);
    return known.length ? known[known.length - 1] : 0;
  }
}
