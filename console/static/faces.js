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

/**
 * What to draw at a moment: the boxes of all faces, each with its score.
 * The server may give `faces`: [{id, p_fake, boxes: [{time_s, box: [x, y, w, h], crop: [x, y, w, h]}]}], shares of the picture.
 */
export function facesAt(part, atS) {
  const found = [];
  for (const face of part?.faces_tracked ?? (Array.isArray(part?.faces) ? part.faces : [])) {
    const near = nearest(face.boxes ?? [], atS);
    if (near) found.push({ ...near, pFake: face.p_fake, id: face.id });
  }
  return found;
}

function nearest(boxes, atS) {
  let best = null;
  for (const one of boxes) {
    if (best === null || Math.abs(one.time_s - atS) < Math.abs(best.time_s - atS)) best = one;
  }
  return best;
}

/** Draws boxes, and the heat map of the nearest frame while the player is paused. */
export class Overlay {
  constructor(player, part, limit) {
    Object.assign(this, { player, part, limit, sheet: null, times: [], showMap: false, showBoxes: true });
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
    const faces = facesAt(this.part, this.player.time);
    if (this.showMap && this.player.isPaused && this.sheet) this.drawMap(context, box, faces);
    if (this.showBoxes) for (const face of faces) this.drawBox(context, box, face);
  }

  drawMap(context, picture, faces) {
    const frame = this.nearestFrame();
    if (frame === null) return;
    const place = faces.find((face) => face.crop)?.crop;
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
    if (!face.box) return;
    const [x, y, w, h] = face.box;
    const [left, top] = [x * picture.width, y * picture.height];
    const has = face.pFake !== undefined && face.pFake !== null;
    const verdict = has ? verdictOf(face.pFake, this.limit) : null;
    context.lineWidth = 3;
    context.strokeStyle = verdict?.kind === "fake" ? "#ff8a4c" : "#62c3ff";
    context.setLineDash(verdict?.kind === "fake" ? [] : [8, 4]);
    context.strokeRect(left, top, w * picture.width, h * picture.height);
    if (!has) return;
    const text = `${verdict.sign} ${percent(face.pFake)} %`;
    context.font = "600 14px system-ui, sans-serif";
    context.fillStyle = "rgb(0 0 0 / .8)";
    context.fillRect(left - 1.5, Math.max(0, top - 22), context.measureText(text).width + 12, 22);
    context.fillStyle = "#fff";
    context.fillText(text, left + 5, Math.max(16, top - 6));
  }
}
