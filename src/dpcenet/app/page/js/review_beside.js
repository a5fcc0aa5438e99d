// The labelled scan beside a result: the slice that the network used for the shown one.

import { get } from "./api.js";
import { el, fill } from "./dom.js";
import { t } from "./i18n.js";
import { Scene } from "./scene.js";
import { SliceView } from "./slice_view.js";

// scene: of the result; labelled: rows of scans that a person labelled; known: the labels.
export async function besideView({ scene, row, labelled, known }) {
  const place = el("div", { class: "beside" });
  const controls = el("div", { class: "row" });
  const node = { place, controls, close, scene: null };
  let view = null;
  let theirs = null;
  let stop = null;
  if (!labelled.length) return node;
  const matches = new Map((await get(`/api/review/${row.id}/matches`)).scans.map((each) => [each.id, each]));
  const result = await extent(scene);
  const rows = [...labelled].sort((a, b) => matches.has(b.id) - matches.has(a.id));
  const names = [...new Set([...matches.values()].flatMap((each) => Object.keys(each.labels)))];
  const worst = row.labels.find((label) => names.includes(label.label))?.label ?? names[0];
  const scans = chooser("review.beside.scan", rows.map((each) => [each.id, each.name]), show);
  const organs = chooser("review.beside.label", names.map((name) => [name, name]), follow, worst);
  fill(controls, rows.length > 1 ? field("review.beside.scan", scans) : null, names.length > 1 ? field("review.beside.label", organs) : null);
  stop = scene.onchange(follow);
  await show();
  return node;

  async function show() {
    const chosen = rows.find((each) => each.id === scans.value);
    let other = null;
    try {
      other = await Scene.open(chosen.id, known.labels);
      theirs = await extent(other);
    } catch (error) {
      fill(place, el("p", { class: "note bad" }, error.message)); // the result is reviewed without it
      return;
    }
    if (scans.value !== chosen.id) return; // another one was chosen meanwhile
    view?.close();
    view = new SliceView(other, 0, { crosshair: false, leader: scene });
    view.node.querySelector(".title").textContent = t("review.beside", { name: chosen.name });
    node.scene = other;
    fill(place, view.node);
    follow();
  }

  function follow() {
    const other = node.scene;
    if (!other) return;
    const { z, how } = slice(matches.get(other.id));
    if (z !== null) other.go(0, z);
    view.info.textContent = how;
    if (other.opacity !== scene.opacity || other.outlines !== scene.outlines) other.set({ opacity: scene.opacity, outlines: scene.outlines });
  }

  // The slice to show, and why that one.
  function slice(match) {
    const at = scene.at[0];
    const served = match?.labels[organs.value]?.[at] ?? null;
    if (served !== null) return { z: served, how: t("review.beside.served", { name: organs.value }) };
    const there = match?.whole[at] ?? null;
    if (there !== null) return { z: there, how: t("review.beside.place", { name: organs.value }) };
    if (match) return { z: null, how: t("review.beside.beyond") };
    if (!result || !theirs) return { z: null, how: t("review.beside.unmatched") };
    const share = (at - result.first) / Math.max(1, result.last - result.first);
    return { z: Math.round(theirs.first + share * (theirs.last - theirs.first)), how: t("review.beside.share") };
  }

  function close() {
    stop?.();
    view?.close();
  }
}

function chooser(name, options, changed, chosen) {
  const node = el("select", { "aria-label": t(name) }, options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
  node.addEventListener("change", changed);
  return node;
}

function field(name, control) {
  return el("section", {}, el("h3", {}, t(name)), control);
}

// First and last slice with a label, and the one with most of it; null where there is none.
export async function extent(scene) {
  const { slices } = await get(`${scene.path}/extent`);
  const shown = slices.flatMap((count, z) => (count ? [z] : []));
  if (!shown.length) return null;
  return { first: shown[0], last: shown.at(-1), largest: slices.indexOf(Math.max(...slices)) };
}
