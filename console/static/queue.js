// The list on the left: what is uploaded, waits, runs and is done; sorted, filtered, and worked through by keys.

import { call, get, post } from "./api.js";
import { byId, el, icon, percent, verdictOf } from "./dom.js";
import { errorAdvice, t } from "./strings.js";
import { threshold } from "./threshold.js";
import { Uploads } from "./uploads.js";

const POLL_MS = 500;
const DRAW_MS = 50;
const PENDING = ["queued", "uploading", "waiting", "running"];
const clips = new Map();
const rows = new Map();
let revision = 0;
let polling = null;
let isAsking = false;
let askAgain = false;
let drawing = null;
let selected = null;
let onSelect = () => {};
const uploads = new Uploads(drawSoon, arrived);

export function start(select) {
  onSelect = select;
  for (const id of ["filter", "show", "sort"]) byId(id).addEventListener("input", draw);
  threshold.onChange(draw);
  return poll();
}

export const add = (files) => uploads.add(files);
export const count = () => clips.size + uploads.entries.size;
export const judged = () => [...clips.values()].filter((clip) => clip.p_fake !== null);

/** Marks a clip as the one that is shown. */
export function select(id) {
  selected = id;
  draw();
  rows.get(id)?.node.scrollIntoView({ block: "nearest" });
}

/** The clip so many places further down the list as it is shown; null at its ends. */
export function neighbour(step) {
  const ids = shown().map((entry) => entry.id).filter((id) => clips.has(id));
  const at = ids.indexOf(selected);
  return at < 0 ? (ids[0] ?? null) : (ids[at + step] ?? null);
}

/** Notes the reviewer's decision on a clip; the same one again takes it back. Whether it now has one. */
export async function decide(id, decision) {
  const value = clips.get(id)?.decision === decision ? "" : decision;
  const clip = await post(`/api/clips/${id}/decision?value=${value}`);
  clips.set(id, clip);
  draw();
  document.dispatchEvent(new CustomEvent("decided", { detail: clip }));
  return value !== "";
}

/** The next clip down the list that has no decision, or the first of all; null where all have one. */
export function nextUndecided() {
  const here = shown().filter((entry) => clips.has(entry.id) && kindOf(entry) !== "pending");
  const at = here.findIndex((entry) => entry.id === selected);
  const found = [...here.slice(at + 1), ...here.slice(0, at + 1)].find((entry) => !entry.decision);
  return found?.id ?? null;
}

function arrived(clip) {
  clips.set(clip.id, clip);
  poll();
}

/** Asks what has changed, one question at a time: answers that overtake each other would bring back old states. */
async function poll() {
  clearTimeout(polling);
  if (isAsking) return void (askAgain = true);
  isAsking = true;
  const before = [...clips.keys()]; // what has arrived since the question is not missing from the answer
  try {
    const changes = await get(`/api/clips?since=${revision}`);
    revision = changes.revision;
    const there = new Set(changes.ids);
    for (const id of before) if (!there.has(id)) clips.delete(id);
    for (const clip of changes.clips) {
      clips.set(clip.id, clip);
      if (clip.id === selected) onSelect(clip.id, { isUpdate: true });
    }
  } catch (error) {
    if (error.status === 401) return document.dispatchEvent(new CustomEvent("session-over"));
  } finally {
    isAsking = false;
  }
  draw();
  const isPending = [...clips.values()].some((clip) => PENDING.includes(clip.state));
  if (askAgain || isPending) polling = setTimeout(poll, askAgain ? 0 : POLL_MS);
  else if (selected === null && !uploads.isBusy && matchMedia("(min-width: 901px)").matches) openFirst();
  askAgain = false;
}

/** Draws soon: progress comes in faster than anybody can see. */
function drawSoon() {
  drawing ??= setTimeout(() => {
    drawing = null;
    draw();
  }, DRAW_MS);
}

/** Once all is done, the most suspicious clip is the one to look at. */
function openFirst() {
  const first = shown().find((entry) => kindOf(entry) !== "failed");
  if (first && !byId("view-review").hidden) onSelect(first.id);
}

function entries() {
  return [...uploads.entries.values(), ...clips.values()];
}

function kindOf(entry) {
  if (PENDING.includes(entry.state)) return "pending";
  if (entry.p_fake === null || entry.p_fake === undefined) return "failed";
  return verdictOf(entry.p_fake, threshold.for(entry.threshold)).kind;
}

function shown() {
  const text = byId("filter").value.trim().toLowerCase();
  const show = byId("show").value;
  const found = entries().filter((entry) => {
    if (text && !entry.name.toLowerCase().includes(text)) return false;
    if (show === "undecided") return kindOf(entry) !== "pending" && !entry.decision;
    return show === "all" || show === kindOf(entry) || (show === "warned" && entry.n_warnings > 0);
  });
  const sort = byId("sort").value;
  if (sort === "name") found.sort((a, b) => a.name.localeCompare(b.name));
  if (sort === "suspicion") found.sort((a, b) => rank(a) - rank(b));
  return found;
}

/** Likeliest fakes first, then what has no verdict, then what is under way. */
function rank(entry) {
  if (entry.p_fake !== null && entry.p_fake !== undefined) return -entry.p_fake;
  return PENDING.includes(entry.state) ? 2 : 1;
}

