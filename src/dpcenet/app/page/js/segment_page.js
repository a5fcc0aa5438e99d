// Segment: one button; progress for each scan and the whole.

import { get } from "./api.js";
import { button, el, fill, toast, width } from "./dom.js";
import { t } from "./i18n.js";
import { act, currentJob, leftText, onJob, shareDone, startJob } from "./job_bar.js";
import { badge } from "./scans_page.js";

export async function segmentPage(view, go) {
  const choices = el("div", {});
  const start = button(t("segment.start"), begin, { class: "primary" });
  const hint = el("p", { class: "muted small" });
  const accept = el("input", { type: "number", min: "0.5", max: "1", step: "0.05", value: "0.7" });
  const asked = el("label", { class: "row small", title: t("segment.accept.help") }, t("segment.accept"), accept);
  const progress = el("div", { class: "panel stack" });
  fill(
    view,
    el(
      "div",
      { class: "page" },
      el("header", {}, el("div", { class: "grow" }, el("h1", {}, t("segment.title")), el("p", { class: "muted" }, t("segment.about")))),
      el("div", { class: "columns" }, el("div", { class: "panel stack" }, el("h2", {}, t("segment.labelled")), choices, asked, start, hint), progress),
    ),
  );
  let boxes = new Map();

  async function load() {
    const { scans } = await get("/api/scans");
    const persons = scans.filter((scan) => ["labelled", "corrected"].includes(scan.state));
    const rest = scans.length - persons.length;
    boxes = new Map();
    fill(choices, persons.map(choice));
    if (!persons.length) fill(choices, el("p", { class: "hint" }, t("segment.none")), button(t("segment.label"), () => go("label")));
    start.disabled = !persons.length || !rest || Boolean(currentJob());
    start.textContent = t(scans.some((scan) => scan.state === "segmented") ? "segment.again" : "segment.start", { n: rest });
    hint.textContent = persons.length ? t("segment.hint") : "";
  }

  function choice(scan) {
    const box = el("input", { type: "checkbox", checked: true, disabled: scan.state === "labelled" });
    boxes.set(scan.id, box);
    return el("label", { class: "choice" }, box, el("img", { src: `/api/scans/${scan.id}/thumbnail.png`, alt: "" }), el("span", { class: "grow" }, scan.name), badge(scan.state));
  }

  async function begin() {
    if (!accept.reportValidity()) return;
    start.disabled = true;
    try {
      await startJob("segment", { accept_dice: Number(accept.value), scans: [...boxes].filter(([, box]) => box.checked).map(([id]) => id) });
    } catch (error) {
      toast(error.message, "bad");
      start.disabled = false;
    }
  }

  function show(job) {
    if (!job.id) {
      fill(progress, el("p", { class: "muted" }, t("segment.nothing")));
      return;
    }
    const active = ["running", "paused"].includes(job.state);
    const done = job.scans.filter((scan) => scan.state === "done").length;
    const controls = [];
    if (active && job.can_pause) controls.push(button(t(job.state === "paused" ? "job.resume" : "job.pause"), () => act(job, job.state === "paused" ? "resume" : "pause")));
    if (active) controls.push(button(t("job.cancel"), () => act(job, "cancel")));
    if (done) controls.push(button(t("segment.review"), () => go("review"), { class: active ? "" : "primary" }));
    const line = active ? (job.state === "paused" ? t("job.paused") : leftText(job.seconds_left)) : t(`job.segment.${job.state}`);
    fill(
      progress,
      el("div", { class: "row" }, el("h2", {}, t("segment.progress")), el("span", { class: "grow" }), ...controls),
      el("div", { class: "row" }, el("div", { class: "bar" }, width(el("i"), 100 * shareDone(job))), el("span", { class: "number muted", role: "status" }, `${done} / ${job.scans.length} · ${line}`)),
      el("table", {}, el("tbody", {}, job.scans.map((scan) => el("tr", {}, el("td", {}, scan.name, scan.error ? el("div", { class: "note bad" }, scan.error) : null), el("td", { class: "right" }, badge(scan.state) ?? "")))),),
      job.state === "failed" ? el("pre", {}, job.log) : null,
      el("details", {}, el("summary", { class: "muted small" }, t("segment.command")), el("pre", {}, job.command.map((word) => (/[\s'"]/.test(word) ? JSON.stringify(word) : word)).join(" "))),
    );
  }

  const stop = onJob(async (job, ended) => {
    if (job.kind === "segment") show(job);
    if (ended || !job.id) await load();
  });
  await load();
  show(await get("/api/jobs/latest?kind=segment"));
  return { close: stop };
}
