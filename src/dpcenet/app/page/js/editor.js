// The pen: tools on the planes of a scene. A stroke is drawn here at once and sent to the server.

import { call } from "./api.js";
import { toast } from "./dom.js";
import { t } from "./i18n.js";
import { flood, polygon, stroke } from "./paint.js";
import { isSaved, save, saved } from "./saver.js";

export const TOOLS = ["look", "brush", "eraser", "polygon", "fill", "ruler"];
const SEND_MS = 400; // a long stroke is sent while it is drawn

export class Editor {
  constructor(scene, views) {
    Object.assign(this, { scene, views, tool: "look", radius: 4, value: scene.names[0]?.value ?? 1, enabled: true });
    this.strokes = 0; // of the pen, counted for docs and tests
    this.clicks = 0;
    this.listeners = new Set();
    for (const view of views) this.#listen(view);
  }

  onchange(listener) {
    this.listeners.add(listener);
  }

  set(changes) {
    Object.assign(this, changes);
    for (const view of this.views) {
      view.brush = null;
      view.path = null;
      view.canvas.dataset.tool = this.tool;
      view.draw();
    }
    for (const listener of this.listeners) listener();
  }

  get draws() {
    return this.enabled && !["look", "ruler"].includes(this.tool);
  }

  #listen(view) {
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.#down(view, event));
    canvas.addEventListener("pointermove", (event) => this.#move(view, event));
    canvas.addEventListener("pointerup", (event) => this.#up(view, event));
    canvas.addEventListener("pointercancel", (event) => this.#up(view, event));
    canvas.addEventListener("pointerleave", () => {
      view.brush = null;
      view.draw();
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.closePolygon(view));
  }

  #place(view, event) {
    return view.toVoxel(event.offsetX, event.offsetY);
  }

  #down(view, event) {
    view.canvas.setPointerCapture(event.pointerId);
    view.canvas.focus({ preventScroll: true });
    const place = this.#place(view, event);
    const start = [event.clientX, event.clientY];
    if (event.button === 2) this.drag = { kind: "window", view, start, window: [...this.scene.window] };
    else if (event.button === 1 || event.shiftKey) this.drag = { kind: "pan", view, start, pan: [...view.pan] };
    else if (this.tool === "ruler") this.drag = { kind: "ruler", view, from: place };
    else if (!this.draws) {
      this.drag = { kind: "cross", view };
      this.scene.goTo(view.index3(place));
    } else this.#begin(view, place);
  }

  #begin(view, place) {
    const labels = this.scene.labels.peek(view.axis, view.at);
    if (!labels) return;
    this.clicks += 1;
    if (this.tool === "polygon" && view.path) {
      view.path.corners.push(place);
      this.drag = { kind: "polygon", view };
    } else if (this.tool === "polygon") {
      view.path = { corners: [place], colour: this.scene.colourOf(this.value), at: view.at };
      this.drag = { kind: "polygon", view };
    } else if (this.tool === "fill") this.#fill(view, place, labels);
    else {
      const plane = labels.slice();
      this.drag = { kind: "brush", view, plane, at: view.at, last: place, name: crypto.randomUUID(), sent: performance.now() };
      this.#brush(place);
    }
    view.draw();
  }

