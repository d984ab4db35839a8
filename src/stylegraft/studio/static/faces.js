// What every live grid is asked with: which faces, how truncated, with what noise.

import { field, h, panel, select, slider } from "./ui.js";

export class Faces {
  constructor(onchange, { count = 16, first = 0 } = {}) {
    this.count = count;
    this.first = first;
    this.psi = 0.7;
    this.noise = "const";
    this.amount = 1;
    const seed = field("First seed", { type: "number", min: "0", max: "4294967000", step: "1", value: String(first) });
    seed.input.addEventListener("change", () => { this.first = Math.max(0, Math.min(4294967000, Math.round(+seed.input.value) || 0)); seed.input.value = this.first; onchange(); });
    const many = select("Faces", ["1", "4", "9", "16", "25"], String(count), (v) => { this.count = +v; onchange(); });
    const fresh = h("button", { type: "button", onclick: () => { this.first = Math.floor(Math.random() * 1e6); seed.input.value = this.first; onchange(); } }, "New faces");
    const psi = slider({ label: "Truncation", min: 0, max: 1.3, value: 0.7, hint: "0: the mean face, 1: the full variety", onchange: (v) => { this.psi = v; onchange(); } });
    const amount = slider({ label: "Noise blend", min: 0, max: 1, value: 1, hint: "0: the network's own noise, 1: drawn anew", onchange: (v) => { this.amount = v; onchange(); } });
    amount.hidden = true;
    const noise = select("Noise", [["const", "the network's own"], ["random", "drawn anew, blended"], ["none", "none"]], "const", (v) => { this.noise = v; amount.hidden = v !== "random"; onchange(); });
    this.node = panel("Faces", h("div", { class: "two" }, seed, many), h("div", { class: "row" }, fresh), psi, noise, amount);
  }

  get seeds() { return Array.from({ length: this.count }, (_, i) => this.first + i); }
  get names() { return this.seeds.map((s) => `Face of seed ${s}`); }
  get told() { return { seeds: this.seeds, psi: this.psi, noise: this.noise, noise_amount: this.amount }; }
  get columns() { return Math.round(Math.sqrt(this.count)); }
}
