// Translate: photos are framed and inverted once, then drawn live in any domain, from all of the source to none of it.

import { crop } from "./crop.js";
import { Grid, page } from "./grid.js";
import { base, check, clear, domains, dropZone, fileUrl, get, guarded, h, head, panel, picture, post, select, send, sourceOf, toast } from "./ui.js";
import * as jobs from "./jobs.js";
import { look, open, refresh, studio } from "./main.js";

const DEGREES = [1, 0.75, 0.5, 0.25, 0];

export function show(root, told) {
  const sources = studio.hello.sources, all = domains(studio.library).filter((e) => sourceOf(e, sources, studio.library));
  if (!all.length) {
    const grid = new Grid({ columns: 4 }), seeds = Array.from({ length: 8 }, (_, i) => i);
    root.append(head("Translate", "The face of a photo, found in the source and drawn in every domain at several degrees."), h("div", { class: "even" },
      h("div", {}, panel("There is no domain yet", h("p", {}, "A photo is drawn in a domain. Learn one from ten pictures first, it takes some minutes."), h("div", { class: "row" }, h("button", { class: "main", onclick: () => open("adapt") }, "Learn a domain")))),
      h("div", {}, panel(`Faces of ${sources[0].name}`, grid.node, h("p", { class: "quiet" }, "The source, in which the face of your photo will be looked for.")))));
    grid.show({ source: sources[0].name, seeds }, seeds.map((s) => `Face of seed ${s}`));
    return {};
  }
  const queue = h("div", { class: "stack" }), stage = h("div", { class: "stack" }), thumbs = h("div", { class: "thumbs" });
  const state = { photos: "", reference: "", codes: told.codes || "" };
  const domain = select("First domain", all.map((e) => [e.path, e.path]), all[0].path, () => {});
  const recipe = select("Inversion", [["fast", "fast: 100 steps"], ["good", "good: 1,000 steps"]], "fast"), space = select("Code", [["w+", "w+"], ["w", "w"], ["z", "z: most like the source's faces"], ["s", "s: closest to the photo"]], "w+");
  const align = check("Find the face and frame it", true);
  const drop = dropZone("Drop photos of faces", (files) => guarded(async () => {
    const into = `photos-${new Date().toISOString().slice(5, 19).replace(/[-:T]/g, "")}`;
    let set = "";
    for (const f of files) await guarded(async () => { set = (await send(f, into)).set; });
    if (!set) return;
    state.photos = set;
    await show_photos();
    await refresh();
  }));
  async function show_photos() {
    const found = await get("/api/set", { path: state.photos });
    clear(thumbs, found.pictures.map((p) => { const name = p.split("/").pop(); return h("button", { type: "button", class: "thumb", "aria-label": `Crop ${name} by hand`, onclick: () => guarded(() => crop(fileUrl(p), name, async (file) => {
      await send(file, state.photos.split("/").pop());
      align.input.checked = false;
      await show_photos();
      toast(`${name} is taken as you cropped it`);
    })) }, h("img", { src: fileUrl(p, Date.now()), alt: name }), "Crop…"); }));
  }
  const looks = h("div", { class: "thumbs" });
  const reference = dropZone("The look of another picture", (files) => guarded(async () => {
    if (!files.length) return;
    state.reference = (await send(files[0], `reference-${new Date().toISOString().slice(5, 19).replace(/[-:T]/g, "")}`)).path;
    clear(looks, h("img", { src: fileUrl(state.reference), alt: "Whose look is taken" }), h("button", { type: "button", class: "plain", onclick: () => { state.reference = ""; clear(looks); } }, "Without"));
  }), { multiple: false });
  const start = h("button", { class: "main", type: "button", onclick: () => guarded(async () => {
    if (!state.photos) throw new Error("Drop a photo first.");
    if (!studio.hello.can.translate) throw new Error("Inversion needs LPIPS: run `stylegraft assets get lpips` once.");
    await post("/api/jobs", { verb: "translate", domain: domain.input.value, photos: state.photos, reference: state.reference, recipe: recipe.input.value, space: space.input.value, align: align.input.checked ? "auto" : "off" });
    toast("The inversion begins");
    await look();
    tick();
  }) }, "Invert");

  const kept = () => studio.library.filter((e) => e.kind === "codes" && !e.facts.damaged);
  const codes = select("Faces", [], "", (v) => { state.codes = v; rows(); });
  const face = select("Which", [], "0", () => rows());
  function fill() {
    clear(codes.input, kept().length ? null : h("option", { value: "" }, "none yet: invert a photo"), kept().map((e) => h("option", { value: e.path }, e.path)));
    state.codes = kept().some((e) => e.path === state.codes) ? state.codes : kept()[0]?.path ?? "";
    codes.input.value = state.codes;
    names();
  }
  function names() {
    const own = kept().find((e) => e.path === state.codes)?.facts.names ?? [];
    clear(face.input, own.map((n, i) => h("option", { value: String(i) }, n)));
  }
  let turn = 0;
  async function rows() {
    const number = ++turn, entry = kept().find((e) => e.path === state.codes);
    if (entry && face.codes !== state.codes) { names(); face.codes = state.codes; }
    const fitting = all.filter((e) => e.facts.base?.sha256 === (entry ? entry.facts.base : all[0].facts.base?.sha256));
    const axis = h("div", { class: "axis" }, DEGREES.map((d) => h("span", {}, d === 1 ? "all source" : d === 0 ? "all domain" : `${d * 100} %`)));
    const cells = fitting.map((e) => h("img", { alt: `In ${e.path}, from all of the source to none`, dataset: { domain: e.path } }));
    const table = h("div", { class: "degrees" }, h("span"), axis, fitting.flatMap((e, i) => [h("span", { class: "quiet" }, base(e.path)), cells[i]]));
    const sheet = state.codes.replace(/codes\.safetensors$/, "grid.png");
    clear(stage, panel("Over the domains", entry ? null : h("p", { class: "quiet" }, "A face of the source stands for yours, until a photo is inverted."), h("div", { class: "wide" }, table)), !entry ? null : h("details", { class: "panel" }, h("summary", {}, "Crop, inversion and first domain, as the command drew them"), h("img", { class: "picture", src: fileUrl(sheet), alt: "Photo, inversion, degrees", loading: "lazy" })));
    for (let i = 0; i < fitting.length && number === turn; i++) {
      await guarded(async () => {
        const found = await picture("/api/translated", { domain: fitting[i].path, ...(entry ? { codes: state.codes } : { seed: 4 }), index: +face.input.value || 0, degrees: DEGREES, along: "strength", page: page("translate"), number });
        if (!found || number !== turn) return;
        cells[i].src = URL.createObjectURL(found.blob);
        cells[i].dataset.number = number;
      });
    }
  }
  function tick() { jobs.list(queue, studio.jobs.filter((j) => j.verb === "translate").slice(0, 5), { onopen: (j) => { if (j.state === "done") { state.codes = j.about.codes; fill(); rows(); } } }); }
  root.append(head("Translate", "The face of a photo, found in the source and drawn in every domain at several degrees."),
    h("div", { class: "even" }, h("div", {}, panel("A photo", drop, thumbs, h("details", {}, h("summary", {}, "Pose and shape of the photo, look of another picture"), h("div", { class: "stack" }, reference, looks)), domain, h("div", { class: "two" }, recipe, space), align, h("div", { class: "row" }, start), h("p", { class: "quiet" }, "A code is found once, in about a minute a photo; after that every domain draws it at once.")), queue, panel("Faces that were found", codes, face)), stage));
  fill();
  rows();
  tick();
  return { tick, changed: (job) => { if (job.verb === "translate" && job.state === "done") { state.codes = job.about.codes; fill(); rows(); } } };
}
