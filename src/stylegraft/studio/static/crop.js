// A square cut out of a photo by hand: dragged on the picture, or set with three sliders.

import { ask, h, slider } from "./ui.js";

/** Ask for a square of the picture at `url`; done(file) gets it as a file of this name. */
export async function crop(url, name, done) {
  const image = Object.assign(new Image(), { src: url });
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image, least = Math.min(width, height);
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": `${name}, and the square that is taken`, style: { cursor: "move", "touch-action": "none" } });
  const shown = Math.min(1, 480 / Math.max(width, height));
  Object.assign(canvas, { width: width * shown, height: height * shown });
  const parts = { x: slider({ label: "From left to right", min: 0, max: 1, value: 0.5, onchange: draw }), y: slider({ label: "From top to bottom", min: 0, max: 1, value: 0.5, onchange: draw }), side: slider({ label: "Size", min: 0.1, max: 1, value: 1, onchange: draw }) };
  const square = () => { const side = Math.max(16, Math.round(least * parts.side.value)); return [Math.round((width - side) * parts.x.value), Math.round((height - side) * parts.y.value), side]; };
  function draw() {
    const [x, y, side] = square().map((v) => v * shown), context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    context.fillStyle = "rgb(0 0 0 / .65)";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, x / shown, y / shown, side / shown, side / shown, x, y, side, side);
  }
  canvas.addEventListener("pointermove", (e) => {
    if (!e.buttons) return;
    const [, , side] = square(), box = canvas.getBoundingClientRect();
    const at = (place, size) => size === side ? 0.5 : Math.min(1, Math.max(0, (place * size - side / 2) / (size - side)));
    parts.x.set(at((e.clientX - box.left) / box.width, width), true);
    parts.y.set(at((e.clientY - box.top) / box.height, height));
  });
  canvas.addEventListener("pointerdown", (e) => canvas.setPointerCapture(e.pointerId));
  draw();
  ask("Crop by hand", h("div", { class: "stack" }, h("p", { class: "quiet" }, "The face upright, eyes a little above the middle, some forehead and chin around it."), canvas, Object.values(parts)), [["Take this square", async () => {
    const [x, y, side] = square(), cut = h("canvas", { width: side, height: side });
    cut.getContext("2d").drawImage(image, x, y, side, side, 0, 0, side, side);
    const kind = /jpe?g$/i.test(name) ? "image/jpeg" : /webp$/i.test(name) ? "image/webp" : "image/png";
    await done(new File([await new Promise((give) => cut.toBlob(give, kind, 1))], name));
  }, "main"]]);
}
