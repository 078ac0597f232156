// Camera and microphone: a recording of a few seconds, judged; and the next one has begun halfway through it.

import { call } from "./api.js";
import { byId, clock, el, percent, svg, verdictOf } from "./dom.js";
import { t } from "./strings.js";
import { threshold } from "./threshold.js";

const PIECE_S = 4;
const STEP_S = 2;
const MAX_WAITING = 2; // pieces at the server; while so many wait, new ones are left out
const N_SHOWN = 30;
const TYPES = {
  both: ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"],
  camera: ["video/webm;codecs=vp8", "video/webm", "video/mp4"],
  microphone: ["audio/webm;codecs=opus", "audio/webm", "audio/mp4"],
};

let stream = null;
let timer = null;
let waiting = 0;
let startedS = 0;
let verdicts = [];
const recorders = new Set();

export function start() {
  byId("live-start").addEventListener("click", begin);
  byId("live-stop").addEventListener("click", stop);
}

async function begin() {
  const [video, audio] = ["live-camera", "live-microphone"].map((id) => byId(id).checked);
  alert("");
  if (!video && !audio) return alert(t("live.nothing_chosen"));
  if (!navigator.mediaDevices?.getUserMedia) return alert(t("live.insecure"));
  if (!window.MediaRecorder) return alert(t("live.unsupported"));
  const size = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 25 } };
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: video && size, audio });
  } catch (error) {
    return alert(t("live.refused", { message: error.message }));
  }
  const type = TYPES[video && audio ? "both" : video ? "camera" : "microphone"].find((each) => MediaRecorder.isTypeSupported(each));
  const preview = byId("live-preview");
  preview.srcObject = stream;
  preview.play().catch(() => {});
  Object.assign(byId("live-start"), { disabled: true });
  Object.assign(byId("live-stop"), { disabled: false });
  verdicts = [];
  startedS = performance.now() / 1000;
  byId("live-verdict").className = "live-verdict";
  byId("live-verdict").textContent = t("live.waiting", { seconds: PIECE_S });
  record(type);
  timer = setInterval(() => record(type), 1000 * STEP_S);
}

export function stop() {
  if (!stream) return;
  clearInterval(timer);
  for (const recorder of recorders) recorder.cancel();
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  byId("live-preview").srcObject = null;
  byId("live-start").disabled = false;
  byId("live-stop").disabled = true;
}

/** Each piece is a file of its own: a later chunk of one recording has no header. */
function record(type) {
  const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 2_500_000 });
  const parts = [];
  let isWanted = true;
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    recorders.delete(recorder);
    if (isWanted && stream) judge(new Blob(parts, { type }), performance.now() / 1000 - startedS);
  };
  recorder.cancel = () => {
    isWanted = false;
    if (recorder.state !== "inactive") recorder.stop();
  };
  recorders.add(recorder);
  recorder.start();
  setTimeout(() => recorder.state !== "inactive" && recorder.stop(), 1000 * PIECE_S);
}

async function judge(piece, endS) {
  if (waiting >= MAX_WAITING) return alert(t("live.behind"));
  waiting += 1;
  try {
    const outcome = await call("POST", "/api/live", piece);
    if (!stream) return;
    if (outcome.error) return alert(t("live.error", { message: outcome.error.message }));
    alert("");
    add(outcome, endS);
  } catch (error) {
    alert(t("live.error", { message: error.message }));
  } finally {
    waiting -= 1;
  }
}

function add(outcome, endS) {
  const { answer } = outcome;
  verdicts = [{ answer, endS }, ...verdicts].slice(0, N_SHOWN);
  const pFake = answer.probabilities.fake;
  const { kind, sign } = verdictOf(pFake, threshold.for(answer.threshold));
  const verdict = `${sign} ${t(`clip.${kind}`)}`;
  byId("live-verdict").className = `live-verdict ${kind}`;
  byId("live-verdict").textContent = t("live.verdict", { seconds: PIECE_S, verdict, percent: percent(pFake) });
  byId("live-advice").replaceChildren(...outcome.advice.map((one) => el("li", {}, el("strong", {}, `⚠ ${one.title}. `), one.advice)));
  byId("live-history").replaceChildren(...verdicts.map(row));
  byId("live-spark").replaceChildren(spark());
}

function row({ answer, endS }) {
  const { kind, sign } = verdictOf(answer.probabilities.fake, threshold.for(answer.threshold));
  const parts = Object.entries(answer.modalities).filter(([, part]) => part.p_fake !== undefined && part.p_fake !== null).map(([name, part]) => t(`live.score_${name}`, { percent: percent(part.p_fake) }));
  return el("li", { class: kind }, `${clock(endS)} ${sign} ${percent(answer.probabilities.fake)} % (${parts.join(", ")})`);
}

function spark() {
  const x = (index) => 1000 - (1000 / (N_SHOWN - 1)) * index;
  const points = verdicts.map(({ answer }, index) => `${x(index)},${94 - 88 * answer.probabilities.fake}`);
  const node = svg("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": t("live.spark_label", { n: verdicts.length }) });
  node.append(svg("line", { x1: 0, x2: 1000, y1: 50, y2: 50, stroke: "currentColor", "stroke-dasharray": "4 4", opacity: 0.4, "vector-effect": "non-scaling-stroke" }));
  node.append(svg("polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": 2.5, "vector-effect": "non-scaling-stroke" }));
  return node;
}

function alert(text) {
  byId("live-alert").textContent = text;
  byId("live-alert").hidden = !text;
}
