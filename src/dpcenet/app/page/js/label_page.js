// Label: draw on a few slices, let the network fill in the rest of the scan, correct.

import { call, get, send } from "./api.js";
import { button, el, fill, toast } from "./dom.js";
import { t } from "./i18n.js";
import { currentJob, onJob, startJob } from "./job_bar.js";
import { labelList, loadLabels } from "./label_list.js";
import { saved } from "./saver.js";
import { factsText } from "./scans_page.js";
import { Scene } from "./scene.js";
import { SliceView } from "./slice_view.js";
import { view3d } from "./view_3d.js";
import { brushSize, drawingKey, lookControls, makeEditor, sliceStrip, toolBar, typing } from "./viewer.js";

const MAX_FILE = 512 * 2 ** 20;

export async function labelPage(view, go, { id }) {
  const [{ scans }, known, project] = await Promise.all([get("/api/scans"), loadLabels(), get("/api/project")]);
  if (!scans.length) {
    fill(view, el("div", { class: "page" }, el("p", { class: "muted" }, t("scans.none"))));
    return { close: () => undefined };
  }
  const scan = scans.find((each) => each.id === id) ?? scans[0];
  const scene = await Scene.open(scan.id, known.labels);
  const views = [0, 1, 2].map((axis) => new SliceView(scene, axis));
  const editor = makeEditor(scene, views);
  const solid = view3d(scene, project.three_d);
  const store = { labels: known.labels };
  if (!known.labels.length) editor.set({ tool: "look" });
  else editor.set({ tool: "brush" });

  const picker = el("select", { "aria-label": t("label.scan") }, scans.map((each) => el("option", { value: each.id, selected: each.id === scan.id }, each.name)));
  picker.addEventListener("change", () => go("label", { id: picker.value }));
  const actions = labelActions({ scene, scan, go, editor });
  const left = el(
    "aside",
    { class: "side", "aria-label": t("label.tools") },
    el("section", {}, picker, el("span", { class: "muted small number" }, factsText(scene.facts))),
    labelList(editor, known, store),
    el("section", {}, toolBar(editor)),
    brushSize(editor),
    ...lookControls(scene),
  );
  let main = views[0];
  const stage = el("section", { class: "stage", "aria-label": t("label.stage") });
  const small = el("div", { class: "small-views" });
  const strip = el("div", { class: "strip" });

  function arrange() {
    const others = views.filter((each) => each !== main);
    fill(stage, main.node, strip);
    fill(small, others.map((each) => each.node), solid.node);
    fill(strip, sliceStrip(scene, main.axis), el("span", { class: "muted small" }, t("strip.hint")));
    for (const each of views) each.draw();
  }
  for (const each of views) {
    each.canvas.addEventListener("dblclick", () => {
      if (each === main || editor.tool === "polygon") return;
      main = each;
      arrange();
    });
  }
  fill(view, el("div", { class: "desk" }, left, stage, el("aside", { class: "side far", "aria-label": t("label.more") }, actions.node, small)));
  arrange();
  main.canvas.focus({ preventScroll: true });

  const keys = (event) => {
    if (!typing(event)) drawingKey(event, editor, main);
  };
  document.addEventListener("keydown", keys);
  window.dpcenet = { scene, editor, views }; // for tests, and for the curious
  return {
    close() {
      document.removeEventListener("keydown", keys);
      views.forEach((each) => each.close());
      actions.close();
      solid.close();
    },
  };
}

// What can be done with the labels of the scan, and what to do next.
function labelActions({ scene, scan, go, editor }) {
  const hint = el("p", { class: "hint", role: "status" });
  const fillIn = button(t("label.fill"), work(async () => startJob("complete", { scans: [scan.id] })), { class: "primary" });
  const whole = button(t("label.whole"), work(async () => {
    await send("POST", `/api/scans/${scan.id}/finish`);
    toast(t("label.whole.done"), "good");
    scan.state = "labelled";
    show();
  }), { title: t("label.whole.help") });
  const file = el("input", { type: "file", hidden: true, accept: ".nii,.gz,.nrrd,.mha,.mhd,.dcm" });
  file.addEventListener("change", work(() => upload(file.files[0])));
  const fromFile = button(t("label.file"), () => file.click());
  const discard = button(t("label.discard"), work(async () => {
    if (!confirm(t("label.discard.sure", { name: scan.name }))) return;
    await send("DELETE", `/api/scans/${scan.id}/labels`);
    go("label", { id: scan.id });
  }), { class: "plain" });
  const next = button(t("label.next"), () => go("segment"));

  function work(action) {
    return async (...given) => {
      try {
        await saved();
        await action(...given);
      } catch (error) {
        toast(error.message, "bad");
      }
    };
  }

  async function upload(chosen) {
    if (!chosen) return;
    if (chosen.size > MAX_FILE) throw new Error(t("label.file.large"));
    await call(`/api/scans/${scan.id}/mask?name=${encodeURIComponent(chosen.name)}`, { method: "PUT", body: chosen });
    go("label", { id: scan.id });
  }

  function show() {
    const drawn = scene.drawn.length;
    const done = ["labelled", "corrected"].includes(scan.state);
    const step = scene.names.length === 0 ? "names" : done ? "done" : scan.state === "segmented" ? "result" : drawn < 2 ? "draw" : "fill";
    hint.textContent = t(`label.hint.${step}`, { n: drawn });
    fillIn.disabled = drawn < 2 || Boolean(currentJob());
    whole.hidden = done || scan.state === "segmented";
    whole.disabled = drawn < 1;
    next.hidden = !done;
  }
  const stops = [
    scene.onchange(show),
    onJob(async (job, ended) => {
      show();
      if (ended && job.kind === "complete" && job.state === "done") {
        scan.state = "labelled";
        await scene.reload();
        editor.set({});
      } else if (ended && job.state === "failed") toast(job.log.trim().split("\n").at(-1), "bad");
    }),
  ];
  show();
  const node = el("div", { class: "stack" }, hint, el("div", { class: "row wrap" }, fillIn, whole, next), el("div", { class: "row wrap" }, fromFile, discard, file));
  return { node, close: () => stops.forEach((stop) => stop()) };
}
