// Adapt: pictures (or a sentence), a recipe and a space; then a run that goes on whatever becomes of this page.

import { page } from "./grid.js";
import { chart, check, clear, dropZone, field, fileUrl, get, guarded, h, head, numbers, panel, picture, post, select, send, toast } from "./ui.js";
import * as jobs from "./jobs.js";
import { look, open, refresh, studio } from "./main.js";

const plain = (text) => text.replace(/[^\w.+ -]/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 60);

export function show(root) {
  const can = studio.hello.can, targets = Object.entries(studio.hello.targets);
  const state = { source: studio.hello.sources[0].name, target: "", recipe: "dcl", space: "affine-light+", steps: null, text: "" };
  const own = studio.library.filter((e) => e.kind === "source" && !e.facts.foreign && !e.facts.damaged);
  let recipes = [], spaces = [];
  const thumbs = h("div", { class: "thumbs" }), note = h("p", { class: "quiet" }), cost = h("div", { class: "stack", "aria-live": "polite" }), queue = h("div", { class: "stack" }), detail = h("div", { class: "stack" });
  const name = field("Name of the run", { value: "" });

  // 1 what to learn
  const sets = () => studio.library.filter((e) => e.kind === "set");
  const target = select("Pictures", [], "", (v) => { pick(v); });
  function fill() {
    clear(target.input, h("option", { value: "" }, "choose, or drop some…"), sets().map((e) => h("option", { value: e.path }, `${e.path} (${e.facts.count})`)), targets.map(([k, t]) => h("option", { value: k }, `${k}: ${t.description}`)));
    target.input.value = state.target;
  }
  async function pick(value) {
    state.target = value;
    if (state.text) { state.text = sentence.input.value = ""; methods(); }
    fill();
    if (value && !name.touched) name.input.value = fresh(plain(value.split("/").pop()));
    clear(thumbs);
    note.textContent = "";
    if (value.includes("/")) await guarded(async () => {
      const found = await get("/api/set", { path: value });
      clear(thumbs, found.pictures.slice(0, 24).map((p) => h("img", { src: fileUrl(p), alt: p.split("/").pop(), loading: "lazy" })));
      note.textContent = `${found.count} picture${found.count === 1 ? "" : "s"}${found.count < 5 ? "; about ten is what the methods were made for" : ""}`;
    });
    else if (value) {
      note.textContent = `${studio.hello.targets[value].count} pictures that ship with Stylegraft`;
      await guarded(async () => {
        const found = await picture("/api/target", { name: value, page: page("target"), number: 0 });
        if (state.target === value) clear(thumbs, h("img", { src: URL.createObjectURL(found.blob), alt: studio.hello.targets[value].description, style: { "grid-column": "1 / -1", "aspect-ratio": "auto" } }));
      });
    }
    estimate();
  }
  const taken = () => new Set([...studio.library.map((e) => e.path.split("/").pop()), ...studio.jobs.map((j) => j.about.title.split("/").pop())]);
  function fresh(wanted) { let found = wanted; for (let i = 2; taken().has(found); i++) found = `${wanted}-${i}`; return found; }
  name.input.addEventListener("input", () => { name.touched = true; });
  let uploading = 0;
  const drop = dropZone("Drop about ten pictures of one look", (files) => guarded(async () => {
    if (!files.length) return;
    const into = `${plain(files[0].webkitRelativePath?.split("/")[0] || "look")}-${new Date().toISOString().slice(5, 16).replace(/[-:T]/g, "")}-${++uploading}`;
    let kept = 0, set = "";
    note.textContent = `0 of ${files.length} kept`;
    for (const file of files) {
      await guarded(async () => { const found = await send(file, into); set = found.set; kept += 1; for (const n of found.notes) toast(n); });
      note.textContent = `${kept} of ${files.length} kept`;
    }
    if (set) { await refresh(); await pick(set); }
  }));
  drop.input.setAttribute("id", "adapt-files");
  const sentence = can.text ? field("Or a sentence", { placeholder: "pencil sketch" }) : null;
  sentence?.input.addEventListener("change", () => {
    const words = sentence.input.value.trim();
    if (!words) { pick(state.target); return; }
    state.text = words;
    if (!name.touched) name.input.value = fresh(plain(words));
    clear(thumbs);
    note.textContent = "Learnt from the sentence, without pictures. Choose pictures, or empty it, to learn from those.";
    methods();
    estimate();
  });

  // 2 how
  const source = select("Source", [...studio.hello.sources.map((s) => [s.name, `${s.name} · ${s.resolution} px`]), ...own.map((e) => [e.path, e.path])], state.source, (v) => { state.source = v; choices(); });
  const recipe = select("Recipe", [], "", (v) => { state.recipe = v; suit(); about(); estimate(); }), space = select("What may move", [], "", (v) => { state.space = v; space.touched = true; about(); estimate(); });
  const steps = field("Steps", { type: "number", min: "1", max: "100000", placeholder: "the recipe's" }), seed = field("Seed", { type: "number", min: "0", value: "0" });
  steps.input.addEventListener("change", () => { state.steps = steps.input.value === "" ? null : +steps.input.value; about(); estimate(); });
  const off = check("Do not look for faces: crop the centre", false, () => estimate());
  const trace = can.trace ? check("Measure quality and diversity along the run (slower)", false) : null;
  const facts = h("p", { class: "quiet", id: "facts" }), words = h("p", { class: "quiet" });
  async function choices() {
    await guarded(async () => {
      const size = studio.hello.sources.find((s) => s.name === state.source)?.resolution ?? +own.find((e) => e.path === state.source).facts.resolution;
      [recipes, spaces] = await Promise.all([get("/api/recipes", { resolution: size }), get("/api/spaces", { source: state.source })]);
      clear(space.input, spaces.map((s) => h("option", { value: s.name }, `${s.name} · ${s.numbers >= 1e6 ? `${(s.numbers / 1e6).toFixed(1)} M` : `${(s.numbers / 1e3).toFixed(1)} K`}`)));
      methods();
      estimate();
    });
  }
  /** The methods that can learn from what is there: pictures, or a sentence. */
  function methods() {
    const fitting = recipes.filter((r) => !state.text || r.reads);
    clear(recipe.input, fitting.map((r) => h("option", { value: r.name }, `${r.name} · ${r.paper.match(/\d{4}/)?.[0] ?? ""}`)));
    if (!fitting.some((r) => r.name === state.recipe) || (!state.text && fitting.find((r) => r.name === state.recipe).reads)) state.recipe = state.text ? fitting[0]?.name : "dcl";
    recipe.input.value = state.recipe;
    if (trace) trace.hidden = Boolean(state.text);
    suit();
    about();
  }
  /** What a method was made to move, until something else was chosen. */
  function suit() {
    const own = recipes.find((r) => r.name === state.recipe)?.space;
    if (!space.touched) state.space = own !== "full" && spaces.some((s) => s.name === own) ? own : "affine-light+";
    if (!spaces.some((s) => s.name === state.space)) state.space = spaces[0]?.name;
    space.input.value = state.space;
  }
  const every = () => { const r = recipes.find((x) => x.name === state.recipe), all = (state.steps ?? r?.steps ?? 300); return Math.max(2, Math.min(100, Math.round(all / 16))); };
  function about() {
    const r = recipes.find((x) => x.name === state.recipe), s = spaces.find((x) => x.name === state.space);
    if (!r || !s) return;
    facts.textContent = `${numbers(s.numbers)} numbers move, ${(100 * s.share).toFixed(2)} % of the generator; ${r.warmup ? `${r.warmup} steps of warm-up, then ` : ""}${state.steps ?? r.steps} steps of ${r.batch} images.`;
    words.textContent = `${r.paper}. ${s.what[0].toUpperCase()}${s.what.slice(1)}. ${r.note}`;
  }
  const form = () => ({ source: state.source, target: state.text ? "" : state.target, text: state.text, recipe: state.recipe, space: state.space, steps: state.steps, seed: +seed.input.value, align: off.input.checked ? "off" : "auto" });
  let plans = 0, timer = 0;
  function estimate() {
    clearTimeout(timer);
    if (!state.target && !state.text) { clear(cost, h("p", { class: "quiet" }, "Choose pictures to see how long it takes.")); return; }
    clear(cost, h("p", { class: "quiet" }, "Trying two steps to see how long it takes…"));
    const number = ++plans;
    timer = setTimeout(() => guarded(async () => {
      const found = await post("/api/plan", { ...form(), page: page("plan") }).catch((error) => { if (number === plans) clear(cost, h("p", { class: "bad" }, error.message)); return null; });
      if (!found?.lines || number !== plans) return;
      clear(cost, h("p", {}, h("strong", {}, found.cost)), h("details", {}, h("summary", {}, "The whole plan"), h("pre", { class: "log", tabindex: "0" }, found.lines.join("\n"))));
    }), 600);
  }
  const start = h("button", { class: "main", type: "button", id: "start", onclick: () => guarded(async () => {
    if (!state.target && !state.text) throw new Error("Choose pictures first: drop some, or take a set that ships.");
    const job = await post("/api/jobs", { verb: "adapt", ...form(), name: name.input.value || "run", every: every(), trace: (!state.text && trace?.input.checked) || false });
    toast(`${job.about.title}: ${job.state === "waiting" ? "waits its turn" : "begins"}`);
    watched = job.about.out;
    await look();
    name.touched = false;
    name.input.value = fresh(name.input.value);
    tick();
  }) }, "Start");

  // 3 how it goes
  let watched = null, drawn = "", detailed = 0;
  const mine = () => studio.jobs.filter((j) => j.verb === "adapt");
  function tick() {
    jobs.list(queue, mine().slice(0, 12), { onopen: (j) => { watched = j.about.out; drawn = ""; run(); } });
    watched ??= (mine().find((j) => j.state === "running") ?? mine()[0])?.about.out ?? studio.library.find((e) => e.kind === "run" && e.facts.base?.name === "faces-64")?.path ?? null;
    const job = mine().find((j) => j.about.out === watched);
    if (watched && Date.now() - detailed > (job && ["running", "stopping"].includes(job.state) ? 2500 : 8000)) run();
  }
  async function run() {
    detailed = Date.now();
    if (mine().find((j) => j.about.out === watched)?.state === "waiting") return;
    let found;
    try { found = await get("/api/run", { path: watched }); } catch { return; }
    const key = JSON.stringify([found.path, found.steps, found.previews.length, found.grid]);
    if (key === drawn) return;
    drawn = key;
    const last = found.previews.at(-1), image = h("img", { class: "picture", src: last ? fileUrl(last.path, last.stamp) : "", alt: "Source above, as far as it is below" });
    const back = h("input", { type: "range", min: "0", max: String(Math.max(0, found.previews.length - 1)), value: String(found.previews.length - 1), "aria-label": "Preview along the run", style: { width: "100%" } }), at = h("span", { class: "quiet num" }, last ? `step ${last.step}` : "");
    back.addEventListener("input", () => { const p = found.previews[+back.value]; image.src = fileUrl(p.path, p.stamp); at.textContent = `step ${p.step}`; });
    clear(detail, panel(found.path, h("p", { class: "quiet" }, [`${found.steps} steps taken`, found.config.space, found.config.recipe?.name].filter(Boolean).join(" · ")),
      last ? h("div", { class: "stack" }, image, h("div", { class: "row", style: { "flex-wrap": "nowrap" } }, back, at)) : h("p", { class: "quiet" }, "The first picture comes in a moment."),
      h("div", { class: "row" }, h("button", { onclick: () => open("explore", { domain: found.path }) }, "Explore"), h("button", { onclick: () => open("mix", { domains: [found.path] }) }, "Mix"), h("button", { onclick: () => open("closer", { path: found.path }) }, "Closer look")),
      h("div", { class: "charts" }, found.charts.map((c) => chart(c.svg)))));
  }

  root.append(head("Adapt", "Learn a look from about ten pictures. The run goes on if you close this page; stop it and go on whenever you like."),
    h("div", { class: "even" },
      h("div", {}, panel("1 · What to learn", drop, target, sentence, thumbs, note), panel("2 · How", source, recipe, space, facts, h("details", {}, h("summary", {}, "More"), h("div", { class: "stack" }, words, h("div", { class: "two" }, steps, seed), off, trace))), panel("3 · Go", cost, name, h("div", { class: "row" }, start))),
      h("div", {}, queue, detail)));
  choices();
  pick(sets().find((e) => e.facts.count >= 5)?.path ?? targets[0][0]);
  tick();
  return { tick, changed: () => { drawn = ""; run(); } };
}
