// A frame with its particles, and where pictures come from.

import { colourOf, drawable } from "./colours.js";
import { fit } from "./plot.js";

const KEPT = 40;

// Fetches pictures, one at a time and only the one wanted last; keeps the newest ones.
export class Pictures {
  constructor(shown, failed) {
    this.shown = shown;
    this.failed = failed;
    this.kept = new Map();
    this.busy = false;
    this.next = null;
  }

  async want(path) {
    if (this.kept.has(path) || this.busy) {
      this.next = this.kept.has(path) ? null : path;
      return this.kept.get(path);
    }
    this.busy = true;
    try {
      this.keep(path, await fetchPicture(path));
      this.shown(path);
    } catch (error) {
      this.failed(error);
    } finally {
      this.busy = false;
      const next = this.next;
      this.next = null;
      if (next && next !== path) this.want(next);
    }
    return this.kept.get(path);
  }

  has(path) {
    return this.kept.get(path);
  }

  keep(path, picture) {
    this.kept.set(path, picture);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
  }
}

export function pathOf(run, stream, key, row) {
  return `/picture/${[run, stream, key].map(encodeURIComponent).join("/")}/${row}`;
}

// `scale` of a picture with colours: gives [low, high] for the picture; without it, grey.
export async function fetchPicture(path, scale) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: status ${answer.status}`);
  const number = (name) => Number(answer.headers.get(name));
  const picture = {
    width: number("X-Width"), height: number("X-Height"), low: number("X-Low"), high: number("X-High"),
    data: new Uint8ClampedArray(await answer.arrayBuffer()),
  };
  picture.canvas = drawable(picture, scale && scale(picture));
  picture.blank = picture.data.every((v) => v === 0);
  return picture;
}

// Draw an image of `shape` (H, W) px, and what is on it.
export function drawFrame(canvas, picture, shape, { marks = [], picked }) {
  const { pen, width, height } = fit(canvas);
  const scale = Math.min(width / shape[1], height / shape[0]);
  const left = (width - shape[1] * scale) / 2, top = (height - shape[0] * scale) / 2;
  canvas.toImage = (x, y) => [(y - top) / scale, (x - left) / scale];
  pen.save();
  pen.beginPath();
  pen.rect(left, top, shape[1] * scale, shape[0] * scale);
  pen.clip();
  pen.translate(left, top);
  if (picture) {
    pen.imageSmoothingEnabled = true;
    pen.drawImage(picture.canvas, 0, 0, shape[1] * scale, shape[0] * scale);
  }
  for (const mark of marks) outline(pen, mark, scale, picked);
  pen.restore();
  if (picture) ruler(pen, scale, left, top + shape[0] * scale);
}

function outline(pen, mark, scale, picked) {
  const x = (mark.x + 0.5) * scale, y = (mark.y + 0.5) * scale;
  if (!Number.isFinite(x) || !Number.isFinite(y)) return;
  const faint = picked !== null && picked !== mark.particle;
  pen.globalAlpha = faint ? 0.25 : 1;
  pen.strokeStyle = pen.fillStyle = colourOf(mark.particle);
  if (mark.ends) trail(pen, mark.path, scale);
  pen.lineWidth = picked === mark.particle ? 3 : 1.75;
  pen.setLineDash(mark.state === "tracked" ? [] : [5, 4]);
  rim(pen, mark, x, y, scale);
  pen.setLineDash([]);
  const [dy, dx] = mark.arrow.map((v) => v * scale);
  // a path so far ends at the particle; what is yet to come begins there
  if (mark.ends) arrow(pen, x - dx, y - dy, dx, dy);
  else arrow(pen, x, y, dx, dy);
  pen.font = "bold 13px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.textBaseline = "bottom";
  const at = [x + Math.max(4, mark.radius * scale) * 0.72, y - Math.max(4, mark.radius * scale) * 0.72];
  pen.lineWidth = 3;
  pen.strokeStyle = "#000c";
  pen.strokeText(String(mark.particle), ...at);
  pen.fillText(String(mark.particle), ...at);
  pen.globalAlpha = 1;
}

// The outline of a particle's mask; a disc of its area until that has come.
function rim(pen, mark, x, y, scale) {
  pen.beginPath();
  if (mark.outline === undefined) {
    pen.arc(x, y, Math.max(4, mark.radius * scale), 0, 2 * Math.PI);
  } else {
    mark.outline.forEach((reach, k) => {
      const angle = (2 * Math.PI * k) / mark.outline.length;
      pen.lineTo(x + reach * scale * Math.cos(angle), y + reach * scale * Math.sin(angle));
    });
    pen.closePath();
  }
  pen.stroke();
}

function trail(pen, path, scale) {
  pen.lineWidth = 1;
  pen.beginPath();
  path.filter((place) => place.every(Number.isFinite))
    .forEach(([y, x]) => pen.lineTo((x + 0.5) * scale, (y + 0.5) * scale));
  pen.stroke();
}

function arrow(pen, x, y, dx, dy) {
  const length = Math.hypot(dx, dy);
  if (!(length > 5)) return;
  const head = Math.min(7, length / 2), angle = Math.atan2(dy, dx);
  const colour = pen.strokeStyle;
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x + dx, y + dy);
  for (const side of [2.6, -2.6]) {
    pen.moveTo(x + dx, y + dy);
    pen.lineTo(x + dx + head * Math.cos(angle + side), y + dy + head * Math.sin(angle + side));
  }
  for (const [width, stroke] of [[4.5, "#000b"], [2, colour]]) {
    pen.lineWidth = width;
    pen.strokeStyle = stroke;
    pen.stroke();
  }
}

// A bar of a round number of px.
function ruler(pen, scale, left, bottom) {
  const length = [10, 20, 50, 100, 200, 500, 1000].findLast((n) => n * scale < 110) ?? 10;
  pen.fillStyle = "#fff";
  pen.strokeStyle = "#000";
  pen.lineWidth = 3;
  pen.strokeRect(left + 10, bottom - 12, length * scale, 3);
  pen.fillRect(left + 10, bottom - 12, length * scale, 3);
  pen.font = "12px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.textBaseline = "bottom";
  pen.strokeText(`${length} px`, left + 10, bottom - 14);
  pen.fillText(`${length} px`, left + 10, bottom - 14);
}
