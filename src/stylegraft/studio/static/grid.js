// A grid of faces that follows the sliders: one request under way, the newest wins, and no picture is shown but the one
// whose number is the newest. Big grids come in pieces: about 90 ms of drawing at first, so that some faces follow the
// hand, then twice as much each time up to 250, since few large batches are drawn sooner than many small ones.

import { h, picture, guarded, toast } from "./ui.js";

const PIECE = 90, MOST = 250; // ms
const tab = Math.random().toString(36).slice(2, 10);
let grids = 0;

export class Grid {
  constructor({ columns = 4, onpick, label = "Faces", path = "/api/draw" } = {}) {
    this.path = path;
    this.node = h("div", { class: "faces", role: "group", "aria-label": label, style: { "--columns": columns } });
    this.page = `${tab}-${++grids}`;
    this.number = 0;
    this.perFace = 0;
    this.onpick = onpick;
    this.words = h("span", { class: "num" });
  }

  /** Show this picture as soon as can be; `names`: of the faces. */
  show(told, names) {
    this.number += 1;
    this.asked = performance.now();
    this.wanted = { told, number: this.number, asked: this.asked, names };
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
      const failed = await guarded(() => this.pieces(now)) === false;
      if (failed && !this.wanted) [...this.node.children].forEach((cell) => cell.classList.remove("old"));
    }
    this.busy = false;
  }

  async pieces(now) {
    const count = now.names.length;
    for (let first = 0, size, time = PIECE; first < count; first += size, time = Math.min(2 * time, MOST)) {
      size = this.perFace ? Math.round(time / this.perFace) : 4;
      size = Math.max(1, Math.min(count - first, size));
      const answer = await picture(this.path, { ...now.told, page: this.page, number: now.number, first, count: size });
      if (!answer || answer.number !== this.number) return; // stale: something newer was asked meanwhile
      const image = await createImageBitmap(answer.blob);
      if (now.number !== this.number) return;
      this.paint(image, first, size, now.number);
      const took = answer.ms / size; // without what had to be loaded first; nearly 0 for what is known already
      if (took > 0.5) this.perFace = this.perFace ? this.perFace * 0.7 + took * 0.3 : took;
      if (!first) this.node.dataset.first = Math.round(performance.now() - now.asked);
    }
    const ms = Math.round(performance.now() - now.asked);
    Object.assign(this.node.dataset, { shown: now.number, ms });
    this.words.textContent = `${ms} ms`;
    this.ondrawn?.(now);
  }

  paint(image, first, size, number) {
    const side = image.height;
    for (let i = 0; i < size && first + i < this.node.children.length; i++) {
      const cell = this.node.children[first + i], canvas = cell.firstChild;
      if (canvas.width !== side) canvas.width = canvas.height = side;
      canvas.getContext("2d").drawImage(image, i * side, 0, side, side, 0, 0, side, side);
      cell.classList.remove("old");
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
