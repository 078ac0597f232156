// Brings the page to life: which view is shown, keys, theme, dropped files, the server's state.

import { get, post } from "./api.js";
import * as clip from "./clip.js";
import { byId, el } from "./dom.js";
import * as live from "./live.js";
import * as models from "./models.js";
import * as queue from "./queue.js";
import { t } from "./strings.js";

const VIEWS = ["review", "live", "models"];
const HEALTH_MS = 15_000;
const { maxFiles, keeping } = document.documentElement.dataset;

function route() {
  const [, view = "review", id] = location.hash.split("/");
  const shown = VIEWS.includes(view) ? view : "review";
  for (const each of VIEWS) byId(`view-${each}`).hidden = each !== shown;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown !== "live") live.stop();
  if (shown === "models") models.show();
  if (shown === "review") open(id ?? null);
}

async function open(id) {
  document.querySelector(".review").classList.toggle("has-clip", id !== null);
  queue.select(id);
  if (id === null) return clip.close();
  try {
    await clip.show(id, { go: step, back: () => (location.hash = "#/review") });
  } catch (error) {
    if (error.status === 404) location.hash = "#/review";
  }
}

/** From the queue: another clip is wanted, or the one that is shown has changed. */
function select(id, { isUpdate = false } = {}) {
  if (isUpdate) return open(id);
  location.hash = id === null ? "#/review" : `#/review/${id}`;
}

function step(by) {
  const id = queue.neighbour(by);
  if (id !== null) select(id);
}

function takeFiles(files) {
  const room = Math.max(0, Number(maxFiles) - queue.count());
  const taken = [...files].slice(0, room);
  const alert = byId("drop-alert");
  alert.hidden = taken.length === files.length;
  alert.textContent = t("drop.too_many", { n: taken.length, max: maxFiles });
  queue.add(taken);
}

function startDrop() {
  const input = byId("files");
  input.addEventListener("change", () => {
    takeFiles(input.files);
    input.value = "";
  });
  const zone = byId("drop");
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && zone.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    zone.classList.remove("over");
    location.hash = "#/review";
    takeFiles(event.dataTransfer.files);
  });
}

function startKeys() {
  const actions = {
    j: () => step(1), k: () => step(-1), h: () => clip.current()?.toggleMap?.(), u: () => byId("files").click(),
    "/": () => byId("filter").focus(), "?": () => byId("keys-dialog").showModal(), " ": () => clip.current()?.player?.toggle(),
    1: () => decide(0), 2: () => decide(1), 3: () => decide(2),
    ArrowLeft: () => seek(-1), ArrowRight: () => seek(1),
  };
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (target.matches("input, textarea, select, audio, video")) return;
    if (event.key === " " && target.matches("button, a, summary, [role=slider]")) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || byId("view-review").hidden) return;
    event.preventDefault();
    action();
  });
  byId("keys-button").addEventListener("click", () => byId("keys-dialog").showModal());
}

async function decide(index) {
  const id = clip.current()?.id;
  if (!id || !(await queue.decide(id, clip.DECISIONS[index]).catch(() => false))) return;
  const next = queue.nextUndecided();
  if (next !== null) select(next);
}

function seek(by) {
  const player = clip.current()?.player;
  if (player) player.seek(player.time + by);
}

function startTheme() {
  const order = ["auto", "dark", "light"];
  const button = byId("theme-button");
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = { auto: "◐", dark: "☾", light: "☀" }[theme];
    button.setAttribute("aria-label", t(`page.theme_${theme}`));
    localStorage.setItem("theme", theme);
  };
  let theme = order.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";
  apply(theme);
  button.addEventListener("click", () => apply((theme = order[(order.indexOf(theme) + 1) % order.length])));
}

function startSession() {
  byId("end-button").addEventListener("click", async () => {
    const kept = keeping === "true" ? "_kept" : "";
    if (!confirm(t(`page.end_session_confirm${kept}`))) return;
    await post("/api/session/end").catch(() => {});
    over();
  });
  document.addEventListener("session-over", over);
}

function over() {
  live.stop();
  clip.close();
  clearInterval(health.timer);
  byId("content").replaceChildren(el("p", { role: "status" }, t("page.session_over")), el("a", { class: "button primary", href: "/" }, t("page.start_again")));
}

/** Also what keeps the session alive while the page is open. */
async function health() {
  const node = byId("server-state");
  const set = (kind, text) => {
    node.className = `server-state ${kind}`;
    if (node.textContent !== text) node.textContent = text;
  };
  try {
    const state = await get("/api/health");
    const pending = state.versions.reduce((sum, one) => sum + one.n_pending, 0);
    const isReady = state.versions.some((one) => one.n_ready > 0);
    if (!state.is_up) set("down", t("page.server_down"));
    else if (!state.has_management) set("", t("page.server_unknown"));
    else if (!isReady) set("down", t("page.server_no_worker"));
    else set("up", pending ? t("page.server_busy", { n: pending }) : t("page.server_up"));
    if (!byId("view-models").hidden) models.showHealth();
  } catch (error) {
    if (error.status === 401) return over();
    set("down", t("page.server_down"));
  }
}

function startReport() {
  const dialog = byId("report-dialog");
  byId("report-button").addEventListener("click", () => dialog.showModal());
  byId("report-close").addEventListener("click", () => dialog.close());
  byId("report-form").addEventListener("submit", () => dialog.close());
}

async function start() {
  startTheme();
  startDrop();
  startKeys();
  startSession();
  startReport();
  live.start();
  const limits = await get("/api/limits");
  byId("drop-hint").textContent = t("drop.hint", { n: maxFiles, mib: Math.floor(limits.max_file_bytes / 1048576) });
  await queue.start(select);
  window.addEventListener("hashchange", route);
  route();
  health();
  health.timer = setInterval(health, HEALTH_MS);
}

start();
