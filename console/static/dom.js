// Small things for building the page. Text goes in as text: a file name is never markup.

/** An element: `el("button", {class: "x", onclick: f}, "text", child)`. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  apply(node, props);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function apply(node, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
}

export const byId = (id) => document.getElementById(id);

export const percent = (p, digits = 0) => (100 * p).toFixed(digits);

/** 75.3 -> "1:15.3". */
export function clock(seconds) {
  const whole = Math.max(0, seconds || 0);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

export function size(bytes) {
  return bytes < 1048576 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
}

/** A verdict in words with a sign, so that no colour alone tells it. */
export function verdictOf(pFake, threshold) {
  return pFake >= threshold ? { kind: "fake", sign: "▲" } : { kind: "real", sign: "●" };
}

const ICONS = {
  cancel: "M6 6h12v12H6z",
  retry: "M20 11a8 8 0 1 0-2 6M20 4v7h-7",
  remove: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  back: "M19 12H5M11 6l-6 6 6 6",
};

/** A drawn sign, which no font has to have; the button around it says what it does. */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}
