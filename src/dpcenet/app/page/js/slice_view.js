// One plane of a scan on a 2-D canvas: grey values in a window, labels over them, crosshair, ruler.
// No WebGL: this draws wherever a browser runs.

import { el } from "./dom.js";
import { planeName, screenOf } from "./geometry.js";
import { t } from "./i18n.js";
import { edges } from "./paint.js";

export class SliceView {
  // scene: what all views of a scan share (see scene.js); axis: across which the plane lies; leader:
  // the scene that the wheel scrolls, where this one only follows it.
  constructor(scene, axis, { crosshair = true, leader = scene } = {}) {
    Object.assign(this, { scene, axis, crosshair, leader, zoom: 1, pan: [0, 0], brush: null, path: null, ruler: null });
    this.screen = screenOf(scene.facts.affine, axis);
    this.name = t(planeName(scene.facts.affine, axis));
    this.canvas = el("canvas", { tabindex: "0", role: "img" });
    this.index = el("span", { class: "mark index number" });
    this.info = el("span", { class: "mark info" });
    const mark = (where, text) => el("span", { class: `mark ${where}`, "aria-hidden": "true" }, text);
    const { up, down, left, right } = this.screen;
    this.node = el(
      "div",
      { class: "view" },
      this.canvas,
      mark("title", this.name),
      ...[["n", up], ["s", down], ["w", left], ["e", right]].map(([where, side]) => mark(where, side)),
      this.index,
      this.info,
    );
    this.picture = document.createElement("canvas");
    this.overlay = document.createElement("canvas");
    this.known = {}; // what is on them, so that panning and the crosshair paint nothing anew
    this.frames = 0;
    this.canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.size = [0, 0];
    this.fitting = 1;
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(this.node);
    this.stop = scene.onchange(() => this.draw());
  }

  close() {
    this.observer.disconnect();
    this.stop();
  }

  get sides() {
    return this.scene.image.sides(this.axis);
  }

  get steps() {
    const { rowAxis, columnAxis } = this.screen;
    return [this.scene.facts.spacing[rowAxis], this.scene.facts.spacing[columnAxis]]; // mm
  }

  get at() {
    return this.scene.at[this.axis];
  }

  // Screen pixels of a mm.
  get scale() {
    return this.zoom * this.fitting;
  }

  // The size of the view in pixels, and of the whole plane in it; asked of the page only when it may
  // have changed, because the answer is slow.
  measure() {
    const [rows, columns] = this.sides;
    const [stepRow, stepColumn] = this.steps;
    this.size = [this.node.clientWidth, this.node.clientHeight];
    this.fitting = 0.96 * Math.min(this.size[1] / (rows * stepRow), this.size[0] / (columns * stepColumn));
    this.draw();
  }

  // Screen pixels from row 0 and column 0, and of one voxel downwards and to the right.
  get transform() {
    const [rows, columns] = this.sides;
    const [stepRow, stepColumn] = this.steps;
    const down = stepRow * (this.screen.flipRows ? -1 : 1) * this.scale;
    const right = stepColumn * (this.screen.flipColumns ? -1 : 1) * this.scale;
    const x = this.size[0] / 2 + this.pan[0] - ((columns - 1) / 2) * right;
    const y = this.size[1] / 2 + this.pan[1] - ((rows - 1) / 2) * down;
    return { x, y, down, right };
  }

  toScreen([row, column], { x, y, down, right } = this.transform) {
    return [x + column * right, y + row * down];
  }

  toVoxel(left, top) {
    const { x, y, down, right } = this.transform;
    return [(top - y) / down, (left - x) / right];
  }

  // The index (z, y, x) of a place on this plane.
  index3([row, column]) {
    const place = [...this.scene.at];
    place[this.screen.rowAxis] = row;
    place[this.screen.columnAxis] = column;
    return place;
  }

  draw() {
    this.frames || (this.frames = requestAnimationFrame(() => {
      this.frames = 0;
      this.#paint();
    }));
  }

  fit() {
    this.zoom = 1;
    this.pan = [0, 0];
    this.draw();
  }

  zoomBy(factor, [x, y] = [this.size[0] / 2, this.size[1] / 2]) {
    const before = this.toVoxel(x, y);
    this.zoom = Math.max(0.5, Math.min(40, this.zoom * factor));
    const [newX, newY] = this.toScreen(before);
    this.pan = [this.pan[0] + x - newX, this.pan[1] + y - newY];
    this.draw();
  }

