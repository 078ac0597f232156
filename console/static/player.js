// The clip itself, with what is drawn over it.

import { el } from "./dom.js";
import { t } from "./strings.js";

export class Player {
  /** `record` is the clip as the console tells it; `durationS` is used where the browser cannot play the file. */
  constructor(record, durationS) {
    this.fallbackS = durationS;
    this.virtualS = 0;
    this.listeners = [];
    this.failed = false;
    const isVideo = record.answer?.file_type === "video" || record.media_type.startsWith("video/");
    const props = { src: `/api/clips/${record.id}/media`, controls: true, preload: "auto", "aria-label": record.name };
    this.media = el(isVideo ? "video" : "audio", { ...props, playsinline: true });
    this.overlay = el("canvas", { "aria-hidden": "true" });
    this.note = el("p", { class: "media-note", hidden: true }, t("clip.cannot_play"), " ",
      el("a", { href: props.src, download: record.name }, t("clip.not_playable_download")));
    this.node = isVideo ? el("div", { class: "media" }, this.media, this.overlay, this.note) : el("div", {}, this.media);
    this.media.addEventListener("error", () => this.cannotPlay());
    for (const name of ["timeupdate", "seeking", "seeked", "pause", "play", "loadedmetadata"]) {
      this.media.addEventListener(name, () => this.tell());
    }
    this.media.addEventListener("play", () => this.follow());
    this.resized = new ResizeObserver(() => this.tell());
    this.resized.observe(this.node);
  }

  get time() {
    return this.failed ? this.virtualS : this.media.currentTime;
  }

  get duration() {
    return Number.isFinite(this.media.duration) && !this.failed ? this.media.duration : this.fallbackS;
  }

  get isPaused() {
    return this.media.paused;
  }

  seek(atS) {
    const to = Math.max(0, Math.min(atS, this.duration || 0));
    this.virtualS = to;
    if (!this.failed) this.media.currentTime = to;
    this.tell();
  }

  toggle() {
    if (this.failed) return;
    if (this.media.paused) this.media.play().catch(() => {});
    else this.media.pause();
  }

  onTime(listener) {
    this.listeners.push(listener);
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  /** While it plays, the playhead moves with every frame of the screen. */
  follow() {
    if (this.media.paused || !this.node.isConnected) return;
    this.tell();
    requestAnimationFrame(() => this.follow());
  }

  cannotPlay() {
    this.failed = true;
    this.note.hidden = false;
    if (!this.note.isConnected) this.node.append(this.note);
    this.media.hidden = true;
    this.tell();
  }

  /** Where the picture lies within the element, whose edges may be black bars; null before it is known. */
  pictureBox() {
    const { videoWidth: width, videoHeight: height, clientWidth, clientHeight } = this.media;
    if (!width || !height) return null;
    const scale = Math.min(clientWidth / width, clientHeight / height);
    return {
      left: (clientWidth - width * scale) / 2, top: (clientHeight - height * scale) / 2,
      width: width * scale, height: height * scale,
    };
  }

  close() {
    this.resized.disconnect();
    this.media.pause();
    this.media.removeAttribute("src");
    this.media.load();
  }
}
