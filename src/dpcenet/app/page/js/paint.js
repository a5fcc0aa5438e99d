// What tools do to one plane of labels: pure functions on a Uint8Array of rows x columns.
// Places are in voxels, (row, column); a voxel's centre has whole numbers. Sizes are in mm.

// Voxels whose centres lie within a radius of the line from one place to another.
export function stroke(plane, [rows, columns], [stepRow, stepColumn], from, to, radius, value) {
  const reachRow = radius / stepRow;
  const reachColumn = radius / stepColumn;
  const top = Math.max(0, Math.floor(Math.min(from[0], to[0]) - reachRow));
  const bottom = Math.min(rows - 1, Math.ceil(Math.max(from[0], to[0]) + reachRow));
  const left = Math.max(0, Math.floor(Math.min(from[1], to[1]) - reachColumn));
  const right = Math.min(columns - 1, Math.ceil(Math.max(from[1], to[1]) + reachColumn));
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const place = [row * stepRow, column * stepColumn];
      if (distance(place, scaled(from, stepRow, stepColumn), scaled(to, stepRow, stepColumn)) <= radius) {
        plane[row * columns + column] = value;
      }
    }
  }
  const [row, column] = to.map(Math.round); // a brush smaller than a voxel marks the voxel it is in
  if (row >= 0 && row < rows && column >= 0 && column < columns) plane[row * columns + column] = value;
}

function scaled([row, column], stepRow, stepColumn) {
  return [row * stepRow, column * stepColumn];
}

// Distance of a place from the line between two others.
export function distance([y, x], [y0, x0], [y1, x1]) {
  const length = (y1 - y0) ** 2 + (x1 - x0) ** 2;
  const along = length ? ((y - y0) * (y1 - y0) + (x - x0) * (x1 - x0)) / length : 0;
  const nearest = Math.max(0, Math.min(1, along));
  return Math.hypot(y - y0 - nearest * (y1 - y0), x - x0 - nearest * (x1 - x0));
}

// Voxels whose centres lie inside a polygon (even-odd rule).
export function polygon(plane, [rows, columns], corners, value) {
  for (let row = 0; row < rows; row++) {
    const crossings = [];
    for (let n = 0; n < corners.length; n++) {
      const [y0, x0] = corners[n];
      const [y1, x1] = corners[(n + 1) % corners.length];
      if (y0 <= row !== y1 <= row) crossings.push(x0 + ((row - y0) / (y1 - y0)) * (x1 - x0));
    }
    crossings.sort((a, b) => a - b);
    for (let n = 0; n + 1 < crossings.length; n += 2) {
      const first = Math.max(0, Math.ceil(crossings[n]));
      const last = Math.min(columns - 1, Math.floor(crossings[n + 1]));
      for (let column = first; column <= last; column++) plane[row * columns + column] = value;
    }
  }
}

// The voxels connected to a place that have its label. Returns "filled"; "same" where they have the
// label already; "open" where background reaches the border, so that an outline has a gap.
export function flood(plane, [rows, columns], [row, column], value) {
  const old = plane[row * columns + column];
  if (old === value) return "same";
  const filled = new Uint8Array(plane.length);
  const waiting = [row * columns + column];
  filled[waiting[0]] = 1;
  while (waiting.length) {
    const at = waiting.pop();
    const [y, x] = [Math.floor(at / columns), at % columns];
    if (old === 0 && (x === 0 || y === 0 || x === columns - 1 || y === rows - 1)) return "open";
    for (const [inside, next] of [
      [x > 0, at - 1],
      [x < columns - 1, at + 1],
      [y > 0, at - columns],
      [y < rows - 1, at + columns],
    ]) {
      if (inside && !filled[next] && plane[next] === old) {
        filled[next] = 1;
        waiting.push(next);
      }
    }
  }
  for (let at = 0; at < filled.length; at++) if (filled[at]) plane[at] = value;
  return "filled";
}

// Edges between voxels of different labels, as [row, column, row, column, label] of their ends.
export function edges(plane, [rows, columns]) {
  const found = [];
  const at = (row, column) => row < 0 || column < 0 || row >= rows || column >= columns ? 0 : plane[row * columns + column];
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column <= columns; column++) {
      const here = at(row, column);
      const above = at(row - 1, column);
      const before = at(row, column - 1);
      if (here !== above) found.push([row - 0.5, column - 0.5, row - 0.5, column + 0.5, here || above]);
      if (here !== before) found.push([row - 0.5, column - 0.5, row + 0.5, column - 0.5, here || before]);
    }
  }
  return found;
}
