// One clip: verdict, player, timeline, faces, sound, warnings, threshold, and the line that gives the same answer.

import { get, post } from "./api.js";
import { compareCard } from "./compare.js";
import { byId, clock, el, icon, percent, size } from "./dom.js";
import { Overlay, thumbnails } from "./faces.js";
import { Sheet } from "./heatmap.js";
import { Player } from "./player.js";
import * as queue from "./queue.js";
import { addSoundMap, addSpectrogram } from "./sound.js";
import { t } from "./strings.js";
import { threshold } from "./threshold.js";
import { scoreTable, Timeline } from "./timeline.js";
import { headline, thresholdCard } from "./verdict.js";

export const DECISIONS = ["fake", "real", "unsure"];
let open = null; // what is shown: {id, player, overlay, timeline, updates, toggleMap}

threshold.onChange(() => open?.updates.forEach((update) => update()));

export const current = () => open;

export function close() {
  open?.player?.close();
  open = null;
  byId("clip").replaceChildren(el("p", { class: "empty" }, t("clip.none")));
}

/** Shows a clip; asks for its explanation once it has a verdict. `go(step)` moves along the queue, `back()` to it. */
export async function show(id, { go, back }) {
  const record = await get(`/api/clips/${id}`);
  if (open?.id === id && open.state === record.state) return;
  open?.player?.close();
  open = { id, state: record.state, updates: [], player: null };
  const pane = byId("clip");
  const head = el("div", { class: "card headline" }, el("h1", {},
    el("button", { type: "button", class: "quiet only-narrow", onclick: back, "aria-label": t("clip.back") }, icon("back")),
    el("span", {}, record.name),
    el("button", { type: "button", class: "quiet", onclick: () => go(-1), "aria-label": t("clip.previous"), title: t("clip.previous") }, icon("up")),
    el("button", { type: "button", class: "quiet", onclick: () => go(1), "aria-label": t("clip.next"), title: t("clip.next") }, icon("down"))));
  if (record.answer || record.error) head.append(decisionGroup(record));
  if (record.error) {
    head.append(el("div", {}, el("p", { class: "verdict failed" }, `✕ ${record.advice.title}`), el("p", {}, record.advice.advice),
      el("p", { class: "hint" }, record.error.message)));
  }
  pane.replaceChildren(head);
  if (record.answer) await showVerdict(pane, head, record);
}

/** Fake, real or unsure: what the reviewer says, whatever the verdict. */
function decisionGroup(record) {
  const buttons = DECISIONS.map((decision, index) => {
    const pressed = String(record.decision === decision);
    const run = () => queue.decide(record.id, decision);
    const key = el("kbd", { class: "wide-only", "aria-hidden": "true" }, String(index + 1));
    return el("button", { type: "button", "aria-pressed": pressed, "data-decision": decision, onclick: run }, t(`clip.decided_${decision}`), key);
  });
  return el("div", { class: "row decision", role: "group", "aria-label": t("clip.decision") }, el("span", { class: "hint" }, t("clip.decision")), buttons);
}

document.addEventListener("decided", ({ detail }) => {
  if (open?.id !== detail.id) return;
  for (const button of byId("clip").querySelectorAll("[data-decision]")) {
    button.setAttribute("aria-pressed", String(button.dataset.decision === detail.decision));
  }
});

async function showVerdict(pane, head, record) {
  const mine = open;
  const isCurrent = () => open === mine;
  const line = headline(record);
  head.querySelector(".decision").before(line.node);
  const video = record.answer.modalities.video;
  mine.player = new Player(record, endOf(record));
  mine.overlay = new Overlay(mine.player, record.faces, threshold.for(record.threshold));
  mine.timeline = new Timeline(mine.player, record.tracks, threshold.for(record.threshold));
  const mapButton = el("button", { type: "button", "aria-pressed": "false", disabled: true }, t("clip.overlay"));
  mine.toggleMap = () => {
    if (mapButton.disabled) return;
    mine.overlay.showMap = !mine.overlay.showMap;
    mapButton.setAttribute("aria-pressed", String(mine.overlay.showMap));
    mine.overlay.draw();
  };
  mapButton.addEventListener("click", mine.toggleMap);
  const segments = segmentList(mine);
  const faces = el("div", { hidden: true });
  const scene = el("div", { class: "scene" }, el("div", {}, mine.player.node, video ? el("div", { class: "row" }, mapButton) : null), faces);
  const evidence = el("div", { class: "card stage" }, el("h2", {}, t("clip.evidence")), scene, mine.timeline.node, segments.node);
  const slider = thresholdCard(record);
  const status = el("p", { class: "hint", role: "status" }, record.explanation ? "" : t("clip.loading"));
  evidence.append(status);
  pane.append(warningsCard(record), evidence, el("div", { class: "two" }, partsCard(record), slider.node),
    compareCard(record), commandsCard(record), rawCard(record));
  mine.updates.push(line.update, slider.update, () => {
    mine.overlay.limit = threshold.for(record.threshold);
    mine.timeline.setThreshold(mine.overlay.limit);
    mine.overlay.draw();
    segments.update();
  });
  mine.player.media.addEventListener("loadedmetadata", () => mine.timeline.setThreshold(mine.overlay.limit), { once: true });
  const explained = await explain(record, status);
  if (!explained || !isCurrent()) return;
  mine.timeline.tracks = explained.tracks;
  mine.timeline.setThreshold(threshold.for(record.threshold));
  segments.update();
  pane.querySelector(".warnings-card").replaceWith(warningsCard(explained));
  evidence.append(scoreTable(explained.tracks));
  await showPictures(mine, explained, faces, mapButton);
  if (!isCurrent() || !record.answer.modalities.audio) return;
  await addSpectrogram(mine.timeline, record.id, evidence, isCurrent);
  const sound = explained.explanation?.audio;
  if (sound?.heatmap && isCurrent()) addSoundMap(mine.timeline, await Sheet.load(sound.heatmap), sound);
}

