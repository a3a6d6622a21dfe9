// Lines over an axis, on a canvas: ticks, units, a cursor, and what is under the pointer.

const LEFT = 58, RIGHT = 10, TOP = 10, BOTTOM = 34;
const TEXT = "#9aa4b2", GRID = "#222932", CURSOR = "#e6e9ee";

export function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  const wide = Math.max(1, Math.round(width * ratio)), high = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

export function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return found.map((value) => ({ value, text: value.toFixed(Math.min(digits, 8)) }));
}

function range(series, axis) {
  let low = Infinity, high = -Infinity;
  for (const line of series) {
    for (const point of line.points) {
      const v = point[axis];
      if (Number.isFinite(v)) {
        low = Math.min(low, v);
        high = Math.max(high, v);
      }
    }
  }
  if (low > high) return null;
  if (high - low < 1e-9 + 1e-6 * Math.abs(high)) { // all the same
    const room = axis === 0 ? 0.5 : Math.max(0.1 * Math.abs(high), 0.1);
    return [low - room, high + room];
  }
  const margin = axis === 1 ? (high - low) * 0.06 : 0;
  return [low - margin, high + margin];
}

// series: [{name, colour, points: [[x, y], ...], dots, faint}]
export function plot(canvas, series, { xLabel, yLabel, cursor, legend = false }) {
  const { pen, width, height } = fit(canvas);
  const xs = range(series, 0), ys = range(series, 1);
  if (xs === null || ys === null) return false;
  const right = width - RIGHT, bottom = height - BOTTOM;
  const toX = (v) => LEFT + ((v - xs[0]) / (xs[1] - xs[0])) * (right - LEFT);
  const toY = (v) => bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (bottom - TOP);
  frame(pen, xs, ys, toX, toY, { right, bottom, xLabel, yLabel });
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, TOP, right - LEFT, bottom - TOP);
  pen.clip();
  for (const line of series) draw(pen, line, toX, toY);
  if (Number.isFinite(cursor)) {
    pen.strokeStyle = CURSOR;
    pen.globalAlpha = 0.5;
    stroke(pen, [[toX(cursor), TOP], [toX(cursor), bottom]]);
  }
  pen.restore();
  if (legend) names(pen, series, right);
  canvas.plotted = { series, toX, toY, xLabel, yLabel };
  return true;
}

function frame(pen, xs, ys, toX, toY, { right, bottom, xLabel, yLabel }) {
  pen.font = "11px system-ui, sans-serif";
  pen.lineWidth = 1;
  pen.strokeStyle = GRID;
  pen.fillStyle = TEXT;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const { value, text } of ticks(...ys, 5)) {
    stroke(pen, [[LEFT, toY(value)], [right, toY(value)]]);
    pen.fillText(text, LEFT - 5, toY(value));
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const { value, text } of ticks(...xs, 6)) {
    stroke(pen, [[toX(value), TOP], [toX(value), bottom]]);
    pen.fillText(text, toX(value), bottom + 4);
  }
  pen.fillText(xLabel, (LEFT + right) / 2, bottom + 18);
  pen.save();
  pen.translate(10, (TOP + bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.textBaseline = "middle";
  pen.fillText(yLabel, 0, 0);
  pen.restore();
}

function draw(pen, line, toX, toY) {
  pen.strokeStyle = line.colour;
  pen.fillStyle = line.colour;
  pen.globalAlpha = line.faint ? 0.18 : 1;
  pen.lineWidth = 1.5;
  let run = [];
  for (const [x, y] of line.points) {
    if (Number.isFinite(x) && Number.isFinite(y)) {
      run.push([toX(x), toY(y)]);
    } else {
      stroke(pen, run);
      run = [];
    }
  }
  stroke(pen, run);
  if (line.dots || line.points.length < 3) {
    for (const [x, y] of line.points) {
      if (Number.isFinite(y)) dot(pen, toX(x), toY(y));
    }
  }
  pen.globalAlpha = 1;
}

function stroke(pen, points) {
  if (points.length < 2) return;
  pen.beginPath();
  points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.stroke();
}

function dot(pen, x, y) {
  pen.beginPath();
  pen.arc(x, y, 2, 0, 2 * Math.PI);
  pen.fill();
}

function names(pen, series, right) {
  pen.font = "12px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.textBaseline = "top";
  let at = right - 4;
  for (const line of [...series].reverse()) {
    pen.fillStyle = line.colour;
    pen.fillText(line.name, at, TOP + 2);
    at -= pen.measureText(line.name).width + 12;
  }
}

// Show the value under the pointer as the canvas' title.
export function readOut(canvas) {
  canvas.addEventListener("mousemove", (event) => {
    const plotted = canvas.plotted;
    if (!plotted) return;
    const box = canvas.getBoundingClientRect();
    let best = null, least = 30;
    for (const line of plotted.series) {
      for (const [x, y] of line.points) {
        const away = Math.hypot(plotted.toX(x) - event.clientX + box.left,
          plotted.toY(y) - event.clientY + box.top);
        if (away < least) {
          least = away;
          best = `${line.name}: ${y.toPrecision(4)} (${plotted.yLabel}) at ${x.toPrecision(7)} (${plotted.xLabel})`;
        }
      }
    }
    canvas.title = best ?? "";
  });
}
