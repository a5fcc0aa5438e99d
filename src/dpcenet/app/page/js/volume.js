// Planes of a volume, fetched in slabs and kept while there is room: a scan of any size opens.

import { bytes } from "./api.js";

const SLAB_BYTES = 2 * 2 ** 20;
const KEPT_BYTES = 256 * 2 ** 20;
const TYPES = { int16: Int16Array, float32: Float32Array, uint8: Uint8Array };

export class Planes {
  // path: of the call without axis and plane; shape: [Z, Y, X]; dtype: a key of TYPES.
  constructor(path, shape, dtype) {
    Object.assign(this, { path, shape, Type: TYPES[dtype], slabs: new Map(), held: 0, waiting: new Map(), version: 0 });
  }

  sides(axis) {
    return this.shape.filter((_, number) => number !== axis); // rows, columns
  }

  // The plane if it is here, else null.
  peek(axis, index) {
    const [key, first] = this.#place(axis, index);
    const slab = this.slabs.get(key);
    if (!slab) return null;
    this.slabs.delete(key);
    this.slabs.set(key, slab); // the one used last goes last
    const [rows, columns] = this.sides(axis);
    return slab.subarray((index - first) * rows * columns, (index - first + 1) * rows * columns);
  }

  async load(axis, index) {
    const [key, first, count] = this.#place(axis, index);
    if (!this.slabs.has(key)) {
      if (!this.waiting.has(key)) this.waiting.set(key, this.#fetch(key, axis, first, count));
      await this.waiting.get(key);
    }
    return this.peek(axis, index);
  }

  // Fetch the slabs on both sides, so that scrolling meets no gap.
  around(axis, index) {
    const [, first, count] = this.#place(axis, index);
    for (const next of [first + count, first - 1]) {
      if (next >= 0 && next < this.shape[axis]) this.load(axis, next).catch(() => undefined);
    }
  }

  // Put a plane in place wherever it is held, on all three axes.
  put(axis, index, plane) {
    this.version += 1;
    const held = this.peek(axis, index);
    if (held) held.set(plane);
    const [rowAxis, columnAxis] = [0, 1, 2].filter((each) => each !== axis);
    const columns = this.shape[columnAxis];
    for (const [key, slab] of this.slabs) {
      const [other, first] = key.split(":").map(Number);
      if (other === axis) continue;
      const [otherRows, otherColumns] = this.sides(other);
      const count = slab.length / (otherRows * otherColumns);
      const others = [0, 1, 2].filter((each) => each !== other);
      for (let n = 0; n < count; n++) {
        const line = this.shape[rowAxis === other ? columnAxis : rowAxis];
        for (let k = 0; k < line; k++) {
          const at = [0, 0, 0];
          at[axis] = index;
          at[other] = first + n;
          at[rowAxis === other ? columnAxis : rowAxis] = k;
          const target = n * otherRows * otherColumns + at[others[0]] * otherColumns + at[others[1]];
          slab[target] = plane[at[rowAxis] * columns + at[columnAxis]];
        }
      }
    }
  }

  forget() {
    this.version += 1;
    this.slabs.clear();
    this.waiting.clear();
    this.held = 0;
  }

  #place(axis, index) {
    const [rows, columns] = this.sides(axis);
    const size = Math.max(1, Math.floor(SLAB_BYTES / (rows * columns * this.Type.BYTES_PER_ELEMENT)));
    const first = Math.floor(index / size) * size;
    return [`${axis}:${first}`, first, Math.min(size, this.shape[axis] - first)];
  }

  async #fetch(key, axis, first, count) {
    const generation = this.waiting;
    try {
      const slab = new this.Type(await bytes(`${this.path}/${axis}/${first}?count=${count}`));
      this.slabs.set(key, slab);
      this.held += slab.byteLength;
      for (const [oldest, old] of this.slabs) {
        if (this.held <= KEPT_BYTES || oldest === key) break;
        this.slabs.delete(oldest);
        this.held -= old.byteLength;
      }
    } finally {
      generation.delete(key);
    }
  }
}
