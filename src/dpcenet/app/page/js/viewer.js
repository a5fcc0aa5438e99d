// Views of a scene with their editor and keys: what the label page and the review share.

import { button, coloured, el, fill } from "./dom.js";
import { Editor, TOOLS } from "./editor.js";
import { placeText } from "./geometry.js";
import { t } from "./i18n.js";

export const PRESETS = { abdomen: [-160, 240], lung: [-1350, 150], bone: [-450, 1050], brain: [0, 80], liver: [-45, 105] };
const KEYS = { v: "look", b: "brush", e: "eraser", p: "polygon", f: "fill", m: "ruler" };
const STEP = 4; // slices between drawn ones

// Whether a key belongs to a field that is being typed in.
export function typing(event) {
  return event.target.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea") || event.ctrlKey && !"zyZ".includes(event.key) || event.metaKey || document.querySelector("dialog[open]");
}

export function makeEditor(scene, views) {
  const editor = new Editor(scene, views);
  editor.hover = (view, place) => {
    if (editor.tool === "ruler") return;
    const index = view.index3(place);
    const inside = index.every((each, axis) => each >= -0.5 && each <= scene.facts.shape[axis] - 0.5);
    view.info.textContent = inside ? `${placeText(scene.facts.affine, index)} mm   ${valueText(view, place)}` : "";
  };
  return editor;
}

function valueText(view, place) {
  const image = view.scene.image.peek(view.axis, view.at);
  const columns = view.sides[1];
  const value = image?.[Math.round(place[0]) * columns + Math.round(place[1])];
  return value === undefined ? "" : String(Math.round(value * 100) / 100);
}

// Keys of drawing and looking; whether one was meant.
export function drawingKey(event, editor, main) {
  const { scene } = editor;
  const key = event.key;
  if ((event.ctrlKey && key === "z" && !event.shiftKey) || (!event.ctrlKey && key === "z")) editor.again("undo");
  else if ((event.ctrlKey && (key === "y" || key === "Z")) || key === "Z" || key === "y") editor.again("redo");
  else if (key in KEYS && (editor.enabled || ["look", "ruler"].includes(KEYS[key]))) editor.set({ tool: KEYS[key] });
  else if (key === "ArrowUp" || key === "ArrowDown") scene.step(main.axis, key === "ArrowUp" ? 1 : -1);
  else if (key === "PageUp" || key === "PageDown") scene.step(main.axis, key === "PageUp" ? STEP : -STEP);
  else if (key === "[" || key === "]") editor.set({ radius: Math.max(0.5, Math.min(60, editor.radius * (key === "]" ? 1.25 : 0.8))) });
  else if (key === "+" || key === "=") main.zoomBy(1.25);
  else if (key === "-") main.zoomBy(0.8);
  else if (key === "0") main.fit();
  else if (key === "o") scene.set({ outlines: !scene.outlines });
  else if (key === "h") scene.set({ opacity: scene.opacity ? 0 : 0.35 });
  else if (key === "x") editor.clear(main);
  else if (key === "Enter") editor.closePolygon();
  else if (key === "Escape") editor.set({ tool: editor.tool });
  else if (/^[1-9]$/.test(key) && scene.names[key - 1]) editor.set({ value: scene.names[key - 1].value });
  else return false;
  event.preventDefault();
  return true;
}

export function toolBar(editor, tools = TOOLS) {
  const buttons = new Map(
    tools.map((tool) => [tool, button(t(`tool.${tool}`), () => editor.set({ tool }), { title: t(`tool.${tool}.help`) })]),
  );
  const undo = button(t("tool.undo"), () => editor.again("undo"), { title: "Z" });
  const redo = button(t("tool.redo"), () => editor.again("redo"), { title: "Y" });
  const clear = button(t("tool.clear"), () => editor.clear(), { title: t("tool.clear.help") });
  const show = () => buttons.forEach((each, tool) => {
    each.setAttribute("aria-pressed", tool === editor.tool);
    each.disabled = !editor.enabled && !["look", "ruler"].includes(tool);
  });
  editor.onchange(show);
  show();
  return el("div", { class: "tools", role: "toolbar", "aria-label": t("tool.all") }, ...buttons.values(), undo, redo, clear);
}

export function brushSize(editor) {
  const text = el("span", { class: "number" });
  const range = el("input", { type: "range", min: "0.5", max: "40", step: "0.5", "aria-label": t("brush.size") });
  range.addEventListener("input", () => editor.set({ radius: Number(range.value) / 2 }));
  const show = () => {
    range.value = editor.radius * 2;
    text.textContent = `${(editor.radius * 2).toFixed(1)} mm`;
  };
  editor.onchange(show);
  show();
  return el("section", {}, el("div", { class: "row" }, el("h3", { class: "grow" }, t("brush.size")), text), range);
}

export function lookControls(scene) {
  const opacity = el("input", { type: "range", min: "0", max: "1", step: "0.05", value: String(scene.opacity), "aria-label": t("look.opacity") });
  opacity.addEventListener("input", () => scene.set({ opacity: Number(opacity.value) }));
  const outlines = el("input", { type: "checkbox", checked: scene.outlines });
  outlines.addEventListener("change", () => scene.set({ outlines: outlines.checked }));
  scene.onchange(() => {
    outlines.checked = scene.outlines;
    opacity.value = scene.opacity;
  });
  const names = scene.facts.modality === "ct" ? ["auto", ...Object.keys(PRESETS)] : ["auto", "full"];
  const windows = el("select", { "aria-label": t("look.window") }, names.map((name) => el("option", { value: name }, t(`window.${name}`))));
  windows.addEventListener("change", () => {
    const chosen = { auto: scene.facts.window, full: scene.facts.range }[windows.value] ?? PRESETS[windows.value];
    scene.set({ window: [...chosen] });
  });
  return [
    el("section", {}, el("h3", {}, t("look.window")), windows),
    el("section", {}, el("h3", {}, t("look.opacity")), opacity, el("label", {}, outlines, t("look.outlines"))),
  ];
}

// The slider through the slices, with a mark at each drawn one.
export function sliceStrip(scene, axis) {
  const last = scene.facts.shape[axis] - 1;
  const range = el("input", { type: "range", min: "0", max: String(last), step: "1", "aria-label": t("strip.slice") });
  const ticks = el("div", { class: "ticks", "aria-hidden": "true" });
  range.addEventListener("input", () => scene.go(axis, Number(range.value)));
  const show = () => {
    range.value = scene.at[axis];
    fill(ticks, scene.drawn.map((z) => {
      const tick = el("i");
      tick.style.left = `calc(8px + (100% - 16px) * ${last ? z / last : 0})`; // a slider's knob is 16 px
      return tick;
    }));
  };
  scene.onchange(show);
  show();
  return el("div", { class: "slide" }, ticks, range);
}

export function legend(scene) {
  return el("div", { class: "row wrap small" }, scene.names.map((label) => el("span", { class: "row" }, coloured(label.colour), label.name)));
}
