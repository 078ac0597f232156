// Files on their way to the console: a few at once, each with its progress; what was refused stays, to be tried again.

import { upload } from "./api.js";

const AT_ONCE = 3;
let counter = 0;

export class Uploads {
  /** `onChange` is called whenever anything moves; `onArrival(clip)` when a file is in. */
  constructor(onChange, onArrival) {
    this.entries = new Map();
    this.onChange = onChange;
    this.onArrival = onArrival;
  }

  add(files) {
    for (const file of files) {
      const id = `upload-${++counter}`;
      this.entries.set(id, { id, file, name: file.name, state: "queued", share: 0, error: null, order: counter });
    }
    this.pump();
  }

  pump() {
    const all = [...this.entries.values()];
    let free = AT_ONCE - all.filter((entry) => entry.state === "uploading").length;
    for (const entry of all) {
      if (free <= 0) break;
      if (entry.state !== "queued") continue;
      free -= 1;
      this.send(entry);
    }
    this.onChange();
  }

  async send(entry) {
    entry.state = "uploading";
    const sending = upload(entry.file, (share) => {
      entry.share = share;
      this.onChange();
    });
    entry.abort = sending.abort;
    try {
      const clip = await sending.promise;
      this.entries.delete(entry.id);
      this.onArrival(clip);
    } catch (error) {
      if (error.code === "aborted") entry.state = "cancelled";
      else Object.assign(entry, { state: "failed", error: { code: error.code, message: error.message } });
    }
    this.pump();
  }

  cancel(id) {
    const entry = this.entries.get(id);
    if (entry.state === "uploading") entry.abort();
    else entry.state = "cancelled";
    this.onChange();
  }

  retry(id) {
    Object.assign(this.entries.get(id), { state: "queued", share: 0, error: null });
    this.pump();
  }

  remove(id) {
    this.entries.delete(id);
    this.onChange();
  }

  get isBusy() {
    return [...this.entries.values()].some((entry) => entry.state === "queued" || entry.state === "uploading");
  }
}
