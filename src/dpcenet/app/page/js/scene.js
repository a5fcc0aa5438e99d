// What all views of one scan share: its voxels, its labels, the place, the window, how labels look.

import { get } from "./api.js";
import { toast } from "./dom.js";
import { Planes } from "./volume.js";

export class Scene {
  static async open(id, labels) {
    const facts = await get(`/api/scans/${id}`);
    return new Scene(id, facts, labels);
  }

  constructor(id, facts, labels) {
    const path = `/api/scans/${id}`;
    Object.assign(this, { id, facts, path, names: labels, drawn: facts.drawn, window: [...facts.window] });
    this.image = new Planes(`${path}/image`, facts.shape, facts.dtype);
    this.labels = new Planes(`${path}/labels`, facts.shape, "uint8");
    this.heat = null;
    this.at = facts.shape.map((side) => Math.floor(side / 2));
    this.opacity = 0.35;
    this.outlines = true;
    this.listeners = new Set();
  }

  onchange(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  // Changes with every change of the labels.
  get version() {
    return this.labels.version;
  }

  changed() {
    for (const listener of this.listeners) listener();
  }

  step(axis, by) {
    this.go(axis, this.at[axis] + by);
  }

  go(axis, index) {
    const next = Math.max(0, Math.min(this.facts.shape[axis] - 1, index));
    if (next === this.at[axis]) return;
    this.at[axis] = next;
    this.changed();
  }

  goTo(index) {
    this.at = index.map((each, axis) => Math.max(0, Math.min(this.facts.shape[axis] - 1, Math.round(each))));
    this.changed();
  }

  set(changes) {
    Object.assign(this, changes);
    this.table = null;
    this.changed();
  }

  showHeat(value) {
    this.heat = value === null ? null : new Planes(`${this.path}/probability/${value}`, this.facts.shape, "uint8");
    this.changed();
  }

  // The labels were written anew elsewhere.
  async reload() {
    const facts = await get(this.path);
    this.drawn = facts.drawn;
    this.labels.forget();
    this.changed();
  }

  colourOf(value) {
    return this.names.find((label) => label.value === value)?.colour ?? "#c8ced6";
  }

  // Label value → word ABGR.
  colourTable() {
    this.table ??= Uint32Array.from({ length: 256 }, (_, value) => {
      if (!value) return 0;
      const [red, green, blue] = [1, 3, 5].map((n) => parseInt(this.colourOf(value).slice(n, n + 2), 16));
      return ((this.opacity * 255) << 24) | (blue << 16) | (green << 8) | red;
    });
    return this.table;
  }

  failed(error) {
    if (this.told === error.message) return;
    this.told = error.message;
    toast(error.message, "bad");
  }
}
