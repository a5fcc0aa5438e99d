"""Anatomies: what the patients of a cohort have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpcenet.data.synthetic.any_organs import draw_anything
from dpcenet.data.synthetic.solid_draws import SolidList
from dpcenet.data.synthetic.textbook_trunk import draw_trunk
from dpcenet.data.synthetic.volume_shapes import BONE, FIRST_SOLID, Solids, Trunk

GROUND = ("air", "skin", "fat", "muscle", "bone", "fat", "soft", "fat", "soft")
"""Kinds of the parts before the first solid."""


@dataclass(frozen=True)
class Anatomy:
    """What the patients of a cohort have in common; P parts, K = P − FIRST_SOLID solids.

    Attributes:
        solids: the organs.
        trunk: the body around them.
        kinds: P words, what each part is made of.
        tissue: (P,) int64, which parts are of the same tissue.
        group: (K,) int64, solids of the same number vary together.
        structures: (S, P) bool, the parts of what may be asked for.
        weights: (S,), how often each is asked for.
        focus: (F, 3) mm, places that a scan may be centred on.
    """

    solids: Solids
    trunk: Trunk
    kinds: tuple[str, ...]
    tissue: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    structures: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float32]
    focus: npt.NDArray[np.float32]


def draw_anatomy(rng: np.random.Generator, textbook: float, ground: float) -> Anatomy:
    """Draws an anatomy.

    Args:
        rng: source of everything.
        textbook: chance of a trunk laid out as usual.
        ground: weight of bone, muscle and fat as structures.
    """
    half = rng.uniform(120, 195) * np.array([1, rng.uniform(0.55, 0.85)])
    organs = SolidList(rng, float(np.sqrt(half.prod() / 15500)))
    if rng.random() < textbook:
        draw_trunk(organs, half)
    else:
        draw_anything(organs, half)
    solids = organs.solids()
    table, weights = organs.structure_table()
    low = np.zeros((BONE - 1, table.shape[1]), np.bool_)
    low[range(BONE - 1), range(2, BONE + 1)] = True
    layers = np.array([2, np.exp(rng.uniform(1, 3.4)), np.exp(rng.uniform(1.6, 3.0))])
    ribs = np.array([rng.uniform(22, 40), rng.uniform(-0.5, 0.5), rng.uniform(0.2, 0.5)])
    big = solids.radii.max(1) < 150
    return Anatomy(
        solids=solids,
        trunk=Trunk(
            half.astype(np.float32),
            layers.astype(np.float32),
            ribs.astype(np.float32) * (rng.random() < 0.7),
            float(rng.uniform(0.0, 1.2) * (rng.random() < 0.7)),
        ),
        kinds=(*GROUND, *(row.kind for row in organs.rows)),
        tissue=np.array([*range(FIRST_SOLID), *(FIRST_SOLID + row.tissue for row in organs.rows)]),
        group=np.array([row.group for row in organs.rows]),
        structures=np.concatenate([table, low]),
        weights=np.concatenate([weights, np.full(len(low), ground, np.float32)]),
        focus=solids.centre[big & (solids.host < 0)],
    )
