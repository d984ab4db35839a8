// What the parts of the page are made of: elements, sliders, toasts, and talking to the studio.

/** h("p", {class: "quiet", onclick: f}, "text", child): an element; texts are never read as HTML. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else if (key === "dataset") Object.assign(node.dataset, value);
    else if (key === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else if (key in node && !key.startsWith("aria") && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export const clear = (node, ...children) => {
  node.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
};

let count = 0;
export const unique = (name = "f") => `${name}-${++count}`;

/** A slider with its name and value; a double click, or Delete, takes it back to where it was. */
export function slider({ label, min, max, step = 0.01, value, hint, format = (v) => (+v).toFixed(2), onchange }) {
  const id = unique("slider");
  const input = h("input", { id, type: "range", min: String(min), max: String(max), step: String(step), title: hint });
  input.value = value;
  const output = h("output", { for: id }, format(value));
  const set = (v, silent) => {
    input.value = v;
    output.textContent = format(+input.value);
    input.setAttribute("aria-valuetext", output.textContent);
    if (!silent) onchange?.(+input.value);
  };
  input.addEventListener("input", () => set(input.value));
  input.addEventListener("dblclick", () => set(value));
  input.addEventListener("keydown", (e) => { if (e.key === "Delete" || e.key === "Backspace") set(value); });
  const node = h("div", { class: "slider" }, h("label", { for: id }, label), output, input);
  Object.defineProperty(node, "value", { get: () => +input.value });
  return Object.assign(node, { input, set });
}

/** options: ["a", "b"] or [["value", "words"], ...]. */
export function select(label, options, value, onchange) {
  const node = h("select", {}, options.map((o) => (Array.isArray(o) ? h("option", { value: o[0] }, o[1]) : h("option", { value: o }, o))));
  if (value !== undefined && value !== null) node.value = value;
  node.addEventListener("change", () => onchange?.(node.value));
  return named(label, node);
}

export const field = (label, props = {}) => named(label, h("input", { type: "text", ...props }));

function named(label, node) {
  node.id ||= unique();
  return Object.assign(h("div", { class: "field" }, h("label", { for: node.id }, label), node), { input: node });
}

export function check(label, checked, onchange) {
  const node = h("input", { type: "checkbox" });
  node.checked = checked;
  node.addEventListener("change", () => onchange?.(node.checked));
  return Object.assign(h("label", { class: "check" }, node, label), { input: node });
}

export const panel = (title, ...children) => h("section", { class: "panel" }, title ? h("header", {}, h("h2", {}, title)) : null, ...children);
export const head = (title, words) => h("div", { class: "head" }, h("h1", {}, title), h("p", {}, words));

export function toast(words, kind = "") {
  const node = h("div", { class: `toast ${kind}`, role: kind === "error" ? "alert" : undefined }, h("span", {}, words),
    h("button", { "aria-label": "Close", onclick: () => node.remove() }, "✕"));
  const all = document.getElementById("toasts");
  while (all.children.length > 3) all.firstChild.remove();
  all.append(node);
  setTimeout(() => node.remove(), kind === "error" ? 12000 : 5000);
}

