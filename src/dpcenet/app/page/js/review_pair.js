// A result beside the labelled scan: linked scrolling, heat, what the network expects, correcting.

import { send } from "./api.js";
import { button, coloured, el, fill, toast } from "./dom.js";
import { said, t } from "./i18n.js";
import { currentJob, onJob, startJob } from "./job_bar.js";
import { besideView, extent } from "./review_beside.js";
import { saved } from "./saver.js";
import { Scene } from "./scene.js";
import { SliceView } from "./slice_view.js";
import { drawingKey, lookControls, makeEditor, sliceStrip, toolBar } from "./viewer.js";

export async function reviewPair({ row, labelled, known, decide, next, saved: reload }) {
  const scene = await Scene.open(row.id, known.labels);
  const view = new SliceView(scene, 0, { crosshair: false });
  const editor = makeEditor(scene, [view]);
  editor.set({ enabled: false });
  const mine = await extent(scene);
  if (mine) scene.go(0, mine.largest);
  const beside = await besideView({ scene, row, labelled, known });

  const facts = el("div", { class: "facts" });
  const tools = el("div", { class: "strip" });
  const correct = button("", () => setCorrecting(!editor.enabled), { title: "C" });
  const fillIn = button(t("label.fill"), fillFromDrawn, { title: t("review.fill.help") });
  const heat = el("select", { "aria-label": t("review.heat") });
  heat.addEventListener("change", () => scene.showHeat(heat.value === "" ? null : Number(heat.value)));
  fill(heat, el("option", { value: "" }, t("review.heat.none")), known.labels.map((label) => el("option", { value: String(label.value) }, t("review.heat.of", { name: label.name }))));
  const mark = view.node.querySelector(".title");
  mark.textContent = row.name;

  function decisionButton(kind) {
    return button(t(`review.${kind}`), () => decide(row, kind), { "aria-pressed": String(row.decision === kind), title: kind[0].toUpperCase() });
  }

  async function setCorrecting(on) {
    editor.set({ enabled: on, tool: on ? "brush" : "look" });
    refresh();
    if (!on) await keep();
  }

  // Written at once, so that the list and the message say what is in the file.
  async function keep() {
    await editor.pending;
    await saved();
    try {
      const { state } = await send("POST", `${scene.path}/save`);
      await reload();
      toast(t(state === "segmented" ? "review.unchanged" : "review.corrected"), "good");
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  // The network completes the scan from the slices that were drawn on, as on the label page.
  async function fillFromDrawn() {
    fillIn.disabled = true;
    try {
      await saved();
      await startJob("complete", { scans: [row.id] });
    } catch (error) {
      toast(error.message, "bad");
    }
  }
  const offer = () => (fillIn.disabled = scene.drawn.length < 2 || Boolean(currentJob()));
  const stops = [
    scene.onchange(offer),
    onJob(async (job, ended) => {
      offer();
      if (ended && job.kind === "complete" && job.state === "done") await scene.reload();
    }),
  ];
  offer();

  function refresh() {
    correct.textContent = t(editor.enabled ? "review.correct.done" : "review.correct");
    correct.setAttribute("aria-pressed", String(editor.enabled));
    const changed = Object.entries(row.changed ?? {}).map(([value, now]) => t("review.change", { name: nameOf(value), dice: now.dice.toFixed(2), before: millilitres(now.before_ml), after: millilitres(now.after_ml) }));
    fill(
      facts,
      el("div", { class: "row wrap" }, el("h1", { class: "grow" }, row.name), decisionButton("accept"), decisionButton("reject"), correct, button(t("review.next"), () => next(1), { title: "N" })),
      row.state === "segmented" ? el("div", { class: "quality" }, row.labels.map(quality)) : null,
      row.decided && row.decision ? el("p", { class: "muted small" }, t("review.decided", { time: new Date(row.decided).toLocaleString() })) : null,
      changed.length ? el("p", { class: "muted small" }, t("review.changed", { list: changed.join(", ") })) : null,
    );
    fill(tools, editor.enabled ? correcting() : [sliceStrip(scene, 0), heat]);
  }

  function correcting() {
    const bar = toolBar(editor, ["brush", "eraser", "polygon", "fill"]);
    Object.assign(bar.style, { gridTemplateColumns: "repeat(7, auto)" });
    const labels = el("select", { "aria-label": t("labels.title") }, known.labels.map((label) => el("option", { value: String(label.value), selected: label.value === editor.value }, label.name)));
    labels.addEventListener("change", () => editor.set({ value: Number(labels.value) }));
    return [bar, labels, sliceStrip(scene, 0), fillIn];
  }

  function nameOf(value) {
    return known.labels.find((label) => String(label.value) === value)?.name ?? value;
  }

  function quality(label) {
    const colour = known.labels.find((each) => each.name === label.label)?.colour ?? "#999";
    const bar = el("span", { class: "interval", "aria-hidden": "true" });
    const range = el("i");
    const middle = el("b");
    Object.assign(range.style, { left: `${label.low * 100}%`, width: `${(label.high - label.low) * 100}%` });
    middle.style.left = `${label.dice * 100}%`;
    bar.append(range, middle);
    const text = t("review.dice", { dice: label.dice.toFixed(2), low: label.low.toFixed(2), high: label.high.toFixed(2) });
    const reasons = label.reasons.length ? el("span", { class: "note" }, label.reasons.map(said).join("; ")) : null;
    return el("div", {}, el("div", { class: "row small" }, coloured(colour), el("strong", {}, label.label), bar, el("span", { class: "number muted", title: t("review.dice.help") }, text)), reasons);
  }

  const look = el("div", { class: "row" }, lookControls(scene), beside.controls);
  look.style.cssText = "padding: 6px 14px; gap: 24px; align-items: center;";
  refresh();
  const node = el("div", { class: "stage" }, facts, el("div", { class: "pair" }, view.node, beside.place), tools, look);
  node.style.height = "100%";
  window.dpcenet = { scene, editor, views: [view], beside };
  return {
    node,
    refresh,
    focus: () => view.canvas.focus({ preventScroll: true }),
    key(event) {
      if (event.key === "c") {
        setCorrecting(!editor.enabled);
        event.preventDefault();
        return true;
      }
      return !["a", "r", "n", "j", "k"].includes(event.key) && drawingKey(event, editor, view);
    },
    close() {
      stops.forEach((stop) => stop());
      view.close();
      beside.close();
    },
  };
}

function millilitres(ml) {
  return ml < 10 ? ml.toFixed(1) : String(Math.round(ml));
}
