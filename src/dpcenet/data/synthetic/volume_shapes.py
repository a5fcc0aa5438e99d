"""Organ-like solids in 3-D, and the program that paints them into a volume of parts.

Every solid is a warped ellipsoid: it may be bent (kidney, crescent), tapered (liver wedge), wavy
along its long axis (bowel, vessels), boxy, and rough. Coordinates are millimetres in the frame of
the anatomy: x to the patient's left, y to the back, z to the head, 0 in the middle of the trunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dpcenet.system.compiled import compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Parts = npt.NDArray[np.uint8]
EXTENT = 320.0  # mm: half side of the cube that the fields of noise span
AIR, SKIN, FAT, MUSCLE, BONE = range(5)
FILLERS = 4  # tissues between the organs
FIRST_SOLID = BONE + 1 + FILLERS


@dataclass(frozen=True)
class Solids:
    """K warped ellipsoids, in the order of painting: the later is seen.

    Attributes:
        centre: (K, 3) mm.
        turn: (K, 3, 3), rotation from the anatomy to the solid's own axes.
        radii: (K, 3) mm, semi-axes; the first is the long one of bends, tapers and waves.
        bend: (K,), curvature in the plane of the first two axes.
        taper: (K,), change of the other axes' length along the first, −1 to 1.
        wave: (K, 2), amplitude (of a second semi-axis) and frequency (per semi-axis) of waves.
        box: (K,), 0 an ellipsoid, 1 nearly a box.
        rough: (K,), amplitude of the irregularity of the surface.
        noise: (K,) int64, which field of noise makes it irregular.
        host: (K,) int64, the solid outside of which it is not painted; −1 is none.
    """

    centre: Floats
    turn: Floats
    radii: Floats
    bend: Floats
    taper: Floats
    wave: Floats
    box: Floats
    rough: Floats
    noise: Ints
    host: Ints

    def __len__(self) -> int:
        return len(self.bend)

    def kept(self, there: npt.NDArray[np.bool_]) -> Solids:
        """The same list, in which those not `there` (K,) are too small to be seen."""
        return replace(self, radii=np.where(there[:, None], self.radii, np.float32(1e-3)))

    def reach(self) -> Floats:
        """(K, 3) mm, half sides of boxes around each, in the anatomy's axes."""
        rough = 3 * self.rough
        wide = 1 + np.abs(self.taper) + rough + self.wave[:, 0]
        sides = np.stack([1 + rough, wide + 0.6 * np.abs(self.bend), wide], 1) * self.radii
        reach: Floats = np.einsum("kji,kj->ki", np.abs(self.turn), sides).astype(np.float32)
        return reach


@dataclass(frozen=True)
class Trunk:
    """The body around the organs.

    Attributes:
        half: (2,) mm, half width and half depth; nothing is air where they are infinite.
        layers: (3,) mm, thickness of skin, fat and muscle.
        ribs: (3,), pitch in mm along z, slant, and the share that is bone; 0 is no ribs.
        mixed: how often the tissue between organs changes; 0 is one tissue.
    """

    half: Floats
    layers: Floats
    ribs: Floats
    mixed: float


@compiled
def _cell(place: float, last: int) -> tuple[int, float]:
    """The sample before a place in mm, and the share of the way to the next."""
    position = (place + EXTENT) * (last / (2 * EXTENT))
    position = min(max(position, 0.0), last - 1e-3)
    return int(position), position - int(position)


@compiled
def _sampled(fields: Floats, n: int, x: float, y: float, z: float) -> float:
    """Trilinear value of field n of (F, G, G, G) over the cube, at a place in mm."""
    last = fields.shape[1] - 1
    a, u = _cell(z, last)
    b, v = _cell(y, last)
    c, w = _cell(x, last)
    # Written out, without loops and views: this is where the time goes.
    one = fields[n, a, b, c] * (1 - w) + fields[n, a, b, c + 1] * w
    two = fields[n, a, b + 1, c] * (1 - w) + fields[n, a, b + 1, c + 1] * w
    three = fields[n, a + 1, b, c] * (1 - w) + fields[n, a + 1, b, c + 1] * w
    four = fields[n, a + 1, b + 1, c] * (1 - w) + fields[n, a + 1, b + 1, c + 1] * w
    return float((1 - u) * ((1 - v) * one + v * two) + u * ((1 - v) * three + v * four))


@compiled
def _ground(
    x: float, y: float, z: float, half: Floats, layers: Floats, ribs: Floats, mixed: float,
    noise: Floats,
) -> int:  # fmt: skip
    """The tissue of a place without organs."""
    u, v = (x / half[0]) ** 2, (y / half[1]) ** 2
    radius = np.sqrt(0.6 * (u + v) + 0.4 * np.sqrt(u * u + v * v))  # between ellipse and box
    # Depth below the surface, measured along the shorter half axis.
    depth = (1 - radius) * half[1] + 4 * _sampled(noise, 0, x, y, z)
    if depth < 0:
        return AIR
    if depth < layers[0]:
        return SKIN
    fat = layers[1] * (1 + 0.25 * _sampled(noise, 1, x, y, z))
    if depth < layers[0] + fat:
        return FAT
    inner = depth - layers[0] - fat
    if inner < layers[2]:
        if ribs[2] > 0 and inner > 0.35 * layers[2]:
            phase = (z + ribs[1] * abs(x) - ribs[1] * y) / ribs[0]
            if phase - np.floor(phase) < ribs[2]:
                return BONE
        return MUSCLE
    if mixed <= 0:
        return BONE + 1
    first, second = _sampled(noise, 2, x, y, z), _sampled(noise, 3, x, y, z)
    return BONE + 1 + int(first > 1.2 - mixed) + 2 * int(second > 1.5 - mixed)