export function ask(title, body, actions) {
  const box = h("dialog", { "aria-label": title }, h("div", {}, h("h2", {}, title), body,
    h("div", { class: "row" }, actions.map(([words, run, kind]) => h("button", { class: kind || "", type: "button", onclick: async () => { if ((await guarded(run)) !== false) box.close(); } }, words)),
      h("button", { type: "button", class: "plain", onclick: () => box.close() }, "Cancel"))));
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

/** Run, and show what goes wrong in the library's words; false where it did. */
export async function guarded(run) {
  try { return await run?.(); } catch (error) { if (error.name !== "AbortError") toast(error.message, "error"); return false; }
}

const LOST = "The studio does not answer. Is it still running?";
async function reach(path, options = {}) {
  let answer;
  try { answer = await fetch(path, { ...options, headers: { "x-studio": "1", ...options.headers } }); } catch (error) { if (error.name === "AbortError") throw error; throw Object.assign(new Error(LOST), { lost: true }); }
  if (answer.status === 409) return null;
  if (!answer.ok) {
    let words = `${answer.status} ${answer.statusText}`;
    try { words = (await answer.json()).error || words; } catch { /* no JSON */ }
    throw new Error(words);
  }
  return answer;
}
export async function get(path, told = {}) {
  const query = new URLSearchParams(Object.entries(told).filter(([, v]) => v !== undefined)).toString();
  return (await reach(query ? `${path}?${query}` : path))?.json();
}
const posted = (path, told) => reach(path, { method: "POST", body: JSON.stringify(told), headers: { "content-type": "application/json" } });
/** null where something newer was asked. */
export const post = async (path, told = {}) => (await posted(path, told))?.json() ?? null;
export const picture = async (path, told = {}) => { const answer = await posted(path, told); return answer ? { blob: await answer.blob(), number: +answer.headers.get("x-number"), ms: +answer.headers.get("x-milliseconds") } : null; };
/** Pictures as they come: one PNG, or a stream of them, each after its bytes and the milliseconds of drawing it. */
export async function* frames(path, told = {}) {
  const answer = await posted(path, told);
  if (!answer) return;
  if (answer.headers.get("content-type") === "image/png") { yield { blob: await answer.blob(), ms: +answer.headers.get("x-milliseconds") }; return; }
  const reader = answer.body.getReader();
  let held = new Uint8Array(0), done = false;
  try {
    while (!done) {
      let value;
      ({ value, done } = await reader.read());
      if (value) { const more = new Uint8Array(held.length + value.length); more.set(held); more.set(value, held.length); held = more; }
      for (let size; held.length >= 8 && held.length >= (size = 8 + new DataView(held.buffer).getUint32(0, true)); held = held.slice(size)) {
        yield { blob: new Blob([held.subarray(8, size)], { type: "image/png" }), ms: new DataView(held.buffer).getFloat32(4, true) };
      }
    }
  } catch (error) { throw error instanceof TypeError ? Object.assign(new Error(LOST), { lost: true }) : error; } finally { reader.cancel().catch(() => {}); }
}
export const send = async (file, into) => (await reach(`/api/upload?${new URLSearchParams({ name: file.name, ...(into ? { set: into } : {}) })}`, { method: "POST", body: file })).json();
export const fileUrl = (path, stamp) => `/file/${path.split("/").map(encodeURIComponent).join("/")}${stamp ? `?t=${stamp}` : ""}`;
export const download = (path) => `${fileUrl(path)}?download`;

export const size = (n) => n < 1000 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} KB` : `${(n / 1e6).toFixed(1)} MB`;
export const numbers = (n) => n.toLocaleString("en");
export const duration = (s) => s < 60 ? `${Math.round(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min ${Math.round(s % 60)} s` : `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
export const base = (path) => path.replace(/(.)\/domain\.safetensors$/, "$1").split("/").pop().replace(/\.safetensors$/, "");
/** Those that can be drawn, on the first shipped source before others. */
export const domains = (library) => {
  const rank = (e) => (e.facts.base?.name === "faces-64" ? 0 : 1);
  return library.filter((e) => (e.kind === "domain" || (e.kind === "run" && e.size)) && !e.facts.damaged).sort((a, b) => rank(a) - rank(b));
};
/** The name of the source that an entry of the library stands on, as the studio finds it. */
export function sourceOf(entry, sources, library) {
  const told = entry.facts.base || {};
  if (sources.some((s) => s.name === told.name)) return told.name;
  return library.find((e) => e.kind === "source" && e.facts.base?.sha256 === told.sha256)?.path ?? null;
}
/** An SVG of the studio's own charts, as an element. */
export function chart(svg) {
  const parsed = new DOMParser().parseFromString(svg, "text/html").querySelector("svg");
  parsed?.querySelectorAll("script, foreignObject").forEach((n) => n.remove());
  return h("div", {}, parsed ? document.importNode(parsed, true) : "");
}
/** Pictures dropped, pasted or chosen. */
export function dropZone(words, onfiles, { multiple = true, accept = "image/*" } = {}) {
  const input = h("input", { type: "file", class: "visually-hidden", accept, multiple, tabindex: "-1", "aria-label": words });
  const zone = h("button", { type: "button", class: "drop" }, h("strong", {}, words), h("span", {}, "Drop here, or choose from this computer"));
  zone.addEventListener("click", () => input.click());
  input.addEventListener("change", () => { onfiles([...input.files]); input.value = ""; });
  for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, (e) => { e.preventDefault(); zone.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (e) => { e.preventDefault(); onfiles([...e.dataTransfer.files]); });
  return Object.assign(h("div", {}, zone, input), { input });
}
