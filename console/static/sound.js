// The sound's lanes: its spectrogram, and under it what in each window spoke for fake.

import { el } from "./dom.js";
import { decode, draw, LONG_S } from "./spectrogram.js";
import { t } from "./strings.js";

const MAP_WIDTH = 1000;

/** Adds the spectrogram's lane to a timeline; for a long clip only once its button is pressed. */
export async function addSpectrogram(timeline, clipId, card, isCurrent) {
  const run = async () => {
    const samples = await decode(`/api/clips/${clipId}/media`);
    if (!isCurrent()) return;
    if (samples === null) return card.append(el("p", { class: "hint" }, t("clip.spectrogram_none")));
    const canvas = el("canvas", { class: "spectrogram", role: "img", "aria-label": t("clip.spectrogram_label") });
    draw(canvas, samples, timeline.endS);
    timeline.append(t("clip.spectrogram"), canvas);
  };
  if (timeline.endS <= LONG_S) return run();
  const button = el("button", { type: "button" }, t("clip.spectrogram_large"));
  button.addEventListener("click", () => run(button.remove()));
  return card.append(button);
}

/** Adds the heat map of the sound, each window at its place in time. */
export function addSoundMap(timeline, sheet, explanation) {
  const canvas = el("canvas", { class: "map", width: MAP_WIDTH, height: 120, role: "img", "aria-label": t("clip.sound_map_label") });
  const context = canvas.getContext("2d");
  const lengthS = explanation.stretch_s * (explanation.stretch_effect?.[0]?.length ?? 8);
  for (const window of sheet.members) {
    const startS = explanation.window_starts_s[window];
    const [left, width] = [startS, lengthS].map((seconds) => (seconds / timeline.endS) * MAP_WIDTH);
    sheet.drawTile(context, window, left, 0, width, canvas.height);
  }
  timeline.append(t("clip.sound_map"), canvas);
}
