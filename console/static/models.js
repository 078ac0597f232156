// What is served and what it is worth; how the server is; two versions side by side.

import { get } from "./api.js";
import { judge, table, versionsOf } from "./compare.js";
import { byId, el, percent, size } from "./dom.js";
import * as queue from "./queue.js";
import { t } from "./strings.js";

const MEASURES = ["auc", "balanced_accuracy", "eer", "ece_balanced"];

export async function show() {
  await Promise.all([showHealth(), showModels(), showSideBySide()]);
}

export async function showHealth() {
  const health = await get("/api/health").catch((error) => ({ is_up: false, message: error.message, versions: [] }));
  if (!health.is_up) return byId("health").replaceChildren(el("p", { class: "alert" }, t("models.unreachable", { message: health.message })));
  const heads = ["version", "workers", "queue", "latency", "cache_hits", "memory", "requests"];
  const rows = health.versions.map((one) => [
    `${one.model} ${one.version}${one.is_default ? ` (${t("models.default")})` : ""}`,
    `${one.n_ready} / ${one.n_workers}`,
    one.n_pending,
    one.p95_s === null ? t("models.not_measured") : `${milliseconds(one.p50_s)} / ${milliseconds(one.p95_s)}, ${t(one.is_recent ? "models.latency_recent" : "models.latency_start")}`,
    one.cache_hit_share === null ? t("models.not_measured") : `${percent(one.cache_hit_share)} % / ${one.n_cache_lookups}`,
    size(one.memory_bytes),
    one.n_requests,
  ]);
  return byId("health").replaceChildren(grid(heads, rows));
}

async function showModels() {
  const models = await get("/api/models").catch((error) => ({ error: { message: error.message }, versions: [] }));
  const target = byId("models");
  if (models.error) return target.replaceChildren(el("p", { class: "alert" }, t("models.unreachable", { message: models.error.message })));
  if (!models.versions.length) return target.replaceChildren(el("p", { class: "hint" }, t("models.none")));
  return target.replaceChildren(...models.versions.map(card));
}

function card(one) {
  const heads = ["modality", "network", "split", "clips", ...MEASURES];
  const rows = one.card.map((row) => [
    t(`clip.${row.modality}`), row.network ? `${row.network} ${row.variant}` : "", row.split_name, row.n_clips ?? "",
    ...MEASURES.map((name) => interval(row.measures[name])),
  ]);
  return el("div", { class: "card" },
    el("h2", {}, `${one.model} ${one.version}${one.is_default ? ` (${t("models.default")})` : ""}`),
    rows.length ? grid(heads, rows, "scroll") : el("p", { class: "hint" }, one.error ?? t("models.no_card")),
    el("p", { class: "hint" }, `${one.archive}. `, one.digest ? t("models.digest", { digest: one.digest.slice(0, 16) }) : ""));
}

function interval(measure) {
  if (!measure) return t("models.not_measured");
  const [value, low, high] = ["value", "low", "high"].map((name) => Number(measure[name]).toFixed(2));
  return t("models.interval", { value, low, high });
}

async function showSideBySide() {
  const target = byId("side-by-side");
  const versions = await versionsOf().catch(() => []);
  const clips = queue.judged();
  if (versions.length < 2) return target.replaceChildren(el("p", { class: "hint" }, t("clip.compare_none")));
  if (!clips.length) return target.replaceChildren(el("p", { class: "hint" }, t("models.no_clips")));
  const select = (id, key, options) => [
    el("label", { for: id }, t(key)),
    el("select", { id }, options.map(([value, text], index) => el("option", { value, selected: id === "side-second" && index === 1 }, text))),
  ];
  const named = versions.map((version) => [version, version]);
  const result = el("div", { role: "status" });
  const run = async () => {
    const [clip, ...chosen] = ["side-clip", "side-first", "side-second"].map((id) => byId(id).value);
    const outcomes = [];
    for (const version of chosen) outcomes.push([version, await judge(clip, version)]);
    result.replaceChildren(table(outcomes));
  };
  return target.replaceChildren(el("div", { class: "card" },
    el("div", { class: "row" }, select("side-clip", "models.clip", clips.map((clip) => [clip.id, clip.name])),
      select("side-first", "models.first", named), select("side-second", "models.second", named),
      el("button", { type: "button", class: "primary", onclick: run }, t("models.run"))), result));
}

function grid(heads, rows, kind = "scroll card") {
  return el("div", { class: kind, tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((key) => el("th", { scope: "col" }, t(`models.${key}`))))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell) => el("td", { class: "number" }, String(cell))))))));
}

const milliseconds = (seconds) => `${Math.round(1000 * seconds)} ms`;
