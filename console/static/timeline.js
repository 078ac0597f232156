// Scores over time: one lane a modality, a playhead over all of them, and a slider for the keyboard.

import { clock, el, percent, svg } from "./dom.js";
import { t } from "./strings.js";

const WIDTH = 1000;
const HEIGHT = 100;
const MAX_SEGMENTS = 8;
const GAP_S = 0.5; // pieces further apart are not joined by a line
const y = (pFake) => 6 + (HEIGHT - 12) * (1 - pFake);

/** The SVG of one track. `over(p)` says whether a score is at or above the threshold. */
function lane(modality, track, endS, limit) {
  const x = (atS) => (WIDTH * atS) / endS;
  const label = `${t(`clip.lane_${modality}`)}: ${spoken(track)}`;
  const node = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  for (const level of [0, 0.5, 1]) {
    node.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(level), y2: y(level), "vector-effect": "non-scaling-stroke" }));
  }
  const group = svg("g", { class: modality });
  const points = []; // of a path; pieces with nothing between them are not joined
  track.p_fake.forEach((pFake, index) => {
    const [start, end] = [track.starts_s[index], track.ends_s[index]];
    const isJoined = index > 0 && (end === start || start - track.ends_s[index - 1] < GAP_S);
    points.push(`${isJoined ? "L" : "M"}${x(start)} ${y(pFake)}`);
    if (end > start) {
      points.push(`L${x(end)} ${y(pFake)}`);
      const props = { x: x(start), y: y(pFake), width: x(end) - x(start), height: HEIGHT - y(pFake) };
      group.append(svg("rect", { ...props, class: pFake >= limit ? "piece over" : "piece", stroke: "none" }));
    }
  });
  group.append(svg("path", { class: "line", d: points.join(""), "vector-effect": "non-scaling-stroke" }));
  track.p_fake.forEach((pFake, index) => {
    if (track.ends_s[index] > track.starts_s[index]) return;
    const [at, kind] = [`${x(track.starts_s[index])} ${y(pFake)}`, pFake >= limit ? "dot over" : "dot"];
    group.append(svg("path", { class: kind, d: `M${at}L${at}`, "vector-effect": "non-scaling-stroke" })); // round caps: a dot
  });
  node.append(group);
  node.append(svg("line", { class: "threshold", x1: 0, x2: WIDTH, y1: y(limit), y2: y(limit), "vector-effect": "non-scaling-stroke" }));
  return node;
}

/** The score of the piece that a moment lies in, or of the moment nearest to it. */
function scoreAt(track, atS) {
  let [best, gap] = [0, Infinity];
  track.starts_s.forEach((startS, index) => {
    const away = Math.max(startS - atS, atS - track.ends_s[index], 0);
    if (away < gap) [best, gap] = [index, away];
  });
  return track.p_fake[best];
}

function spoken(track) {
  const top = track.p_fake.indexOf(Math.max(...track.p_fake));
  return t("clip.score_at", { percent: percent(track.p_fake[top]), at: clock(track.starts_s[top]) });
}

export class Timeline {
  /** `player` has `time`, `duration`, `seek(s)`, `toggle()` and `onTime(f)`. */
  constructor(player, tracks, limit) {
    this.player = player;
    this.tracks = tracks;
    this.lanes = el("div", { class: "lanes" });
    this.head = el("div", { class: "playhead" });
    this.node = el("div", {
      class: "seek", tabindex: "0", role: "slider", "aria-valuemin": "0", "aria-orientation": "horizontal",
      onkeydown: (event) => this.key(event),
    }, this.lanes);
    this.setThreshold(limit);
    player.onTime(() => this.move());
  }

  /** The end of the time axis. */
  get endS() {
    const ends = Object.values(this.tracks).flatMap((track) => track.ends_s);
    return this.player.duration || Math.max(...ends, 0.1);
  }