async function explain(record, status) {
  try {
    const explained = record.explanation ? record : await post(`/api/clips/${record.id}/explain`);
    status.textContent = "";
    return explained;
  } catch (error) {
    status.textContent = t("clip.explain_failed", { message: error.message });
    return record;
  }
}

async function showPictures(mine, explained, faces, mapButton) {
  const seen = explained.explanation?.video;
  if (!seen?.heatmap) return;
  const sheet = await Sheet.load(seen.heatmap);
  mine.overlay.setExplanation(sheet, seen);
  mapButton.disabled = false;
  faces.hidden = false;
  faces.parentElement.classList.add("with-faces");
  faces.replaceChildren(el("h3", {}, t("clip.faces")), el("p", { class: "hint" }, t("clip.faces_hint")),
    thumbnails(sheet, seen, mine.player));
}

/** Seconds to the last thing that was scored: how long the clip is at least. */
function endOf(record) {
  return Math.max(0.1, ...Object.values(record.tracks).flatMap((track) => track.ends_s));
}

/** The parts above the threshold, each a button that leads there; drawn again when the threshold has moved. */
function segmentList(mine) {
  const node = el("div", { class: "row" });
  const update = () => {
    const found = mine.timeline.segments();
    node.hidden = !found.length;
    node.replaceChildren(el("h3", {}, t("clip.segments")), ...found.map((one) => {
      const values = { start: clock(one.startS), end: clock(one.endS), percent: percent(one.pFake) };
      const label = t("clip.segment", { modality: t(`clip.${one.modality}`), ...values });
      return el("button", { type: "button", class: "segment", onclick: () => mine.player.seek(one.startS) }, `▲ ${label}`);
    }));
  };
  update();
  return { node, update };
}

function warningsCard(record) {
  const items = record.warnings.map((one) =>
    el("li", {}, el("strong", {}, `⚠ ${one.title}. `), one.advice, el("small", {}, one.detail)));
  return el("div", { class: "card warnings-card" }, el("h2", {}, t("clip.watch")),
    items.length ? el("ul", { class: "warnings" }, items) : el("p", { class: "hint" }, t("clip.no_warnings")));
}

function partsCard(record) {
  const rows = ["video", "audio"].map((modality) => {
    const part = record.answer.modalities[modality];
    if (part?.p_fake === undefined || part.p_fake === null) return el("div", { class: "part" }, el("span", {}, t(`clip.${modality}`)), el("b", {}, "–"), el("span", { class: "hint" }, t(part?.face === "none" ? "clip.no_face" : "clip.not_scored")));
    const said = [t("clip.weight", { percent: percent(part.weight) })];
    if (part.frames) said.push(t("clip.frames_sampled", { n: part.frames, faces: part.faces }));
    if ((part.tracks ?? []).length > 1) said.push(...part.tracks.map((one) => t("clip.track", { n: one.track + 1, percent: percent(one.p_fake) })));
    if ((part.voices ?? []).length > 1) said.push(...part.voices.map((one) => t("clip.voice", { n: one.track + 1, channels: one.channels, percent: percent(one.p_fake) })));
    if (part.windows) said.push(t("clip.windows_heard", { n: part.windows }));
    if (part.anomaly) said.push(t("clip.anomaly", { percent: part.anomaly.percentile }));
    return el("div", { class: "part" }, el("span", {}, t(`clip.${modality}`)), el("b", {}, `${percent(part.p_fake, 1)} %`), el("span", { class: "hint" }, said.join("; ")));
  });
  const { answer } = record;
  const facts = [
    ["size", `${size(record.size_bytes)}; ${t("clip.took", { seconds: record.took_s.toFixed(2) })}`],
    ["model", `${answer.model.name} ${answer.model.version} (${answer.model.variant})`],
    ["cache", answer.cache], ["sha256", answer.sha256],
  ].flatMap(([name, value]) => [el("dt", {}, t(`clip.${name}`)), el("dd", {}, value)]);
  return el("div", { class: "card" }, el("h2", {}, t("clip.modalities")), el("div", { class: "parts" }, rows), el("dl", { class: "facts" }, facts));
}

function commandsCard(record) {
  const rows = Object.values(record.commands).map((line) => {
    const button = el("button", { type: "button" }, t("clip.copy"));
    button.addEventListener("click", async () => {
      await navigator.clipboard?.writeText(line).catch(() => {});
      button.textContent = t("clip.copied");
    });
    return el("div", { class: "command" }, el("pre", { tabindex: "0" }, line), button);
  });
  return el("details", { class: "card" }, el("summary", {}, t("clip.same_answer")), el("p", { class: "hint" }, t("clip.same_answer_hint")), rows);
}

function rawCard(record) {
  return el("details", { class: "card" }, el("summary", {}, t("clip.raw")), el("pre", { class: "raw", tabindex: "0" }, JSON.stringify(record.answer, null, 2)));
}
