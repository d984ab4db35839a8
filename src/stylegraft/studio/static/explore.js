// Explore: the faces of a source or a domain, their styles, and the maps inside the network.

import { Faces } from "./faces.js";
import { Grid, page } from "./grid.js";
import { base, clear, domains, guarded, h, head, panel, post, select, slider, sourceOf } from "./ui.js";
import { studio } from "./main.js";

export function show(root, told) {
  const sources = studio.hello.sources;
  const own = studio.library.filter((e) => e.kind === "source" && !e.facts.foreign && !e.facts.damaged);
  const state = { source: sources[0].name, domain: "", strength: 1, edits: {}, picked: 0 };
  const grid = new Grid({ columns: 4, onpick: (i) => { state.picked = i; grid.press(i); maps(); } });
  const faces = new Faces(draw);
  const inside = h("div", { class: "maps" });
  const which = h("span");
  const styles = h("div", { class: "stack" });
  const strength = slider({ label: "Strength of the domain", min: -0.5, max: 2, value: 1, onchange: (v) => { state.strength = v; draw(); } });

  const fitting = () => domains(studio.library).filter((e) => sourceOf(e, sources, studio.library) === state.source);
  const domain = select("Domain", [["", "none: the source itself"]], "", (v) => { state.domain = v; strength.hidden = !v; draw(); });
  function fill() {
    clear(domain.input, h("option", { value: "" }, "none: the source itself"), fitting().map((e) => h("option", { value: e.path }, e.path)));
    domain.input.value = state.domain;
    strength.hidden = !state.domain;
  }
  const source = select("Source", [...sources.map((s) => [s.name, `${s.name} · ${s.resolution} px`]), ...own.map((e) => [e.path, e.path])], state.source, (v) => { state.source = v; state.domain = ""; state.edits = {}; fill(); directions(); draw(); });
  if (told.source) state.source = source.input.value = told.source;
  if (told.domain) {
    const entry = studio.library.find((e) => e.path === told.domain);
    state.source = (entry && sourceOf(entry, sources, studio.library)) || state.source;
    source.input.value = state.source;
    state.domain = told.domain;
  }
  fill();

  const request = () => ({ source: state.source, domains: state.domain ? [state.domain] : [], amounts: state.domain ? [state.strength] : [], edits: state.edits, ...faces.told });
  function draw() {
    grid.node.style.setProperty("--columns", faces.columns);
    state.picked = Math.min(state.picked, faces.count - 1);
    grid.show(request(), faces.names);
    grid.press(state.picked);
  }
  grid.ondrawn = () => { maps(); if (!styles.children.length) directions(); }; // the faces first
  let mapping = 0;
  async function maps() {
    const number = ++mapping, seed = faces.seeds[state.picked];
    which.textContent = `seed ${seed}`;
    await guarded(async () => {
      const found = await post("/api/taps", { ...request(), seeds: [seed], page: page("taps"), number });
      if (!found || number !== mapping) return;
      clear(inside, found.map((m) => h("figure", {}, h("img", { src: m.image, alt: `Map ${m.name}` }), `${m.name}`, h("br"), `${m.size} px`)));
    });
  }
  async function directions() {
    const wanted = state.source;
    clear(styles, h("p", { class: "quiet" }, "Looking for directions…"));
    await guarded(async () => {
      const found = await post("/api/directions", { source: wanted, page: page("directions"), number: 0 });
      if (!found || wanted !== state.source) return;
      clear(styles, found.map((d, i) => slider({
        label: `Style ${i + 1}`, min: -4, max: 4, step: 0.05, value: 0, hint: `SeFa direction ${i}, in standard deviations`,
        onchange: (v) => { if (v) state.edits[i] = v; else delete state.edits[i]; draw(); },
      })), h("button", { type: "button", class: "plain", onclick: () => { for (const s of styles.querySelectorAll(".slider")) s.set(0, true); state.edits = {}; draw(); } }, "All styles back to 0"));
    });
  }

  root.append(
    head("Explore", "Faces of a source or a domain. Every seed is a face; styles move all of them the same way."),
    h("div", { class: "split" },
      h("div", { class: "stage pinned" }, grid.node, h("div", { class: "caption" }, h("span", {}, "Choose a face to look inside the network, below"), grid.words)),
      h("div", { class: "side" },
        panel("What is drawn", source, domain, strength),
        faces.node,
        panel("Styles", styles),
        h("section", { class: "panel" }, h("header", {}, h("h2", {}, "Inside the network"), h("span", { class: "tag" }, which)),
          h("p", { class: "quiet" }, "Where each layer is active, from coarse to fine."), inside,
          h("div", { class: "row" }, h("button", { type: "button", onclick: () => grid.save(state.picked, `${base(state.domain || state.source)}-seed-${faces.seeds[state.picked]}`) }, "Save this face"))))),
  );
  draw();
  return { grid };
}