@compiled
def _covers(row: Floats, x: float, y: float, z: float, noise: Floats) -> bool:
    """Whether a solid, a row of `_table`, holds a place. Tests that most places fail come first."""
    x, y, z = x - row[0], y - row[1], z - row[2]
    a = row[3] * x + row[4] * y + row[5] * z
    most = 1 + 3 * row[17]
    if abs(a) > most:
        return False
    narrow = max(1 + row[13] * a, 0.2)
    c = row[9] * x + row[10] * y + row[11] * z
    if abs(c) > most * narrow + row[14]:
        return False
    b = row[6] * x + row[7] * y + row[8] * z
    if row[14] > 0:
        b -= row[14] * np.sin(row[15] * a)
        c -= row[14] * np.cos(0.7 * row[15] * a + 1)
    b = (b - row[12] * (a * a - 0.5)) / narrow
    c /= narrow
    a, b, c = a * a, b * b, c * c
    square = (1 - row[16]) * (a + b + c) + row[16] * np.sqrt(a * a + b * b + c * c)
    if square > most * most:
        return False
    f = np.sqrt(square)
    if f < 2 - most:
        return True
    x, y, z = x + row[0], y + row[1], z + row[2]
    return bool(f < 1 + row[17] * _sampled(noise, int(row[18]), x, y, z))


@compiled
def _near_row(near: Ints, start: Floats, end: Floats, margin: float, table: Floats) -> int:
    """Fills `near` with the solids whose boxes a row of voxels may touch; how many they are."""
    count = 0
    for s in range(len(table)):
        touches = True
        for axis in range(3):
            reach = margin + table[s, 20 + axis]
            low, high = min(start[axis], end[axis]), max(start[axis], end[axis])
            if table[s, axis] + reach < low or table[s, axis] - reach > high:
                touches = False
        if touches:
            near[count] = s
            count += 1
    return count


@compiled
def _paint(
    out: Parts, grid: Floats, warp: Floats, margin: float, noise: Floats, half: Floats,
    layers: Floats, ribs: Floats, mixed: float, table: Floats,
) -> None:  # fmt: skip
    """See `paint`. `margin`: the largest displacement, mm.

    The topmost solid without a host is looked for, then the topmost of those inside it.
    """
    planes, rows, columns = out.shape
    near = np.empty(len(table), np.int64)
    for k in range(planes):
        for j in range(rows):
            start = grid[:, 3] + grid[:, 1] * np.float32(j) + grid[:, 2] * np.float32(k)
            end = start + grid[:, 0] * np.float32(columns - 1)
            count = _near_row(near, start, end, margin, table)
            for i in range(columns):
                u = start[0] + grid[0, 0] * i
                v = start[1] + grid[1, 0] * i
                w = start[2] + grid[2, 0] * i
                x = u + _sampled(warp, 0, u, v, w)
                y = v + _sampled(warp, 1, u, v, w)
                z = w + _sampled(warp, 2, u, v, w)
                part = _ground(x, y, z, half, layers, ribs, mixed, noise)
                out[k, j, i] = part
                wanted, n = -1, (count if part != AIR else 0) - 1
                while n >= 0:
                    s = near[n]
                    if (
                        table[s, 19] == wanted
                        and abs(x - table[s, 0]) < table[s, 20]
                        and abs(y - table[s, 1]) < table[s, 21]
                        and abs(z - table[s, 2]) < table[s, 22]
                        and _covers(table[s], x, y, z, noise)
                    ):
                        out[k, j, i] = FIRST_SOLID + s
                        if wanted >= 0:
                            break
                        wanted, n = s, count
                    n -= 1


def _table(solids: Solids) -> Floats:
    """(K, 23): the solids as one array, which compiled functions pass on faster than many."""
    columns = [
        solids.centre,  # 0
        (solids.turn / solids.radii[:, :, None]).reshape(-1, 9),  # 3
        solids.bend[:, None],  # 12
        solids.taper[:, None],
        solids.wave,  # 14
        solids.box[:, None],  # 16
        solids.rough[:, None],
        solids.noise[:, None],  # 18
        solids.host[:, None],
        solids.reach(),  # 20
    ]
    return np.concatenate(columns, 1).astype(np.float32)


def paint(
    solids: Solids,
    trunk: Trunk,
    noise: Floats,
    warp: Floats,
    grid: Floats,
    shape: tuple[int, int, int],
) -> Parts:
    """What lies at every voxel of a scan.

    Args:
        solids: K organs; a host has no host itself.
        trunk: the body around them.
        noise: (4, G, G, G), smooth, standard deviation near 1, over ±EXTENT mm.
        warp: (3, G, G, G) mm, displacement from the patient's places to the anatomy's.
        grid: (3, 4), from voxel (column, row, slice) to the patient's place in mm.
        shape: slices, rows and columns.

    Returns:
        `shape` uint8: AIR, SKIN … BONE, the fillers, FIRST_SOLID + number of the solid.
    """
    out = np.empty(shape, np.uint8)
    margin = float(np.abs(warp).max())
    body = (trunk.half, trunk.layers, trunk.ribs, trunk.mixed)
    _paint(out, np.ascontiguousarray(grid), warp, margin, noise, *body, _table(solids))
    return out
