// Mix: any number of domains of one source, with strengths by resolution, live; the mix becomes a domain of its own.

import { Faces } from "./faces.js";
import { Grid, page } from "./grid.js";
import { ask, base, clear, domains, field, guarded, h, head, panel, post, select, slider, sourceOf, toast } from "./ui.js";
import { open, refresh, studio } from "./main.js";

const LEVELS = [["coarse", "Coarse", "4 and 8 px: pose, shape"], ["middle", "Middle", "16 and 32 px: features"], ["fine", "Fine", "64 px and more: colours, texture"], ["mapping", "Mapping", "which face a latent is"]];

export function show(root, told) {
  const sources = studio.hello.sources;
  const all = domains(studio.library).map((e) => ({ ...e, source: sourceOf(e, sources, studio.library) })).filter((e) => e.source);
  const shipped = sources.map((s) => s.name);
  const bases = [...new Set(all.map((e) => e.source))].sort((a, b) => shipped.indexOf(a) - shipped.indexOf(b));
  if (!bases.length) bases.push(sources[0].name);
  const wanted = (told.domains || []).map((p) => all.find((e) => e.path === p)).filter(Boolean);
  const state = { source: wanted[0]?.source ?? bases.find((b) => all.filter((e) => e.source === b).length > 1) ?? bases[0], terms: [], strengths: {} };
  const grid = new Grid({ columns: 4, onpick: (i) => grid.save(i, `mix-seed-${faces.seeds[i]}`) });
  const faces = new Faces(draw);
  const list = h("div", { class: "stack" });
  const command = h("code", { class: "code" });
  const add = select("Add a domain", [["", "choose…"]], "", (v) => { if (v) { push(v); add.input.value = ""; draw(); } });
  const source = select("Source", bases, state.source, (v) => { state.source = v; state.terms = []; start(); });

  const fitting = () => all.filter((e) => e.source === state.source);
  const label = (path) => fitting().filter((e) => base(e.path) === base(path)).length > 1 ? path : base(path);
  function push(path, amount = 1) { state.terms.push({ path, amount }); terms(); }
  function terms() {
    clear(list, state.terms.map((term) => {
      const row = slider({ label: label(term.path), min: -1, max: 2, value: term.amount, hint: "1: as learnt, more exaggerates it, below 0 its opposite", onchange: (v) => { term.amount = v; draw(); } });
      return h("div", { class: "row", style: { "flex-wrap": "nowrap" } }, Object.assign(row, { className: "slider grow" }),
        h("button", { type: "button", class: "plain", "aria-label": `Take ${label(term.path)} out`, onclick: () => { state.terms = state.terms.filter((t) => t !== term); terms(); draw(); } }, "✕"));
    }), state.terms.length ? null : h("p", { class: "quiet" }, "Nothing yet: this is the source."));
    clear(add.input, h("option", { value: "" }, "choose…"), fitting().filter((e) => !state.terms.some((t) => t.path === e.path)).map((e) => h("option", { value: e.path }, e.path)));
  }
  const levels = LEVELS.map(([key, words, hint]) => slider({ label: h("span", {}, words, " ", h("small", {}, hint)), min: 0, max: 2, value: 1, hint, onchange: (v) => { state.strengths[key] = v; if (v === 1) delete state.strengths[key]; draw(); } }));
  const resolution = () => sources.find((s) => s.name === state.source)?.resolution ?? 1024;
  const single = h("div", { class: "stack" });
  function start() {
    if (wanted.length) for (const e of wanted.splice(0)) push(e.path, 1);
    else for (const e of fitting().slice(0, 2)) push(e.path, 0.6);
    const px = []; for (let r = 4; r <= resolution(); r *= 2) px.push(r);
    state.strengths = {};
    for (const s of levels) s.set(1, true);
    clear(single, px.map((r) => slider({ label: `${r} px`, min: 0, max: 2, value: 1, onchange: (v) => { state.strengths[r] = v; if (v === 1) delete state.strengths[r]; draw(); } })));
    terms();
    draw();
  }
  const request = () => ({ source: state.source, domains: state.terms.map((t) => t.path), amounts: state.terms.map((t) => t.amount), strengths: state.strengths, ...faces.told });
  function draw() {
    grid.node.style.setProperty("--columns", faces.columns);
    grid.show(request(), faces.names);
    const at = Object.entries(state.strengths).filter(([k]) => +k).map(([k, v]) => `${k}=${v}`).join(" ");
    command.textContent = ["stylegraft mix", ...state.terms.map((t) => `${t.path}:${t.amount}`), ...Object.entries(state.strengths).filter(([k]) => !+k).map(([k, v]) => `--${k} ${v}`), at ? `--at ${at}` : "", "--out mixed.safetensors"].filter(Boolean).join(" ");
  }
  function save() {
    const name = field("Name of the new domain", { value: state.terms.map((t) => label(t.path)).join("-").replace(/[^\w.+ -]/g, "-").slice(0, 60) || "mix", required: true });
    ask("Save the mix as a domain", h("div", { class: "stack" }, name, h("p", { class: "quiet" }, "A domain like any other: draw, mix, export or share it. It lists what it was made of.")), [["Save", async () => {
      const found = await post("/api/mix", { ...request(), name: name.input.value, page: page("save"), number: 0 });
      toast(`${found.path} was saved`);
      await refresh();
    }, "main"]]);
  }

  root.append(
    head("Mix", "Domains of one source add up. Each slider is how much of one; below, how much of the mix each resolution takes."),
    h("div", { class: "split" },
      h("div", { class: "stage pinned" }, grid.node, h("div", { class: "caption" }, h("span", {}, "A click on a face saves it"), grid.words)),
      h("div", { class: "side" },
        all.length ? null : panel("There is no domain yet", h("p", {}, "A mix needs a domain or two; these are the faces of the source. Learn one from ten pictures first, it takes some minutes."), h("div", { class: "row" }, h("button", { class: "main", onclick: () => open("adapt") }, "Learn a domain"))),
        panel("Domains", bases.length > 1 ? source : null, list, add, h("div", { class: "row" }, h("button", { class: "main", type: "button", onclick: save }, "Save as a domain"), h("button", { type: "button", onclick: () => open("library") }, "Export…"))),
        panel("By resolution", levels, h("details", {}, h("summary", {}, "Block by block"), single)),
        faces.node,
        panel("As a command", command, h("p", { class: "quiet" }, "The same in a terminal."))))
  );
  start();
  return { grid };
}
