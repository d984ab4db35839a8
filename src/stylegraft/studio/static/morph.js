// Morph: stations of faces and domains, a live look at any moment between them, and the film.

import { Grid } from "./grid.js";
import { base, check, clear, domains, download, field, fileUrl, guarded, h, head, panel, picture, post, select, slider, sourceOf, toast } from "./ui.js";
import { page } from "./grid.js";
import * as jobs from "./jobs.js";
import { look, studio } from "./main.js";

export function show(root) {
  const sources = studio.hello.sources, can = studio.hello.can;
  const all = domains(studio.library).map((e) => ({ ...e, source: sourceOf(e, sources, studio.library) })).filter((e) => e.source);
  const bases = [...new Set([...sources.map((s) => s.name).filter((n) => all.some((e) => e.source === n)), ...all.map((e) => e.source), sources[0].name])];
  const state = { source: bases[0], stations: [], seconds: 6, loop: true };
  const list = h("ol", { class: "stations" }), queue = h("div", { class: "stack" }), film = h("div");
  const grid = new Grid({ columns: 1, path: "/api/moment", label: "A moment of the film" });
  const fitting = () => all.filter((e) => e.source === state.source);
  const source = select("Source", bases, state.source, (v) => { state.source = v; start(); });
  const seconds = slider({ label: "Seconds", min: 1, max: 30, step: 0.5, value: 6, format: (v) => `${v} s`, onchange: (v) => { state.seconds = v; time.set(time.value); } });
  const loop = check("Come back to the beginning without a seam", true, (v) => { state.loop = v; seek(); });
  const name = field("Name of the film", { value: "morph" }), kind = select("As", [...(can.video ? [[".mp4", "film (.mp4)"]] : []), [".webp", "moving picture (.webp)"], [".gif", "GIF"]]);
  const time = slider({ label: "A moment of it", min: 0, max: 1, step: 0.005, value: 0, format: (v) => `${(v * state.seconds).toFixed(1)} s`, onchange: seek });

  const told = () => ({ source: state.source, stations: state.stations.map(({ seed, domains }) => ({ seed, domains })), seconds: state.seconds, loop: state.loop, fps: 24 });
  /** The very frame of the film at this moment. */
  function seek() { if (state.stations.length > 1) grid.show({ ...told(), share: time.value }, ["A moment of the film"]); }
  function rows() {
    clear(list, state.stations.map((s, i) => {
      const canvas = h("canvas", { width: 64, height: 64, "aria-label": `Station ${i + 1}`, role: "img" });
      const seed = field("Seed", { type: "number", min: "0", value: String(s.seed) });
      seed.input.addEventListener("change", () => { s.seed = Math.max(0, Math.round(+seed.input.value) || 0); still(s, canvas); seek(); });
      const which = select("Domain", [["", "the source"], ...fitting().map((e) => [e.path, base(e.path)])], Object.keys(s.domains)[0] ?? "", (v) => { s.domains = v ? { [v]: 1 } : {}; rows(); seek(); });
      const path = Object.keys(s.domains)[0];
      const amount = path ? slider({ label: "Strength", min: -0.5, max: 1.5, value: s.domains[path], onchange: (v) => { s.domains[path] = v; still(s, canvas); seek(); } }) : null;
      const move = (step, words, sign) => h("button", { type: "button", class: "plain", "aria-label": words, disabled: i + step < 0 || i + step >= state.stations.length, onclick: () => { state.stations.splice(i + step, 0, ...state.stations.splice(i, 1)); rows(); seek(); } }, sign);
      still(s, canvas);
      return h("li", {}, canvas, h("div", { class: "stack" }, h("div", { class: "two" }, which, seed), amount, h("div", { class: "row tight" }, move(-1, "Earlier", "↑"), move(1, "Later", "↓"), h("button", { type: "button", class: "plain", disabled: state.stations.length < 3, onclick: () => { state.stations.splice(i, 1); rows(); seek(); } }, "Remove"))));
    }));
  }
  let stills = 0;
  async function still(s, canvas) {
    const number = (s.number = (s.number || 0) + 1);
    s.page ??= page(`station-${++stills}`);
    await guarded(async () => {
      const paths = Object.keys(s.domains);
      const found = await picture("/api/draw", { source: state.source, domains: paths, amounts: paths.map((p) => s.domains[p]), seeds: [s.seed], page: s.page, number, count: 1 });
      if (!found || number !== s.number) return;
      const image = await createImageBitmap(found.blob);
      canvas.width = canvas.height = image.height;
      canvas.getContext("2d").drawImage(image, 0, 0);
      canvas.dataset.number = number;
    });
  }
  function start() {
    const own = fitting().slice(0, 2);
    state.stations = [{ seed: 3, domains: {} }, ...own.map((e) => ({ seed: 3, domains: { [e.path]: 1 } }))];
    if (state.stations.length < 2) state.stations.push({ seed: 7, domains: {} });
    rows();
    seek();
  }
  const render = h("button", { class: "main", type: "button", onclick: () => guarded(async () => {
    await post("/api/jobs", { verb: "morph", ...told(), name: name.input.value, kind: kind.input.value });
    toast("The film begins");
    name.input.value = name.input.value.replace(/(-(\d+))?$/, (_, all, n) => `-${(+n || 1) + 1}`);
    await look();
    tick();
  }) }, "Make the film");
  const watch = (path) => clear(film, panel(path, /mp4$/.test(path) ? h("video", { class: "picture", src: fileUrl(path), controls: true, loop: true, autoplay: true, muted: true }) : h("img", { class: "picture", src: fileUrl(path), alt: "The film" }), h("div", { class: "row" }, h("a", { class: "button", href: download(path) }, "Download"))));
  function tick() { jobs.list(queue, studio.jobs.filter((j) => j.verb === "morph").slice(0, 6), { onopen: (j) => j.state === "done" && watch(j.about.out) }); }
  root.append(head("Morph", "Stations, and a film from one to the next: of faces, of domains, or of both."),
    h("div", { class: "even" }, h("div", {}, panel("Stations", source, list, h("div", { class: "row" }, h("button", { type: "button", onclick: () => { const last = state.stations.at(-1); state.stations.push({ seed: last.seed + 1, domains: { ...last.domains } }); rows(); seek(); } }, "Add a station"))), panel("Film", seconds, loop, h("div", { class: "two" }, name, kind), h("div", { class: "row" }, render))),
      h("div", {}, panel("A moment", h("div", { style: { width: "min(100%, 380px)" } }, grid.node), time), queue, film)));
  start();
  tick();
  return { tick, grid, changed: (j) => { if (j.verb === "morph" && j.state === "done") watch(j.about.out); } };
}
