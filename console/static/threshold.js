// The reviewer's threshold, for the whole queue. Until it is moved, each answer's own counts.

let chosen = null;
const listeners = [];

export const threshold = {
  /** The one to hold an answer to. */
  for: (own) => chosen ?? own ?? 0.5,
  chosen: () => chosen,
  set(value) {
    chosen = value;
    for (const listener of listeners) listener();
  },
  onChange: (listener) => listeners.push(listener),
};
