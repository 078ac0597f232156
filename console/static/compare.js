// Two versions of the model on the same clip.

import { get, post } from "./api.js";
import { el, percent, verdictOf } from "./dom.js";
import { t } from "./strings.js";
import { threshold } from "./threshold.js";

/** The versions of the console's model that are served, the default first. */
export async function versionsOf() {
  const models = await get("/api/models");
  const found = models.versions.filter((one) => one.model === models.model);
  return found.sort((a, b) => b.is_default - a.is_default).map((one) => one.version);
}

/** A card that asks what another version makes of the clip; it looks for versions once it is opened. */
export function compareCard(record) {
  const body = el("div", {});
  const card = el("details", { class: "card" }, el("summary", {}, t("clip.compare")), body);
  card.addEventListener("toggle", async () => {
    if (!card.open || body.childElementCount) return;
    const own = record.answer.model.version;
    const others = (await versionsOf().catch(() => [])).filter((version) => version !== own);
    if (!others.length) return body.replaceChildren(el("p", { class: "hint" }, t("clip.compare_none")));
    const result = el("div", { class: "scroll", role: "status" });
    const buttons = others.map((version) => el("button", { type: "button", onclick: async () => {
      const other = await judge(record.id, version);
      result.replaceChildren(table([[own, { answer: record.answer, took_s: record.took_s }], [version, other]]));
    } }, t("clip.compare_run", { version })));
    return body.replaceChildren(el("div", { class: "row" }, buttons), result);
  });
  return card;
}

/** What a version makes of a clip: `{answer, error, took_s}`. */
export async function judge(clipId, version) {
  try {
    return await post(`/api/clips/${clipId}/compare?version=${encodeURIComponent(version)}`);
  } catch (error) {
    return { answer: null, error: { code: error.code, message: error.message }, took_s: 0 };
  }
}

/** Rows of `[version, outcome]`, and how far apart the two are. */
export function table(outcomes) {
  const rows = outcomes.map(([version, { answer, error, took_s }]) => {
    const cells = answer
      ? [verdictText(answer), part(answer, null), part(answer, "video"), part(answer, "audio"), t("clip.took", { seconds: took_s.toFixed(2) })]
      : [error.message, "", "", "", ""];
    return el("tr", {}, el("th", { scope: "row" }, version), cells.map((text) => el("td", { class: "number" }, text)));
  });
  const heads = ["clip.compare_version", "clip.compare_verdict", "clip.table_p", "clip.video", "clip.audio", "clip.compare_took"];
  const found = el("div", {}, el("table", {}, el("thead", {}, el("tr", {}, heads.map((key) => el("th", { scope: "col" }, t(key))))), el("tbody", {}, rows)));
  const answers = outcomes.map(([, outcome]) => outcome.answer);
  if (answers.every(Boolean)) found.append(el("p", {}, apart(...answers)));
  return found;
}

function apart(first, second) {
  const limits = [first, second].map((answer) => verdictOf(answer.probabilities.fake, threshold.for(answer.threshold)).kind);
  const points = Math.abs(100 * (first.probabilities.fake - second.probabilities.fake)).toFixed(1);
  return t("models.difference", { points, agree: t(limits[0] === limits[1] ? "models.agree" : "models.disagree") });
}

function verdictText(answer) {
  const { kind, sign } = verdictOf(answer.probabilities.fake, threshold.for(answer.threshold));
  return `${sign} ${t(`clip.${kind}`)}`;
}

function part(answer, modality) {
  const p = modality ? answer.modalities[modality]?.p_fake : answer.probabilities.fake;
  return p === undefined || p === null ? t("models.not_measured") : `${percent(p, 1)} %`;
}
