// The scan and its labels in 3-D, by NiiVue; needs WebGL 2. Loaded only when it is asked for.

import { bytes } from "./api.js";
import { button, el, fill } from "./dom.js";
import { t } from "./i18n.js";

const MAX_VOXELS = 80e6; // more would not fit the memory of most graphics

export function view3d(scene, available) {
  const node = el("div", { class: "view" });
  const start = () => fill(node, el("div", { class: "mark title" }, "3-D"), centred(button(t("3d.show"), open, { disabled: !available })), available ? null : el("span", { class: "mark info" }, t("3d.absent")));
  let niivue = null;

  function centred(child) {
    const place = el("div", { class: "row" }, child);
    Object.assign(place.style, { position: "absolute", inset: "0", justifyContent: "center", padding: "14px", textAlign: "center" });
    return place;
  }

  async function open() {
    if (scene.facts.shape.reduce((a, b) => a * b) > MAX_VOXELS) {
      fill(node, centred(el("span", { class: "muted" }, t("3d.large"))));
      return;
    }
    fill(node, centred(el("span", { class: "muted" }, t("wait"))));
    try {
      await show();
    } catch (error) {
      fill(node, centred(el("span", { class: "muted small" }, t("3d.failed", { reason: error.message }))));
    }
  }

  async function show() {
    const { Niivue, NVImage, SLICE_TYPE } = await import("/page/vendor/niivue.js");
    const canvas = el("canvas", { "aria-label": "3-D" });
    fill(node, canvas, el("div", { class: "mark title" }, "3-D"));
    niivue = new Niivue({ backColor: [0, 0, 0, 1], show3Dcrosshair: false, isOrientCube: true, isResizeCanvas: true, logLevel: "error" });
    await niivue.attachToCanvas(canvas);
    if (!niivue.gl) throw new Error("WebGL 2");
    const [image, labels] = await Promise.all(["image.nii", "labels.nii"].map((name) => bytes(`${scene.path}/${name}`)));
    const [low, high] = scene.facts.window;
    const volumes = [
      await NVImage.loadFromUrl({ url: image, name: "image.nii", colormap: "gray", cal_min: low, cal_max: high, opacity: 0.25 }),
      await NVImage.loadFromUrl({ url: labels, name: "labels.nii", opacity: 1 }),
    ];
    volumes[1].setColormapLabel(colours());
    niivue.addVolume(volumes[0]);
    niivue.addVolume(volumes[1]);
    niivue.setSliceType(SLICE_TYPE.RENDER);
    node.dataset.shown = "true";
  }

  function colours() {
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const label of scene.names) {
      [1, 3, 5].forEach((n, channel) => table["RGB"[channel]].push(parseInt(label.colour.slice(n, n + 2), 16)));
      table.A.push(255);
      table.I.push(label.value);
      table.labels.push(label.name);
    }
    return table;
  }

  start();
  return { node, close: () => niivue?.gl?.getExtension("WEBGL_lose_context")?.loseContext(), refresh: () => node.dataset.shown && open() };
}
