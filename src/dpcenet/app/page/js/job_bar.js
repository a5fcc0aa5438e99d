// The line that follows a running job on every page.

import { get, send } from "./api.js";
import { button, el, fill, toast, width } from "./dom.js";
import { t } from "./i18n.js";

const EVERY_MS = 1000;
const ended = new Set();
const listeners = new Set();
let timer = 0;
let running = null;

export function onJob(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function currentJob() {
  return running;
}

export async function startJob(kind, details) {
  const job = await send("POST", "/api/jobs", { kind, ...details });
  await follow();
  return job;
}

export async function act(job, action) {
  try {
    await send("POST", `/api/jobs/${job.id}/${action}`);
  } catch (error) {
    toast(error.message, "bad");
  }
  await follow();
}

export async function follow() {
  clearTimeout(timer);
  let job;
  try {
    job = await get("/api/jobs/latest");
  } catch {
    timer = setTimeout(follow, 3 * EVERY_MS); // the server is away; the job is not
    return;
  }
  const active = ["running", "paused"].includes(job.state);
  const before = running;
  running = active ? job : null;
  show(job, active);
  if (before && !active && !ended.has(job.id)) {
    ended.add(job.id);
    if (job.state !== "cancelled") toast(t(`job.${job.kind}.${job.state}`), job.state === "done" ? "good" : "bad");
  }
  for (const listener of listeners) listener(job, Boolean(before && !active));
  if (active) timer = setTimeout(follow, EVERY_MS);
}

export function shareDone(job) {
  return job.scans.length ? job.scans.filter((scan) => ["done", "failed"].includes(scan.state)).length / job.scans.length : 0;
}

export function leftText(seconds) {
  if (seconds === null || seconds === undefined) return t("job.estimating");
  return seconds < 90 ? t("job.seconds", { n: seconds }) : t("job.minutes", { n: Math.round(seconds / 60) });
}

function show(job, active) {
  const node = document.getElementById("job");
  const shownBelow = job.kind === "segment" && location.hash.startsWith("#segment");
  node.hidden = !active || shownBelow;
  if (!active) return;
  const counted = job.scans.length > 0;
  const bar = el("div", { class: `bar ${counted || job.state === "paused" ? "" : "busy"}` }, width(el("i"), 100 * shareDone(job)));
  const done = job.scans.filter((scan) => scan.state === "done").length;
  fill(
    node,
    el("strong", {}, t(`job.${job.kind}`)),
    bar,
    el("span", { class: "muted number" }, job.state === "paused" ? t("job.paused") : counted ? `${done} / ${job.scans.length} · ${leftText(job.seconds_left)}` : ""),
    el("span", { class: "grow" }),
    job.can_pause ? button(t(job.state === "paused" ? "job.resume" : "job.pause"), () => act(job, job.state === "paused" ? "resume" : "pause")) : null,
    button(t("job.cancel"), () => act(job, "cancel")),
  );
}
