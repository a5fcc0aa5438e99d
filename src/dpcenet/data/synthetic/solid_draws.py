"""A list of solids in the making: what organs are made of, and which parts make a structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import numpy.typing as npt

from dpcenet.data.synthetic.volume_shapes import FIRST_SOLID, Solids

Vector = npt.NDArray[np.float64]
AXES = {"x": (0, 1, 2), "y": (1, 0, 2), "z": (2, 0, 1)}
"""The anatomy's axes that a solid's own three follow, by the direction of the first."""


@dataclass(frozen=True)
class Form:
    """What a solid is like before it is varied; see `volume_shapes.Solids`.

    Attributes:
        radii: mm, semi-axes; the first along `along`.
        along: "x", "y" or "z".
        bend, taper, wave, box, rough: as of `Solids`; the ends bend to the middle of the body.
        kind: what it is made of, a key of `acquisition.HOUNSFIELD`.
    """

    radii: tuple[float, float, float]
    along: str = "z"
    bend: float = 0.0
    taper: float = 0.0
    wave: tuple[float, float] = (0.0, 0.0)
    box: float = 0.0
    rough: float = 0.08
    kind: str = "soft"


@dataclass
class Solid:
    """One solid; see `volume_shapes.Solids`.

    Attributes:
        kind: what it is made of.
        tissue: number of the solid whose brightness it shares, which may be its own.
        group: number of the solid that it varies with, which may be its own.
    """

    centre: Vector
    turn: Vector
    radii: Vector
    bend: float
    taper: float
    wave: Vector
    box: float
    rough: float
    noise: int
    host: int
    kind: str
    tissue: int
    group: int


@dataclass
class SolidList:
    """Solids that are added one by one, and varied on the way.

    Attributes:
        rng: source of the variation.
        scale: factor of all radii: how large the body is.
        rows: the solids.
        structures: the solids of each structure, and how often it is asked for.
    """

    rng: np.random.Generator
    scale: float = 1.0
    rows: list[Solid] = field(default_factory=list)
    structures: list[tuple[tuple[int, ...], float]] = field(default_factory=list)

    def add(
        self,
        form: Form,
        at: npt.ArrayLike,
        *,
        weight: float = 1.0,
        host: int = -1,
        like: int = -1,
        turn: float = 0.2,
    ) -> int:
        """Adds a solid that varies `form`.

        Args:
            form: its form.
            at: its centre (x, y, z) in mm.
            weight: of the solid alone as a structure to be asked for; 0 is never.
            host: the solid inside which it lies.
            like: a solid whose tissue it shares, -1 for a tissue of its own.
            turn: standard deviation of its turns, in radians.

        Returns:
            its number.
        """
        rng, number, centre = self.rng, len(self.rows), np.asarray(at, float)
        axes = np.eye(3)[list(AXES[form.along])]
        if AXES[form.along][1] == 0 and centre[0] > 0:
            axes[1] *= -1  # its ends bend to the middle
        size = self.scale * np.exp(rng.normal(0, 0.16) + rng.normal(0, 0.14, 3))
        solid = Solid(
            centre=centre,
            turn=axes @ rotation(rng.normal(0, turn, 3)),
            radii=np.array(form.radii) * size,
            bend=form.bend + rng.normal(0, 0.15),
            taper=float(np.clip(form.taper + rng.normal(0, 0.12), -0.8, 0.8)),
            wave=np.array(form.wave) * rng.uniform(0.7, 1.4, 2),
            box=float(np.clip(form.box + rng.uniform(-0.2, 0.2), 0, 0.9)),
            rough=form.rough * rng.uniform(0.4, 2.0),
            noise=int(rng.integers(4)),
            host=host,
            kind=self.rows[like].kind if like >= 0 else form.kind,
            tissue=self.rows[like].tissue if like >= 0 else number,
            group=number if host < 0 else self.rows[host].group,
        )
        self.rows.append(solid)
        if weight > 0:
            self.structures.append(((number,), weight))
        return number

    def within(
        self,
        host: int,
        form: Form,
        share: float,
        *,
        shift: npt.ArrayLike = (0, 0, 0),
        slack: float = 0.1,
        weight: float = 0.0,
        like: int = -1,
    ) -> int:
        """Adds a copy of a host that is seen inside it only: a cavity, a core, a lobe.

        Args:
            host: the host, whose bends and turns it takes over.
            form: its kind and roughness.
            share: its size relative to the host's.
            shift: how far from the host's centre it lies, in semi-axes of the host.
            slack: standard deviation of that.
            weight, like: see `add`.
        """
        number = self.add(form, np.zeros(3), weight=weight, host=host, like=like)
        outer = self.rows[host]
        shift = np.asarray(shift) + self.rng.normal(0, slack, 3)
        self.rows[number] = replace(
            self.rows[number],
            centre=outer.centre + shift * outer.radii,
            radii=outer.radii * share,
            **{key: getattr(outer, key) for key in ("turn", "bend", "taper", "wave", "box")},
        )
        return number

    def join(self, parts: Sequence[int], weight: float) -> None:
        """Makes a structure of several solids."""
        self.structures.append((tuple(parts), weight))

    def solids(self) -> Solids:
        """All of them."""
        return as_solids({f.name: [getattr(r, f.name) for r in self.rows] for f in fields(Solids)})

    def structure_table(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Which parts belong to each structure (S, parts), and how often it is asked for (S,)."""
        table = np.zeros((len(self.structures), FIRST_SOLID + len(self.rows)), np.bool_)
        for index, (parts, _) in enumerate(self.structures):
            table[index, [FIRST_SOLID + part for part in parts]] = True
        return table, np.array([weight for _, weight in self.structures], np.float32)


def as_solids(columns: Mapping[str, Sequence[npt.ArrayLike]]) -> Solids:
    """Solids of the values of each attribute."""
    whole: dict[str, npt.NDArray[np.int64]] = {
        name: np.array(columns[name], np.int64) for name in ("noise", "host")
    }
    others = {k: np.array(v, np.float32) for k, v in columns.items() if k not in whole}
    return Solids(**others, **whole)  # type: ignore[arg-type]


def rotation(angles: npt.ArrayLike) -> Vector:
    """(3, 3), turns about x, then y, then z by angles in radians."""
    turn: Vector = np.eye(3)
    for axis, angle in enumerate(np.asarray(angles)):
        one = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    return turn
