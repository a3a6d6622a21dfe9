// What the viewer may do: go back in time, and single out a particle.

import { byId } from "./panels.js";

const PLAY_MS = 150;

export function timeControls(view, store, answer) {
  function goTo(index) {
    const numbers = store.frameNumbers;
    view.frame = numbers[Math.min(Math.max(index, 0), numbers.length - 1)];
    view.live = false;
    answer();
  }

  function stopPlaying() {
    clearInterval(view.playing);
    view.playing = null;
  }

  byId("slider").addEventListener("input", (event) => { stopPlaying(); goTo(Number(event.target.value)); });
  byId("live").addEventListener("click", () => { stopPlaying(); view.live = true; answer(); });
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
    answer();
  });
}

export function pickOnPictures(view, store, pick) {
  for (const [id, marks] of [["aligned", (p) => [p.alignedY, p.alignedX]], ["camera", (p) => [p.y, p.x]]]) {
    byId(id).addEventListener("click", (event) => {
      const box = byId(id).getBoundingClientRect();
      const [y, x] = byId(id).toImage(event.clientX - box.left, event.clientY - box.top);
      const hit = store.particlesOf(view.frame)
        .find((p) => Math.hypot(marks(p)[0] - y, marks(p)[1] - x) <= Math.max(p.radius, 6));
      if (hit) pick(hit.particle);
    });
  }
}
