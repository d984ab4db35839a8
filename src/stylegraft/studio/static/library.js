// Library: every domain of the workspace, what it is, and what can be done with it.

import { page } from "./grid.js";
import { ask, base, check, clear, domains, download, dropZone, field, fileUrl, get, guarded, h, head, numbers, panel, picture, post, select, send, size, slider, toast } from "./ui.js";
import * as jobs from "./jobs.js";
import { look, open, refresh, studio } from "./main.js";

export function show(root) {
  const cards = h("div", { class: "cards", role: "group", "aria-label": "Domains" }), detail = h("div", { class: "stack" }), queue = h("div", { class: "stack" });
  const find = field("Find", { type: "search", placeholder: "name, space, recipe…" });
  const pictures = new Map();
  let chosen = null, alive = true;

  function entries() {
    const words = find.input.value.toLowerCase();
    return studio.library.filter((e) => ["domain", "run"].includes(e.kind) && `${e.path} ${JSON.stringify(e.facts)}`.toLowerCase().includes(words));
  }
  /** What everything stands on; shown after the domains. */
  function sources() {
    const own = studio.library.filter((e) => e.kind === "source" && !e.facts.foreign && !e.facts.damaged);
    const shipped = studio.hello.sources.map((s) => ({ kind: "source", path: s.name, size: 1, facts: s }));
    return [...shipped, ...own].filter((e) => `${e.path} ${JSON.stringify(e.facts)}`.toLowerCase().includes(find.input.value.toLowerCase()));
  }
  function fill() {
    const own = entries(), all = [...own, ...sources()];
    clear(cards, all.map((e) => {
      const f = e.facts, image = h("img", { alt: `Four faces of ${e.path}`, dataset: { path: e.path } });
      if (pictures.has(e.path)) image.src = pictures.get(e.path);
      const tag = f.damaged ? h("span", { class: "tag bad" }, "damaged") : !e.size ? h("span", { class: "tag" }, "no domain yet") : null;
      return h("button", { class: "card", type: "button", "aria-pressed": String(chosen === e.path), onclick: () => choose(e) },
        image, h("span", { class: "body" }, h("span", { class: "name" }, e.path),
          h("span", { class: "quiet" }, e.kind === "source" ? `a source of ${f.resolution} px` : [f.mix ? "a mix" : f.recipe, f.space, f.steps ? `${f.steps} steps` : "", e.size ? size(e.size) : ""].filter(Boolean).join(" · ")),
          h("span", { class: "row tight" }, f.base?.name ? h("span", { class: "tag" }, f.base.name) : null, f.traced ? h("span", { class: "tag accent" }, "traced") : null, tag)));
    }), own.length ? null : h("p", { class: "quiet" }, "No domain here. Learn one under Adapt, or add a file."));
    previews();
  }
  let busy = false;
  async function previews() {
    if (busy) return;
    busy = true;
    for (const image of cards.querySelectorAll("img:not([src])")) {
      if (!alive) break;
      const entry = [...studio.library, ...sources()].find((e) => e.path === image.dataset.path);
      if (!entry?.size || entry.facts.damaged || pictures.has(entry.path)) continue;
      try {
        const found = await picture("/api/preview", { path: entry.path, kind: entry.kind, page: page("preview"), number: 0 });
        pictures.set(entry.path, URL.createObjectURL(found.blob));
        for (const one of cards.querySelectorAll("img")) if (one.dataset.path === entry.path) one.src = pictures.get(entry.path);
      } catch (error) { image.alt = error.message; }
    }
    busy = false;
  }

  async function choose(entry) {
    chosen = entry.path;
    for (const c of cards.children) c.setAttribute?.("aria-pressed", String(c.querySelector(".name")?.textContent === chosen));
    if (entry.kind === "source") {
      clear(detail, panel(entry.path, entry.facts.summary ? h("p", {}, entry.facts.summary) : null, entry.facts.licence ? h("p", { class: "quiet" }, `Licence: ${entry.facts.licence}`) : null, h("div", { class: "row" }, h("button", { class: "main", onclick: () => open("explore", { source: entry.path }) }, "Explore"), h("button", { onclick: () => open("adapt") }, "Learn a domain"))));
      return;
    }
    clear(detail, panel(entry.path, h("p", { class: "quiet" }, "Checking…")));
    await guarded(async () => {
      if (!entry.size) { clear(detail, panel(entry.path, h("p", {}, "This run has not saved a domain yet."))); return; }
      if (entry.facts.damaged) { clear(detail, panel(entry.path, h("p", { class: "bad" }, entry.facts.damaged))); return; }
      const facts = await get("/api/facts", { path: entry.path });
      if (chosen !== entry.path) return;
      const c = facts.config, file = entry.kind === "run" ? `${entry.path}/domain.safetensors` : entry.path;
      const rows = [["numbers", numbers(facts.numbers)], ["forms", facts.forms.join(", ")], ["recipe", c.recipe], ["space", c.space], ["steps", c.steps], ["seed", c.seed], ["target", c.target ? `${c.target.name}, ${c.target.count} pictures` : null],
        ["mix of", c.mix?.map((m) => `${(+m.coefficient).toFixed(2)} × ${m.config?.target?.name ?? m.config?.space ?? "domain"}`).join(" + ")], ["strengths", c.shaped ? JSON.stringify(c.shaped) : null], ["licence", facts.base.licence], ["digest", entry.facts.digest?.slice(0, 16)]];
      const most = Math.max(...Object.values(facts.groups));
      clear(detail, panel(entry.path,
        h("p", {}, h("span", { class: facts.check.includes("very weights") ? "good" : "bad" }, facts.check.includes("very weights") ? "✓ base: " : "✗ "), facts.check),
        h("div", { class: "row" },
          h("button", { class: "main", onclick: () => open("explore", { domain: entry.path }) }, "Explore"), h("button", { onclick: () => open("mix", { domains: [entry.path] }) }, "Mix"),
          entry.kind === "run" ? h("button", { onclick: () => open("closer", { path: entry.path }) }, "Closer look") : null,
          h("button", { onclick: () => exporting(entry) }, "Export…"), h("button", { onclick: () => pruning(entry) }, "Prune…"), h("button", { onclick: () => sharing(entry) }, "Share…"), h("a", { class: "button", href: download(file) }, "Download")),
        h("table", {}, h("tbody", {}, rows.filter(([, v]) => v !== null && v !== undefined && v !== "").map(([k, v]) => h("tr", {}, h("th", { scope: "row" }, k), h("td", {}, String(v)))))),
        h("details", {}, h("summary", {}, "Where it moves the network"), h("table", {}, h("tbody", {}, Object.entries(facts.groups).map(([k, v]) => h("tr", {}, h("th", { scope: "row" }, k), h("td", {}, h("progress", { max: String(most), value: String(v), "aria-label": k })), h("td", { class: "num" }, numbers(v))))))),
        h("div", { class: "row" }, h("button", { class: "plain danger", onclick: () => removing(entry) }, "Move to the trash"))));
      if (matchMedia("(max-width: 900px)").matches) detail.scrollIntoView({ behavior: "smooth" });
    });
  }
  const submit = async (told) => { await post("/api/jobs", told); await look(); tick(); };
  const exporting = (e) => {
    const name = field("Name", { value: `${base(e.path)}-merged` });
    const kind = select("As", [[".safetensors", "an ordinary generator (.safetensors)"], [".pt", "for older tools (.pt, StyleGAN2 sources alone)"], ...(studio.hello.can.onnx ? [[".onnx", "ONNX, for other programs"]] : [])], ".safetensors");
    ask("Export", h("div", { class: "stack" }, h("p", { class: "quiet" }, "The domain is folded into its source, so that the file draws by itself."), kind, name), [["Export", () => submit({ verb: "export", domain: e.path, kind: kind.input.value, name: name.input.value }), "main"]]);
  };
  const pruning = (e) => {
    const name = field("Name", { value: `${base(e.path)}-pruned` }), keep = slider({ label: "Share of the numbers that stays", min: 0.01, max: 1, value: 0.2 }), dense = check("any space: turn it into plain numbers first", !/^stylespace/.test(e.facts.space || ""));
    ask("Prune", h("div", { class: "stack" }, h("p", { class: "quiet" }, "Keeps the numbers of the largest magnitudes, for a smaller file."), keep, dense, name), [["Prune", () => submit({ verb: "prune", domain: e.path, keep: keep.value, dense: dense.input.checked, name: name.input.value }), "main"]]);
  };
  const sharing = (e) => {
    const repo = field("Repository of the hub", { placeholder: "OWNER/NAME" }), can = studio.hello.can.push;
    ask("Share", h("div", { class: "stack" }, h("p", { class: "quiet" }, "Look first: the three files that would go (domain, card, picture) are written into a folder here. To upload them, this machine must be logged in at the Hugging Face Hub; whoever may see the repository then has the domain."), repo, can ? null : h("p", { class: "quiet" }, "Uploading needs an extra: pip install 'stylegraft[hub]'.")),
      [["Look first", () => submit({ verb: "push", domain: e.path, repo: repo.input.value }), "main"], ...(can ? [["Upload", () => submit({ verb: "push", domain: e.path, repo: repo.input.value, upload: true })]] : [])]);
  };
  const removing = (e) => ask("Move to the trash?", h("p", {}, `${e.path} goes to .studio/trash in the workspace, from where it can be taken back.`), [["Move it", async () => { const found = await post("/api/delete", { path: e.path }); toast(`${found.moved} is in ${found.to}`); await refresh(); chosen = null; clear(detail); fill(); }, "main danger"]]);

  const shown = (job) => job.state === "done" && job.about.out && !job.about.uploaded ? h("a", { class: "button", href: job.verb === "push" ? fileUrl(`${job.about.out}/README.md`) : download(job.about.out), target: "_blank", rel: "noopener" }, job.verb === "push" ? "Card" : "Download") : null;
  function tick() { jobs.list(queue, studio.jobs.filter((j) => ["export", "prune", "push"].includes(j.verb)).slice(0, 6), { extra: shown }); }
  const drop = dropZone("Add a domain file", (files) => guarded(async () => { for (const f of files) { const found = await send(f); toast(`${found.path} was added`); } await refresh(); fill(); }), { accept: ".safetensors" });
  find.input.addEventListener("input", fill);
  root.append(head("Library", `${domains(studio.library).length} domains in ${studio.hello.workspace}. A domain file holds what was learnt, without the source.`),
    h("div", { class: "split" }, h("div", { class: "stack" }, find, cards), h("div", { class: "side" }, detail, queue, drop)));
  fill();
  tick();
  const first = entries().find((e) => e.size && !e.facts.damaged);
  if (first && !matchMedia("(max-width: 900px)").matches) choose(first);
  return { tick, changed: () => { pictures.clear(); fill(); }, leave: () => { alive = false; for (const u of pictures.values()) URL.revokeObjectURL(u); } };
}
