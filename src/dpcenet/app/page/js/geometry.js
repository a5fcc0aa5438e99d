// Where a plane lies in the patient, and how it stands on the screen.
// affine: 4 x 4 rows; takes an index (z, y, x, 1) to RAS+ mm.

const LETTERS = [["R", "L"], ["A", "P"], ["S", "I"]];
const PLANES = ["sagittal", "coronal", "axial"];

// The patient's axis that an index axis runs along: [0 right, 1 front, 2 head; 1 or -1].
function along(affine, axis) {
  const column = [0, 1, 2].map((row) => affine[row][axis]);
  const sizes = column.map(Math.abs);
  const nearest = sizes.indexOf(Math.max(...sizes));
  return [nearest, Math.sign(column[nearest])];
}

export function planeName(affine, axis) {
  return PLANES[along(affine, axis)[0]];
}

// How the plane across an axis is shown: which axes are rows and columns, whether they are turned
// round so that head or front is up and the patient's right, or front, is left; letters of the sides.
export function screenOf(affine, axis) {
  const [rowAxis, columnAxis] = [0, 1, 2].filter((each) => each !== axis);
  const [row, rowSign] = along(affine, rowAxis);
  const [column, columnSign] = along(affine, columnAxis);
  const flipRows = rowSign > 0;
  const flipColumns = columnSign > 0;
  const side = (patient, positive) => LETTERS[patient][positive ? 0 : 1];
  const down = side(row, flipRows ? rowSign < 0 : rowSign > 0);
  const up = side(row, flipRows ? rowSign > 0 : rowSign < 0);
  const right = side(column, flipColumns ? columnSign < 0 : columnSign > 0);
  const left = side(column, flipColumns ? columnSign > 0 : columnSign < 0);
  return { rowAxis, columnAxis, flipRows, flipColumns, up, down, left, right };
}

export function toPatient(affine, [z, y, x]) {
  return [0, 1, 2].map((row) => affine[row][0] * z + affine[row][1] * y + affine[row][2] * x + affine[row][3]);
}

// "R 12.3  A 40.1  S 5.0": mm from the origin, with the side's letter.
export function placeText(affine, index) {
  return toPatient(affine, index)
    .map((mm, axis) => `${LETTERS[axis][mm >= 0 ? 0 : 1]} ${Math.abs(mm).toFixed(1)}`)
    .join("  ");
}
