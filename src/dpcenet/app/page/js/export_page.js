// Export: choose what to take along; files to fetch, and where they lie.

import { get } from "./api.js";
import { button, el, fill, toast } from "./dom.js";
import { t } from "./i18n.js";
import { currentJob, onJob, startJob } from "./job_bar.js";

const PARTS = ["masks", "table", "pictures", "seg-nrrd", "dicom-seg", "nnunet", "task"];
const CHOSEN = new Set(["masks", "table", "pictures"]);

export async function exportPage(view) {
  const boxes = new Map(PARTS.map((part) => [part, el("input", { type: "checkbox", checked: CHOSEN.has(part) })]));
  const choices = PARTS.map((part) => el("label", { class: "choice" }, boxes.get(part), el("span", {}, t(`export.${part}`), el("div", { class: "muted small" }, t(`export.${part}.help`)))));
  const start = button(t("export.start"), begin, { class: "primary" });
  const files = el("div", { class: "panel stack" });
  fill(
    view,
    el(
      "div",
      { class: "page" },
      el("header", {}, el("div", {}, el("h1", {}, t("export.title")), el("p", { class: "muted" }, t("export.about")))),
      el("div", { class: "columns" }, el("div", { class: "panel stack" }, choices, start), files),
    ),
  );

  async function begin() {
    start.disabled = true;
    try {
      await startJob("export", { what: PARTS.filter((part) => boxes.get(part).checked) });
    } catch (error) {
      toast(error.message, "bad");
      start.disabled = false;
    }
  }

  async function show() {
    const [{ folder, files: found }, job] = await Promise.all([get("/api/export"), get("/api/jobs/latest?kind=export")]);
    const said = job.log ? el("details", {}, el("summary", { class: "muted small" }, t("export.said")), el("pre", {}, job.log)) : null;
    const names = Object.entries(found);
    start.disabled = Boolean(currentJob());
    if (!names.length) return fill(files, el("p", { class: "muted" }, t("export.none")));
    return fill(
      files,
      el("div", { class: "row" }, el("h2", { class: "grow" }, t("export.files", { n: names.length })), el("a", { class: "button", href: "/api/export/all.zip", download: "dpcenet-export.zip" }, t("export.all"))),
      el("p", { class: "muted small" }, t("export.folder"), " ", el("code", {}, folder)),
      el("table", {}, el("tbody", {}, names.slice(0, 400).map(([name, size]) => el("tr", {}, el("td", {}, el("a", { href: `/api/export/file?name=${encodeURIComponent(name)}`, download: name.split("/").at(-1) }, name)), el("td", { class: "right muted number" }, sizeText(size)))))),
      said,
    );
  }

  const stop = onJob((job, ended) => {
    if (ended) show();
    if (ended && job.kind === "export" && job.state === "failed") toast(job.log.trim().split("\n").at(-1), "bad");
  });
  await show();
  return { close: stop };
}

function sizeText(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