/** Rows are kept and changed in place, so that the keyboard's focus stays where it is. */
function draw() {
  const list = byId("queue");
  const wanted = shown();
  const ids = new Set(wanted.map((entry) => entry.id));
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    row.node.remove();
    rows.delete(id);
  }
  wanted.forEach((entry, index) => {
    let row = rows.get(entry.id);
    if (!row) rows.set(entry.id, (row = newRow(entry)));
    update(row, entry);
    if (list.children[index] !== row.node) list.insertBefore(row.node, list.children[index] ?? null);
  });
  summarize(wanted.length);
}

function newRow(entry) {
  const row = {
    score: el("span", { class: "score", "aria-hidden": "true" }),
    name: el("span", { class: "name", title: entry.name }, entry.name),
    state: el("span", { class: "state" }),
    actions: el("span", { class: "actions" }),
    drawn: "",
  };
  row.open = el("button", { class: "open", type: "button" }, row.score, row.name, row.state);
  row.open.addEventListener("click", () => clips.has(entry.id) && onSelect(entry.id));
  row.node = el("li", { class: "item", "data-id": entry.id }, row.open, row.actions);
  return row;
}

function update(row, entry) {
  const own = threshold.for(entry.threshold);
  const key = JSON.stringify([entry.state, entry.share, entry.p_fake, own, entry.n_warnings, entry.error, entry.decision, entry.id === selected]);
  if (key === row.drawn) return;
  row.drawn = key;
  row.node.classList.toggle("current", entry.id === selected);
  if (entry.id === selected) row.open.setAttribute("aria-current", "true");
  else row.open.removeAttribute("aria-current");
  row.open.disabled = !clips.has(entry.id);
  const kind = kindOf(entry);
  row.node.dataset.kind = kind;
  row.score.className = `score ${kind}`;
  row.score.textContent = { pending: "…", failed: "✕" }[kind] ?? `${percent(entry.p_fake)} %`;
  row.state.replaceChildren(...stateOf(entry, kind, own));
  const acting = kind === "pending" ? kind : kind + entry.state;
  if (row.acting === acting) return; // a button stays the same element under the hand
  row.acting = acting;
  row.actions.replaceChildren(...actionsOf(entry));
}

function stateOf(entry, kind, own) {
  if (kind === "pending") {
    const text = {
      queued: t("queue.waiting"),
      uploading: t("queue.uploading", { percent: percent(entry.share ?? 0) }),
      waiting: t("queue.waiting"),
      running: t("queue.running"),
    }[entry.state];
    const bar = el("progress", { max: 1, "aria-label": t("queue.progress_of", { name: entry.name }) });
    if (entry.state === "uploading") bar.value = entry.share;
    else if (entry.state !== "running") bar.value = entry.state === "waiting" ? 1 : 0;
    return [el("span", {}, text), bar];
  }
  const decided = entry.decision
    ? [el("span", {}, `✓ ${t("queue.decided", { decision: t(`clip.decided_${entry.decision}`) })}`)]
    : [];
  if (kind === "failed") {
    const text = entry.state === "cancelled" ? t("queue.cancelled") : errorAdvice(entry.error?.code).title;
    return [el("span", { class: "failed" }, text), ...decided];
  }
  const { sign } = verdictOf(entry.p_fake, own);
  const found = [el("span", { class: kind }, `${sign} ${t(`queue.${kind}`)}`)];
  found.push(el("span", { class: "visually-hidden" }, t("clip.p_fake", { percent: percent(entry.p_fake) })));
  if (entry.n_warnings) {
    const text = entry.n_warnings === 1 ? t("queue.warnings_one") : t("queue.warnings_many", { n: entry.n_warnings });
    found.push(el("span", { class: "warned" }, `⚠ ${text}`));
  }
  return [...found, ...decided];
}

function actionsOf(entry) {
  const isHere = clips.has(entry.id);
  const button = (sign, label, run) =>
    el("button", { type: "button", "aria-label": label, title: label, onclick: run }, icon(sign));
  const name = entry.name;
  if (PENDING.includes(entry.state)) {
    const cancel = () => (isHere ? change(entry.id, "cancel") : uploads.cancel(entry.id));
    return [button("cancel", t("queue.cancel", { name }), cancel)];
  }
  const found = [];
  if (entry.state === "failed" || entry.state === "cancelled") {
    const retry = () => (isHere ? change(entry.id, "retry") : uploads.retry(entry.id));
    found.push(button("retry", t("queue.retry", { name }), retry));
  }
  found.push(button("remove", t("queue.remove", { name }), () => remove(entry, isHere)));
  return found;
}

async function change(id, verb) {
  await post(`/api/clips/${id}/${verb}`).catch(() => {});
  poll();
}

async function remove(entry, isHere) {
  if (!isHere) return uploads.remove(entry.id);
  if (entry.id === selected) onSelect(null);
  await call("DELETE", `/api/clips/${entry.id}`).catch(() => {});
  return poll();
}

function summarize(nShown) {
  const all = entries();
  const kinds = all.map(kindOf);
  const number = (kind) => kinds.filter((each) => each === kind).length;
  const done = all.length - number("pending");
  const text = all.length
    ? t("queue.summary", { done, all: all.length, fake: number("fake"), failed: number("failed") })
    : t("queue.summary_none");
  if (byId("queue-summary").textContent !== text) byId("queue-summary").textContent = text;
  byId("queue-empty").textContent = all.length ? t("queue.no_match") : t("queue.empty");
  byId("queue-empty").hidden = nShown > 0;
  byId("exports").hidden = clips.size === 0;
  const query = threshold.chosen() === null ? "" : `?threshold=${threshold.chosen()}`;
  for (const kind of ["csv", "json"]) byId(`export-${kind}`).href = `/export/${kind}${query}`;
  byId("report-threshold").value = threshold.chosen() ?? "";
}
