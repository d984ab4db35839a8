// Jobs as the page shows them: progress, stop, resume, what they said.

import { ask, duration, get, guarded, h, post } from "./ui.js";
import { look } from "./main.js";

const WORDS = { waiting: "waits its turn", running: "at work", stopping: "stopping after this step", done: "done", stopped: "stopped, saved", failed: "failed", "cut off": "was cut off" };
const active = (job) => ["running", "waiting", "stopping"].includes(job.state);

export function card(job, { onopen, extra } = {}) {
  const p = job.progress, kind = { done: "good", failed: "bad", "cut off": "bad" }[job.state] || "accent";
  const act = (what, words, style = "") => h("button", { type: "button", class: style, onclick: () => guarded(async () => { await post(`/api/jobs/${what}`, { id: job.id }); await look(); }) }, words);
  const bar = active(job) && job.state !== "waiting" ? h("progress", { max: String(Math.max(1, p?.total ?? 1)), "aria-label": `Progress of ${job.about.title}` }) : null;
  if (bar && p) bar.value = p.done;
  const told = p && !["waiting", "done"].includes(job.state) ? `${p.done} of ${p.total}${active(job) && p.left != null ? ` · ${duration(p.left)} left` : ""}` : "";
  return h("section", { class: "panel", dataset: { job: job.id, state: job.state } },
    h("header", {}, h("div", { class: "grow" }, h("strong", {}, job.about.title), " ", h("span", { class: "quiet" }, job.verb)), h("span", { class: `tag ${kind}` }, WORDS[job.state])),
    bar, told ? h("p", { class: "quiet num" }, told) : null,
    job.error ? h("p", { class: "bad" }, job.error) : null,
    h("div", { class: "row tight" },
      active(job) ? act("stop", job.state === "waiting" ? "Take out" : "Stop", "") : null,
      ["stopped", "failed", "cut off"].includes(job.state) ? act("resume", "Resume", "main") : null,
      onopen ? h("button", { type: "button", onclick: () => onopen(job) }, "Look") : null,
      extra?.(job),
      h("button", { type: "button", class: "plain", onclick: () => log(job) }, "What it says"),
      active(job) ? null : act("forget", "Remove", "plain")));
}

async function log(job) {
  const words = h("pre", { class: "log", tabindex: "0" }, "…");
  ask(job.about.title, h("div", { class: "stack" }, h("code", { class: "code" }, job.command), words), []);
  await guarded(async () => { words.textContent = (await get("/api/log", { id: job.id })).log || "nothing yet"; words.scrollTop = words.scrollHeight; });
}

/** Draw the list anew only where something changed, so that focus stays. */
export function list(node, jobs, options) {
  const key = JSON.stringify(jobs.map((j) => [j.id, j.state, j.progress?.done, j.progress?.left]));
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  const focus = document.activeElement?.closest?.("[data-job]")?.dataset.job, words = document.activeElement?.textContent;
  node.replaceChildren(...jobs.map((j) => card(j, options)));
  if (focus) [...(node.querySelector(`[data-job="${focus}"]`)?.querySelectorAll("button") || [])].find((b) => b.textContent === words)?.focus();
}
