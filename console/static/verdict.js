// The head of a clip: verdict, what its probability means, the threshold and what it would cost.

import { el, percent, verdictOf } from "./dom.js";
import { t } from "./strings.js";
import { threshold } from "./threshold.js";

/** The line with the verdict; `update()` draws it again when the threshold has moved. */
export function headline(record) {
  const verdict = el("span", { class: "verdict" });
  const figure = el("span", { class: "figure" });
  const node = el("div", {}, el("div", { class: "row", role: "status" }, verdict, figure), meaning(record));
  const update = () => {
    const limit = threshold.for(record.threshold);
    const { kind, sign } = verdictOf(record.p_fake, limit);
    verdict.className = `verdict ${kind}`;
    verdict.textContent = `${sign} ${t(`clip.${kind}`)}`;
    const shown = Number(limit.toFixed(2));
    figure.textContent = `${t("clip.p_fake", { percent: percent(record.p_fake, 1) })} ${t("clip.at_threshold", { threshold: shown })}`;
  };
  update();
  return { node, update };
}

/** "Of validation clips scored about so, 7 in 10 were fake." */
function meaning(record) {
  if (!record.meaning.length) return el("p", { class: "hint" }, t("clip.meaning_none"));
  const sentences = record.meaning.map((one) => {
    const values = { n: Math.round(10 * one.observed), clips: one.n_clips, low: percent(one.low), high: percent(one.high) };
    return t(`clip.meaning_${one.split}`, values);
  });
  return el("p", {}, sentences.join(" "), " ", el("span", { class: "hint" }, t("clip.meaning_prior")));
}

/** The slider, and the true and false positive rates where it stands. */
export function thresholdCard(record) {
  const limit = () => threshold.for(record.threshold);
  const slider = el("input", { type: "range", id: "threshold", min: 0, max: 1, step: 0.02 });
  const shown = el("output", { for: "threshold" });
  const rates = el("ul", { class: "hint" });
  const reset = el("button", { type: "button", onclick: () => threshold.set(null) }, t("clip.threshold_reset"));
  slider.addEventListener("input", () => threshold.set(Number(slider.value)));
  const update = () => {
    slider.value = limit();
    slider.setAttribute("aria-valuetext", limit().toFixed(2));
    shown.textContent = limit().toFixed(2);
    reset.disabled = threshold.chosen() === null;
    rates.replaceChildren(...ratesAt(record, limit()).map((line) => el("li", {}, line)));
  };
  update();
  const own = Number(record.threshold.toFixed(2));
  const node = el("div", { class: "card" },
    el("h2", {}, el("label", { for: "threshold" }, t("clip.threshold"), " "), shown),
    slider, rates, el("p", { class: "hint" }, t("clip.threshold_hint", { own })), reset);
  return { node, update };
}

function ratesAt(record, limit) {
  const found = ["val", "test"].map((split) => [split, record.curves?.[split]]).filter(([, curve]) => curve);
  if (!found.length) return [t("clip.curve_none")];
  return found.map(([split, curve]) => {
    const index = nearest(curve.thresholds, limit);
    const values = { tpr: percent(curve.tpr[index]), fpr: percent(curve.fpr[index]), clips: record.counts[split]?.clips ?? "?" };
    return t(`clip.curve_${split}`, values);
  });
}

function nearest(values, wanted) {
  let best = 0;
  values.forEach((value, index) => {
    if (Math.abs(value - wanted) < Math.abs(values[best] - wanted)) best = index;
  });
  return best;
}
