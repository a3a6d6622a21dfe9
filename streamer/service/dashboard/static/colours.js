// Colours of particles and values.

const HUES = ["#5cc8ff", "#ffb454", "#7ee787", "#ff7b9c", "#d2a8ff", "#ffe066", "#4fd1c5", "#ff9e64",
  "#a5b4fc", "#c3e88d", "#f78fb3", "#8be9fd"];

export function colourOf(particle) {
  return HUES[((particle % HUES.length) + HUES.length) % HUES.length];
}

// Anchors of a scale from dark blue over green to yellow, readable without red or green.
const ANCHORS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function between(t) {
  const at = Math.min(Math.max(t, 0), 1) * (ANCHORS.length - 1);
  const i = Math.min(Math.floor(at), ANCHORS.length - 2);
  return ANCHORS[i].map((a, c) => a + (ANCHORS[i + 1][c] - a) * (at - i));
}

const SCALE = Array.from({ length: 256 }, (_, v) => between((v - 1) / 254));

// Where each of the 256 values of a picture lies on a fixed scale from `low` to `high`.
function onScale(picture, [low, high]) {
  return Array.from({ length: 256 }, (_, v) => {
    const value = picture.low + ((v - 1) / 254) * (picture.high - picture.low);
    return 1 + Math.round(254 * Math.min(Math.max((value - low) / (high - low), 0), 1));
  });
}

// Pixels of a picture; 0 is unknown and transparent. `fixed` [low, high]: in colours of that scale.
export function pixels(picture, fixed) {
  const image = new ImageData(picture.width, picture.height);
  const places = fixed && onScale(picture, fixed);
  for (let i = 0; i < picture.data.length; i += 1) {
    const v = picture.data[i];
    const [r, g, b] = places ? SCALE[places[v]] : [v, v, v];
    image.data[4 * i] = r;
    image.data[4 * i + 1] = g;
    image.data[4 * i + 2] = b;
    image.data[4 * i + 3] = v === 0 ? 0 : 255;
  }
  return image;
}

export function drawable(picture, fixed) {
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").putImageData(pixels(picture, fixed), 0, 0);
  return canvas;
}
