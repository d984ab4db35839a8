// The tabs, and what all of them share: the library, the jobs, what this installation can do.

import { clear, get, guarded, h, toast } from "./ui.js";

const TABS = [
  ["explore", "Explore"], ["mix", "Mix"], ["adapt", "Adapt"], ["translate", "Translate"],
  ["morph", "Morph"], ["closer", "Closer look"], ["library", "Library"],
];

export const studio = { hello: null, library: [], jobs: [], shown: null, arguments: {} };

export const refresh = async () => { studio.library = (await get("/api/library")) || studio.library; return studio.library; };

const nav = document.getElementById("tabs"), main = document.getElementById("main"), working = document.getElementById("working");

for (const [name, words] of TABS) nav.append(h("a", { href: `#${name}`, role: "tab", id: `tab-${name}`, "aria-selected": "false" }, words));
nav.addEventListener("keydown", (e) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key], all = [...nav.children];
  if (step) { e.preventDefault(); all[(all.indexOf(document.activeElement) + step + all.length) % all.length].focus(); }
});

/** Go to a tab with something in hand: `open("closer", {path: "runs/a"})`. */
export function open(name, told = {}) {
  studio.arguments = told;
  if (location.hash === `#${name}`) show(); else location.hash = name;
}

async function show() {
  const name = TABS.some(([n]) => n === location.hash.slice(1)) ? location.hash.slice(1) : "explore";
  const told = studio.arguments;
  studio.arguments = {};
  studio.shown?.leave?.();
  studio.shown = null;
  for (const tab of nav.children) tab.setAttribute("aria-selected", String(tab.id === `tab-${name}`));
  nav.querySelector(`#tab-${name}`).scrollIntoView({ block: "nearest", inline: "center" });
  document.title = `${TABS.find(([n]) => n === name)[1]} · Stylegraft Studio`;
  const turn = (studio.turn = (studio.turn || 0) + 1);
  await guarded(async () => {
    const [module] = await Promise.all([import(`./${name}.js`), refresh()]);
    if (turn !== studio.turn) return;
    const root = h("div", { role: "tabpanel", "aria-labelledby": `tab-${name}`, id: `panel-${name}` });
    clear(main, root);
    studio.shown = (await module.show(root, told)) || {};
  });
}

async function watch() {
  try {
    const before = new Map(studio.jobs.map((j) => [j.id, j.state]));
    studio.jobs = (await get("/api/jobs")) || [];
    const active = studio.jobs.filter((j) => ["running", "waiting", "stopping"].includes(j.state));
    working.hidden = !active.length;
    const p = active.find((j) => j.state !== "waiting")?.progress;
    working.textContent = active.length ? `${active.length} at work${p ? ` · ${Math.round((100 * p.done) / Math.max(1, p.total))} %` : ""}` : "";
    for (const job of studio.jobs) {
      if (!before.has(job.id) || before.get(job.id) === job.state) continue;
      if (job.state === "done") { toast(`${job.about.title}: done`); await refresh(); studio.shown?.changed?.(job); }
      if (job.state === "failed") { toast(job.error, "error"); studio.shown?.changed?.(job); }
      if (job.state === "stopped") { toast(`${job.about.title}: stopped and saved`); await refresh(); studio.shown?.changed?.(job); }
    }
    studio.shown?.tick?.();
  } catch { /* the next look will tell */ }
  setTimeout(watch, studio.jobs.some((j) => ["running", "waiting", "stopping"].includes(j.state)) ? 1000 : 2500);
}

export const look = async () => { studio.jobs = (await get("/api/jobs")) || []; studio.shown?.tick?.(); };

addEventListener("hashchange", show);
addEventListener("dragover", (e) => e.preventDefault());
addEventListener("drop", (e) => e.preventDefault());
guarded(async () => { studio.hello = await get("/api/hello"); await show(); watch(); });
