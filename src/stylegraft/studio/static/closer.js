// Closer look: what a run or a study recorded, and several runs side by side on the same faces.

import { Faces } from "./faces.js";
import { Grid } from "./grid.js";
import { chart, clear, domains, fileUrl, get, guarded, h, head, panel, post, select, sourceOf } from "./ui.js";
import * as jobs from "./jobs.js";
import { look as soon, open, studio } from "./main.js";

export function show(root, told) {
  const sources = studio.hello.sources, runs = studio.library.filter((e) => e.kind === "run"), studies = studio.library.filter((e) => e.kind === "study");
  const all = domains(studio.library).map((e) => ({ ...e, source: sourceOf(e, sources, studio.library) })).filter((e) => e.source);
  const detail = h("div", { class: "stack" }), side = h("div", { class: "stack" });
  const first = told.path || runs.find((e) => e.facts.traced)?.path || studies[0]?.path || all[0]?.path || runs[0]?.path;
  const which = select("Run or study", [...studies.map((e) => [e.path, `study: ${e.path}`]), ...runs.map((e) => [e.path, e.path])], first, look);

  async function look(path) {
    if (!path) { clear(detail, panel("Nothing to look at yet", h("p", {}, "Runs appear here once something was learnt."), h("div", { class: "row" }, h("button", { class: "main", onclick: () => open("adapt") }, "Learn a domain")))); return; }
    clear(detail, h("p", { class: "quiet" }, "Reading…"));
    await guarded(async () => {
      if (studies.some((e) => e.path === path)) {
        const s = await get("/api/study", { path });
        clear(detail, panel(s.name, s.answers.length ? h("details", {}, h("summary", {}, "Which method, which space, when to stop"), h("div", { class: "stack" }, s.answers.map((a) => h("p", {}, a)))) : null, s.page ? h("div", { class: "row" }, h("a", { class: "button", href: fileUrl(s.page), target: "_blank", rel: "noopener" }, "The whole page")) : null),
          s.problems.map((p) => panel(p.title, h("div", { class: "charts" }, p.charts.map((c) => chart(c.svg))))), s.pictures.map((p) => panel(p.split("/").pop(), h("img", { class: "picture", src: fileUrl(p), alt: p, loading: "lazy" }))));
        return;
      }
      const r = await get("/api/run", { path }), c = r.config;
      const pictures = r.previews, image = h("img", { class: "picture", alt: "Source above, target below" }), at = h("span", { class: "quiet num" }), back = h("input", { type: "range", min: "0", max: String(Math.max(0, pictures.length - 1)), value: String(pictures.length - 1), "aria-label": "Preview along the run", style: { width: "100%" } });
      const place = () => { const p = pictures[+back.value]; if (p) { image.src = fileUrl(p.path, p.stamp); at.textContent = `step ${p.step}`; } };
      back.addEventListener("input", place);
      place();
      clear(detail, panel(r.path,
        h("p", { class: "quiet" }, [`${r.steps} steps`, c.recipe?.name, c.space, c.target ? `${c.target.name}, ${c.target.count} pictures` : "", c.source?.name].filter(Boolean).join(" · ")),
        pictures.length ? h("div", { class: "stack" }, image, h("div", { class: "row", style: { "flex-wrap": "nowrap" } }, back, at)) : null,
        r.report ? h("div", { class: "row" }, h("a", { class: "button", href: fileUrl(r.report), target: "_blank", rel: "noopener" }, "The whole report")) : null),
        panel("What was recorded", r.charts.length ? h("div", { class: "charts" }, r.charts.map((x) => chart(x.svg))) : h("p", { class: "quiet" }, "No step was recorded yet."), r.charts.length && !r.charts.some((x) => /Diversity/.test(x.title)) ? h("p", { class: "quiet" }, "Quality and diversity appear for runs that were traced.") : null),
        anatomy(r),
        r.targets ? panel("What it was taught", h("img", { class: "picture", src: fileUrl(r.targets), alt: "The training pictures as the network saw them", loading: "lazy" })) : null);
    });
  }

  /** Which part of the network moved, and what that does to faces: measured on demand, minutes of work. */
  function anatomy(r) {
    const begin = () => guarded(async () => { await post("/api/jobs", { verb: "anatomy", domain: r.path }); await soon(); tick(); });
    const own = all.some((e) => e.path === r.path);
    return panel("What moved where", r.anatomy.length ? h("div", { class: "charts" }, r.anatomy.map((x) => chart(x.svg))) : h("p", { class: "quiet" }, "The domain taken apart by kind of weight and resolution: how far each part moved, and how much of the look it carries."),
      h("div", { class: "row" }, own && studio.hello.can.trace ? h("button", { type: "button", class: r.anatomy.length ? "" : "main", onclick: begin }, r.anatomy.length ? "Measure again" : "Take it apart") : null,
        r.anatomy_page ? h("a", { class: "button", href: fileUrl(r.anatomy_page), target: "_blank", rel: "noopener" }, "The whole page") : null,
        own && !studio.hello.can.trace ? h("p", { class: "quiet" }, "Measuring needs LPIPS and EfficientNet: `stylegraft assets get lpips` and `effnet`, once.") : null), queue);
  }
  const queue = h("div", { class: "stack" });
  function tick() { jobs.list(queue, studio.jobs.filter((j) => j.verb === "anatomy").slice(0, 3), {}); }

  // the same faces in several domains
  const state = { shown: [] };
  const faces = new Faces(draw, { count: 4 });
  const grids = new Map();
  const add = select("Put beside", [], "", (v) => { if (v) { state.shown.push(v); fill(); draw(); } });
  const rows = h("div", { class: "stack" });
  const source = () => all.find((e) => e.path === state.shown[0])?.source ?? all[0]?.source ?? sources[0].name;
  function fill() {
    clear(add.input, h("option", { value: "" }, "choose…"), all.filter((e) => (!state.shown.length || e.source === source()) && !state.shown.includes(e.path)).map((e) => h("option", { value: e.path }, e.path)));
    clear(rows, ["", ...state.shown].map((path) => {
      if (!grids.has(path)) grids.set(path, new Grid({ columns: 4, label: path || "source" }));
      return h("div", { class: "stack", style: { gap: "4px" } }, h("div", { class: "row spread" }, h("span", { class: "quiet" }, path || source()), path ? h("button", { type: "button", class: "plain", "aria-label": `Take ${path} away`, onclick: () => { state.shown = state.shown.filter((p) => p !== path); fill(); draw(); } }, "✕") : null), grids.get(path).node);
    }));
  }
  function draw() {
    for (const path of ["", ...state.shown]) {
      const grid = grids.get(path);
      grid.node.style.setProperty("--columns", Math.min(8, faces.count));
      grid.show({ source: source(), domains: path ? [path] : [], amounts: path ? [1] : [], ...faces.told }, faces.names);
    }
  }
  root.append(head("Closer look", "What an adaptation cost in diversity, and what became of the same faces."), h("div", { class: "split" }, h("div", { class: "stack" }, which, detail), h("div", { class: "side" }, panel("The same faces, side by side", rows, add), faces.node)));
  if (all.length) {
    state.shown = all.filter((e) => e.source === (all.find((x) => x.path === first)?.source ?? all[0].source)).map((e) => e.path);
    state.shown = [...new Set([all.some((e) => e.path === first) ? first : state.shown[0], ...state.shown])].filter(Boolean).slice(0, 2);
  }
  fill();
  draw();
  look(first);
  tick();
  return { tick, changed: (j) => { if (j.verb === "anatomy" && j.about.domain === which.input.value) look(which.input.value); } };
}