  setThreshold(limit) {
    this.limit = limit;
    this.values = {};
    const extra = [...this.lanes.querySelectorAll("[data-extra]")];
    const found = Object.entries(this.tracks).map(([modality, track]) => {
      const drawn = lane(modality, track, this.endS, limit);
      drawn.addEventListener("click", (event) => this.click(event));
      this.values[modality] = el("b", {});
      const label = el("span", {}, t(`clip.${modality}`), this.values[modality]);
      return el("div", { class: "lane", title: t(`clip.lane_${modality}`) }, label, drawn);
    });
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => el("span", {}, clock(share * this.endS)));
    this.axis = el("div", { class: "lane", "aria-hidden": "true" }, el("span", {}), el("div", { class: "axis" }, ticks));
    this.lanes.replaceChildren(...found, ...extra, this.axis, this.head);
    this.move();
  }

  /** The runs of pieces at or above the threshold: `{modality, startS, endS, pFake}`, the highest first. */
  segments() {
    const found = [];
    for (const [modality, track] of Object.entries(this.tracks)) {
      let run = null;
      track.p_fake.forEach((pFake, index) => {
        const [startS, endS] = [track.starts_s[index], Math.min(track.ends_s[index], this.endS)];
        if (startS >= this.endS) return; // a window may reach beyond the sound that fills it
        if (pFake < this.limit) run = null;
        else if (run && startS - run.endS < GAP_S) Object.assign(run, { endS, pFake: Math.max(run.pFake, pFake) });
        else found.push((run = { modality, startS, endS, pFake }));
      });
    }
    return found.sort((a, b) => b.pFake - a.pFake).slice(0, MAX_SEGMENTS);
  }

  /** One more lane under the others, such as a spectrogram. */
  append(label, canvas) {
    canvas.addEventListener("click", (event) => this.click(event));
    this.axis.before(el("div", { class: "lane", "data-extra": "" }, el("span", {}, label), canvas));
    this.move();
  }

  click(event) {
    const box = event.currentTarget.getBoundingClientRect();
    this.player.seek(((event.clientX - box.left) / box.width) * this.endS);
  }

  key(event) {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    if (event.key in steps) this.player.seek(this.player.time + steps[event.key]);
    else if (event.key === "Home") this.player.seek(0);
    else if (event.key === "End") this.player.seek(this.endS);
    else if (event.key === "Enter") this.player.toggle();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  move() {
    const any = this.lanes.querySelector(".lane svg, .lane canvas");
    if (!any) return;
    const [box, outer] = [any.getBoundingClientRect(), this.lanes.getBoundingClientRect()];
    const share = Math.min(1, this.player.time / this.endS);
    for (const [modality, value] of Object.entries(this.values)) {
      value.textContent = `${percent(scoreAt(this.tracks[modality], this.player.time))} %`;
    }
    this.head.style.left = `${box.left - outer.left + share * box.width}px`;
    this.node.setAttribute("aria-valuemax", this.endS.toFixed(1));
    this.node.setAttribute("aria-valuenow", this.player.time.toFixed(1));
    const label = t("clip.timeline_label", { at: clock(this.player.time), end: clock(this.endS) });
    this.node.setAttribute("aria-label", label);
    this.node.setAttribute("aria-valuetext", clock(this.player.time));
  }
}

/** The same numbers for those who do not see lines. */
export function scoreTable(tracks) {
  const rows = Object.entries(tracks).flatMap(([modality, track]) =>
    track.p_fake.map((pFake, index) =>
      el("tr", {},
        el("td", {}, t(`clip.${modality}`)),
        el("td", { class: "number" }, clock(track.starts_s[index])),
        el("td", { class: "number" }, clock(track.ends_s[index])),
        el("td", { class: "number" }, `${percent(pFake, 1)} %`))));
  const head = ["clip.modalities", "clip.table_from", "clip.table_to", "clip.table_p"];
  const table = el("table", {},
    el("thead", {}, el("tr", {}, head.map((key) => el("th", { scope: "col" }, t(key))))), el("tbody", {}, rows));
  return el("details", {}, el("summary", {}, t("clip.table")), el("div", { class: "scroll" }, table));
}
