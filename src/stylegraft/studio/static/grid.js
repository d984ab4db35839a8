// A grid of faces that follows the sliders. One request is under way; its faces come piece by piece and are shown as they
// come, each newer than the one before. What a slider asked since then waits, the newest alone, and begins after the next
// piece. A face that is not yet the newest is dimmed, and so is one that could not be drawn.

import { h, frames, guarded, toast } from "./ui.js";

const AGAIN = 1500; // ms after which a studio that did not answer is asked once more
const tab = Math.random().toString(36).slice(2, 10);
let grids = 0;

export class Grid {
  constructor({ columns = 4, onpick, label = "Faces", path = "/api/faces" } = {}) {
    this.path = path;
    this.node = h("div", { class: "faces", role: "group", "aria-label": label, style: { "--columns": columns } });
    this.page = `${tab}-${++grids}`;
    this.number = 0;
    this.onpick = onpick;
    this.words = h("span", { class: "num" });
  }

  /** Show this picture as soon as can be; `names`: of the faces. */
  show(told, names) {
    this.number += 1;
    this.wanted = { told, number: this.number, asked: performance.now(), names };
    this.cells(names);
    if (!this.busy) this.work();
  }

  cells(names) {
    while (this.node.children.length > names.length) this.node.lastChild.remove();
    while (this.node.children.length < names.length) {
      const index = this.node.children.length;
      this.node.append(h("button", { type: "button", onclick: () => this.onpick?.(index) }, h("canvas", { width: 64, height: 64 })));
    }
    names.forEach((name, i) => this.node.children[i].setAttribute("aria-label", name));
    for (const cell of this.node.children) cell.classList.add("old");
  }

  press(index) { [...this.node.children].forEach((cell, i) => cell.setAttribute("aria-pressed", String(i === index))); }

  async work() {
    this.busy = true;
    while (this.wanted) {
      const now = this.wanted;
      this.wanted = null;
      let lost = false;
      await guarded(() => this.pieces(now).catch((error) => { lost = error.lost; if (!lost || !this.lost) throw error; }));
      this.lost = lost;
      if (lost) { await new Promise((go) => setTimeout(go, AGAIN)); this.wanted ??= this.node.isConnected ? now : null; }
    }
    this.busy = false;
  }

  async pieces(now) {
    let first = 0, drawing = 0;
    for await (const { blob, ms } of frames(this.path, { ...now.told, page: this.page, number: now.number })) {
      const image = await createImageBitmap(blob);
      this.paint(image, first, now.number);
      if (!first) this.node.dataset.first = Math.round(performance.now() - now.asked);
      first += Math.round(image.width / image.height);
      drawing += ms;
      if (now.number !== this.number) return;
    }
    if (first < now.names.length) return; // overtaken
    const ms = Math.round(performance.now() - now.asked);
    Object.assign(this.node.dataset, { shown: now.number, ms, drawing: drawing.toFixed(1) });
    this.words.textContent = `${ms} ms`;
    this.ondrawn?.(now);
  }

  paint(image, first, number) {
    const side = image.height;
    for (let i = 0; i * side < image.width && first + i < this.node.children.length; i++) {
      const cell = this.node.children[first + i], canvas = cell.firstChild;
      if (canvas.width !== side) canvas.width = canvas.height = side;
      canvas.getContext("2d").drawImage(image, i * side, 0, side, side, 0, 0, side, side);
      cell.classList.toggle("old", number !== this.number);
      cell.dataset.number = number;
    }
  }

  /** Save one face as a PNG. */
  save(index, name) {
    this.node.children[index]?.firstChild.toBlob((blob) => {
      const link = h("a", { href: URL.createObjectURL(blob), download: `${name}.png` });
      link.click();
      URL.revokeObjectURL(link.href);
      toast(`${name}.png was saved`);
    });
  }
}

export const page = (name) => `${tab}-${name}`;