  #move(view, event) {
    const place = this.#place(view, event);
    this.hover?.(view, place);
    if (["brush", "eraser"].includes(this.tool) && this.enabled) {
      const colour = this.tool === "eraser" ? "#fff" : this.scene.colourOf(this.value);
      view.brush = { place, radius: this.radius, colour };
      view.draw();
    }
    const { drag } = this;
    if (!drag || drag.view !== view) return;
    if (drag.kind === "brush" && view.at !== drag.at) this.#up(view); // scrolled on: the stroke ends
    else if (drag.kind === "brush") this.#brush(place);
    else if (drag.kind === "cross") this.scene.goTo(view.index3(place));
    else if (drag.kind === "ruler") this.#measure(view, drag.from, place);
    else if (drag.kind === "polygon") this.#trace(view, place);
    else this.#dragged(drag, event);
  }

  #dragged({ kind, view, start, pan, window }, event) {
    const [dx, dy] = [event.clientX - start[0], event.clientY - start[1]];
    if (kind === "pan") {
      view.pan = [pan[0] + dx, pan[1] + dy];
      view.draw();
      return;
    }
    const [low, high] = window; // to the right wider, downwards brighter
    const width = Math.max((high - low) * Math.exp(dx / 200), 1e-3);
    const centre = (low + high) / 2 + (dy / 300) * (high - low);
    this.scene.set({ window: [centre - width / 2, centre + width / 2] });
  }

  #up(view) {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (drag.kind === "brush") this.#commit(view, drag.plane, drag.name, drag.at);
    else if (drag.kind === "polygon" && view.path?.traced) this.closePolygon(view);
  }

  #brush(place) {
    const { drag } = this;
    const value = this.tool === "eraser" ? 0 : this.value;
    stroke(drag.plane, drag.view.sides, drag.view.steps, drag.last, place, this.radius, value);
    drag.last = place;
    drag.view.preview = drag.plane;
    drag.view.previewAt = drag.at;
    drag.view.draw();
    if (performance.now() - drag.sent > SEND_MS) {
      drag.sent = performance.now();
      save(this.scene, drag.view.axis, drag.at, drag.plane, drag.name);
    }
  }

  // Drawn with the button held, the polygon follows the pen and closes when it is let go.
  #trace(view, place) {
    const last = view.path.corners.at(-1);
    const apart = Math.hypot((place[0] - last[0]) * view.steps[0], (place[1] - last[1]) * view.steps[1]);
    if (apart * view.scale < 3) return;
    view.path.corners.push(place);
    view.path.traced = view.path.corners.length > 6;
    view.draw();
  }

  closePolygon(view = this.views.find((each) => each.path)) {
    const path = view?.path;
    if (!path) return;
    view.path = null;
    const labels = this.scene.labels.peek(view.axis, path.at);
    if (path.corners.length > 2 && labels && path.at === view.at) {
      const plane = labels.slice();
      polygon(plane, view.sides, path.corners, this.value);
      this.#commit(view, plane, crypto.randomUUID());
    }
    view.draw();
  }

  #fill(view, place, labels) {
    const [rows, columns] = view.sides;
    const [row, column] = place.map(Math.round);
    if (row < 0 || column < 0 || row >= rows || column >= columns) return;
    const plane = labels.slice();
    const done = flood(plane, view.sides, [row, column], this.value);
    if (done === "filled") this.#commit(view, plane, crypto.randomUUID());
    else if (done === "open") toast(t("tool.open"), "bad");
  }

  // Take the chosen label off the shown slice of a view.
  clear(view = this.views[0]) {
    const labels = this.scene.labels.peek(view.axis, view.at);
    if (!this.enabled || !labels?.includes(this.value)) return;
    this.#commit(view, labels.map((label) => (label === this.value ? 0 : label)), crypto.randomUUID());
  }

  #measure(view, from, to) {
    view.ruler = [from, to];
    const mm = Math.hypot((to[0] - from[0]) * view.steps[0], (to[1] - from[1]) * view.steps[1]);
    view.info.textContent = `${mm.toFixed(1)} mm`;
    view.draw();
  }

  #commit(view, plane, name, at = view.at) {
    this.strokes += 1;
    view.preview = null;
    this.scene.labels.put(view.axis, at, plane);
    save(this.scene, view.axis, at, plane, name);
    this.scene.changed();
    for (const listener of this.listeners) listener();
  }

  // Undo or redo; `pending` is the last one, for what has to wait until it is done.
  again(which) {
    this.pending = this.#again(which);
    return this.pending;
  }

  async #again(which) {
    if (!this.enabled) return;
    await saved(); // the server undoes what it knows
    if (!isSaved()) return;
    try {
      const answer = await call(`${this.scene.path}/${which}`, { method: "POST" });
      if (answer.status === 204) return;
      const [axis, index] = ["X-Axis", "X-Index"].map((name) => Number(answer.headers.get(name)));
      const plane = new Uint8Array(await answer.arrayBuffer());
      this.scene.drawn = (answer.headers.get("X-Drawn") || "").split(",").filter(Boolean).map(Number);
      this.scene.labels.put(axis, index, plane);
      this.scene.go(axis, index);
      this.scene.changed();
      for (const listener of this.listeners) listener();
    } catch (error) {
      toast(error.message, "bad");
    }
  }
}