  #wheel(event) {
    event.preventDefault();
    if (event.ctrlKey) this.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, [event.offsetX, event.offsetY]);
    else this.leader.step(this.axis, Math.sign(event.deltaY));
  }

  #paint() {
    const { scene, axis, at } = this;
    const image = scene.image.peek(axis, at);
    const labels = scene.labels.peek(axis, at);
    if (!image || !labels) {
      Promise.all([scene.image.load(axis, at), scene.labels.load(axis, at)])
        .then(() => this.draw())
        .catch((error) => scene.failed(error));
      return;
    }
    scene.image.around(axis, at);
    scene.labels.around(axis, at);
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = this.size;
    if (!width || !height) return;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, width, height);
    this.#paintGrey(image);
    this.#place(pen, this.picture, true);
    const shown = this.preview && this.previewAt === at ? this.preview : labels;
    if (scene.opacity > 0 || scene.heat) {
      this.#paintLabels(shown);
      this.#place(pen, this.overlay, false);
    }
    if (scene.outlines) this.#paintOutlines(pen, shown);
    if (this.crosshair) this.#paintCross(pen, width, height);
    this.#paintMarks(pen);
    this.index.textContent = `${at + 1} / ${scene.facts.shape[axis]}`;
    this.canvas.setAttribute("aria-label", t("view.label", { plane: this.name, slice: at + 1 }));
    this.painted = (this.painted ?? 0) + 1;
    this.canvas.dataset.painted = this.painted;
    this.canvas.dataset.index = at;
    if (this.painted === 1) performance.mark("first-picture");
  }

  // Grey values in the window, a pixel for a voxel.
  #paintGrey(image) {
    const [rows, columns] = this.sides;
    const [low, high] = this.scene.window;
    const key = `${this.at}:${low}:${high}`;
    if (this.known.picture === key) return;
    const pixels = this.#pixels(this.picture, rows, columns);
    const factor = 255 / (high - low);
    for (let n = 0; n < image.length; n++) {
      const value = (image[n] - low) * factor;
      const grey = value <= 0 ? 0 : value >= 255 ? 255 : value | 0;
      pixels.words[n] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    pixels.pen.putImageData(pixels.data, 0, 0);
    this.known.picture = key;
  }

  #paintLabels(labels) {
    const [rows, columns] = this.sides;
    const pixels = this.#pixels(this.overlay, rows, columns);
    const heat = this.scene.heat?.peek(this.axis, this.at);
    if (this.scene.heat && !heat) {
      this.scene.heat.load(this.axis, this.at).then(() => this.draw()).catch((error) => this.scene.failed(error));
    }
    const table = heat ? HEAT : this.scene.colourTable();
    const values = heat ?? labels;
    if (this.#isKnown("overlay", [this.at, this.scene.version, table, this.scene.heat, values === this.preview ? NaN : 0])) return;
    for (let n = 0; n < values.length; n++) pixels.words[n] = table[values[n]];
    pixels.pen.putImageData(pixels.data, 0, 0);
  }

  // Whether a thing is still as it was made from the same facts; NaN is never the same.
  #isKnown(thing, facts) {
    const before = this.known[thing];
    this.known[thing] = facts;
    return Boolean(before) && facts.every((fact, n) => fact === before[n]);
  }

  #pixels(canvas, rows, columns) {
    if (canvas.pixels?.data.width !== columns || canvas.pixels.data.height !== rows) {
      canvas.width = columns;
      canvas.height = rows;
      const data = new ImageData(columns, rows);
      // Written from here each time, so it is kept in plain memory, not in that of the graphics.
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      canvas.pixels = { data, pen, words: new Uint32Array(data.data.buffer) };
    }
    return canvas.pixels;
  }

  #place(pen, picture, smooth) {
    const [rows, columns] = this.sides;
    const [x0, y0] = this.toScreen([-0.5, -0.5]);
    const [x1, y1] = this.toScreen([rows - 0.5, columns - 0.5]);
    pen.save();
    pen.imageSmoothingEnabled = smooth && this.zoom < 8;
    pen.translate(x0, y0);
    pen.scale((x1 - x0) / columns, (y1 - y0) / rows);
    pen.drawImage(picture, 0, 0);
    pen.restore();
  }

  #paintOutlines(pen, labels) {
    if (!this.#isKnown("edges", [this.at, this.scene.version, labels === this.preview ? NaN : 0])) {
      this.lines = new Map(); // label → its edges
      for (const [row0, column0, row1, column1, value] of edges(labels, this.sides)) {
        if (!this.lines.has(value)) this.lines.set(value, []);
        this.lines.get(value).push([row0, column0, row1, column1]);
      }
    }
    pen.lineWidth = 1.4;
    const { transform } = this;
    for (const [value, lines] of this.lines) {
      pen.strokeStyle = this.scene.colourOf(value);
      pen.beginPath();
      for (const [row0, column0, row1, column1] of lines) {
        pen.moveTo(...this.toScreen([row0, column0], transform));
        pen.lineTo(...this.toScreen([row1, column1], transform));
      }
      pen.stroke();
    }
  }

  #paintCross(pen, width, height) {
    const { rowAxis, columnAxis } = this.screen;
    const [x, y] = this.toScreen([this.scene.at[rowAxis], this.scene.at[columnAxis]]);
    pen.strokeStyle = "rgb(90 174 247 / 55%)";
    pen.lineWidth = 1;
    pen.beginPath();
    for (const [ax, ay, bx, by] of [[0, y, x - 8, y], [x + 8, y, width, y], [x, 0, x, y - 8], [x, y + 8, x, height]]) {
      pen.moveTo(ax, ay);
      pen.lineTo(bx, by);
    }
    pen.stroke();
  }

  // What a tool shows while it works: the brush, the polygon so far, the ruler.
  #paintMarks(pen) {
    pen.lineWidth = 1.5;
    if (this.brush) {
      pen.strokeStyle = this.brush.colour;
      pen.beginPath();
      pen.arc(...this.toScreen(this.brush.place), Math.max(2, this.brush.radius * this.scale), 0, 2 * Math.PI);
      pen.stroke();
    }
    const corners = this.path?.at === this.at ? this.path.corners : null;
    for (const [line, colour] of [[corners, this.path?.colour], [this.ruler, "#ffd84d"]]) {
      if (!line) continue;
      pen.strokeStyle = colour;
      pen.beginPath();
      line.forEach((corner, n) => (n ? pen.lineTo(...this.toScreen(corner)) : pen.moveTo(...this.toScreen(corner))));
      pen.stroke();
    }
  }
}

// Probability 0…255 as words ABGR: clear, then from violet over red to yellow.
const HEAT = Uint32Array.from({ length: 256 }, (_, n) => {
  const share = n / 255;
  const [red, green, blue] = [255 * Math.min(1, share * 1.6), 255 * Math.max(0, share * 1.7 - 0.7), 190 * Math.max(0, 1 - share * 1.4)];
  return ((n < 8 ? 0 : 60 + 120 * share) << 24) | (blue << 16) | (green << 8) | red;
});
