// Which faces the model saw: thumbnails under their heat map, and boxes over the picture where the server tells them.

import { clock, el, percent, verdictOf } from "./dom.js";
import { t } from "./strings.js";

/** Thumbnails; each goes to its moment. `explanation` is that of the video. */
export function thumbnails(sheet, explanation, player) {
  const found = sheet.members.map((frame) => {
    const atS = explanation.frame_times_s?.[frame] ?? 0;
    const pFake = explanation.frame_p_fake?.[frame];
    const canvas = el("canvas", { width: sheet.width, height: sheet.height, "aria-hidden": "true" });
    sheet.drawTile(canvas.getContext("2d"), frame, 0, 0, sheet.width, sheet.height);
    const label = pFake === undefined
      ? t("clip.face_at_plain", { at: clock(atS) })
      : t("clip.face_at", { at: clock(atS), percent: percent(pFake) });
    const text = el("small", {}, clock(atS) + (pFake === undefined ? "" : ` · ${percent(pFake)} %`));
    return el("button", { type: "button", "aria-label": label, title: label, onclick: () => player.seek(atS) }, canvas, text);
  });
  return el("div", { class: "faces" }, found);
}

const NEAR_S = 1.5; // a box counts so long before its first and after its last moment

/** What to draw at a moment: each face's box and crop, between the moments at which they are known. */
export function facesAt(faces, atS) {
  return faces.map((face) => ({ ...face, ...placeAt(face.boxes, atS) })).filter((face) => face.box);
}

function placeAt(boxes, atS) {
  const after = boxes.findIndex((one) => one.time_s >= atS);
  const [left, right] = after < 0 ? [boxes.at(-1), boxes.at(-1)] : [boxes[Math.max(0, after - 1)], boxes[after]];
  const [gapLeft, gapRight] = [atS - left.time_s, right.time_s - atS];
  if (Math.min(Math.abs(gapLeft), Math.abs(gapRight)) > NEAR_S) return {};
  if (gapLeft < 0 || gapRight < 0 || left === right) return gapLeft < 0 ? left : right;
  const share = gapLeft / (gapLeft + gapRight);
  const between = (key) => left[key].map((value, index) => value + share * (right[key][index] - value));
  return { box: between("box"), crop: between("crop") };
}

/** Draws boxes, and the heat map of the nearest frame while the player is paused. */
export class Overlay {
  constructor(player, faces, limit) {
    Object.assign(this, { player, faces, limit, sheet: null, times: [], showMap: false, showBoxes: true });
    player.onTime(() => this.draw());
  }

  setExplanation(sheet, explanation) {
    this.sheet = sheet;
    this.times = explanation.frame_times_s ?? [];
    this.draw();
  }

  draw() {
    const canvas = this.player.overlay;
    const box = this.player.pictureBox();
    if (!box || !canvas.isConnected) return;
    const ratio = window.devicePixelRatio || 1;
    Object.assign(canvas.style, {
      left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px`,
    });
    canvas.width = box.width * ratio;
    canvas.height = box.height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const faces = facesAt(this.faces, this.player.time);
    if (this.showMap && this.player.isPaused && this.sheet) this.drawMap(context, box, faces);
    if (this.showBoxes) for (const face of faces) this.drawBox(context, box, face);
  }

  drawMap(context, picture, faces) {
    const frame = this.nearestFrame();
    if (frame === null) return;
    const place = facesAt(this.faces, this.times[frame]).find((face) => face.is_chosen)?.crop;
    if (place) {
      const [x, y, w, h] = place;
      context.globalAlpha = 0.85;
      this.sheet.drawTile(context, frame, x * picture.width, y * picture.height, w * picture.width, h * picture.height);
      context.globalAlpha = 1;
      return;
    }
    // Where the server does not say where the face lies, its map stands in the corner, with its moment.
    const side = Math.min(picture.height, picture.width) * 0.5;
    const height = (side * this.sheet.height) / this.sheet.width;
    context.fillStyle = "rgb(0 0 0 / .75)";
    context.fillRect(0, 0, side + 12, height + 32);
    this.sheet.drawTile(context, frame, 6, 6, side, height);
    context.fillStyle = "#fff";
    context.font = "13px system-ui, sans-serif";
    context.fillText(t("clip.face_at_plain", { at: clock(this.times[frame]) }), 8, height + 24);
  }

  nearestFrame() {
    let best = null;
    for (const frame of this.sheet.members) {
      const gap = Math.abs(this.times[frame] - this.player.time);
      if (best === null || gap < Math.abs(this.times[best] - this.player.time)) best = frame;
    }
    return best;
  }

  drawBox(context, picture, face) {
    const [x, y, w, h] = face.box;
    const [left, top] = [x * picture.width, y * picture.height];
    const verdict = verdictOf(face.p_fake, this.limit);
    context.lineWidth = 3;
    context.strokeStyle = verdict.kind === "fake" ? "#ff8a4c" : "#62c3ff";
    context.setLineDash(verdict.kind === "fake" ? [] : [8, 4]);
    context.strokeRect(left, top, w * picture.width, h * picture.height);
    const text = `${verdict.sign} ${percent(face.p_fake)} %`;
    context.font = "600 14px system-ui, sans-serif";
    context.fillStyle = "rgb(0 0 0 / .8)";
    context.fillRect(left - 1.5, Math.max(0, top - 22), context.measureText(text).width + 12, 22);
    context.fillStyle = "#fff";
    context.fillText(text, left + 5, Math.max(16, top - 6));
  }
}
