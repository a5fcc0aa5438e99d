"""A trunk laid out as a textbook draws it.

Places and sizes are those that an anatomy book gives in words ("the kidneys lie on either side of
the spine"), in round numbers, and vary widely; nothing is measured from a scan or a label map.
"""

from __future__ import annotations

import numpy as np

from dpcenet.data.synthetic.organ_groups import add_gut, add_heart, add_pair, add_vessels, ask_whole
from dpcenet.data.synthetic.solid_draws import Form, SolidList, Vector


def draw_trunk(organs: SolidList, half: Vector) -> None:
    """Adds the organs of chest, belly and pelvis to a body of half width and depth `half`, mm."""
    _thorax(organs, half)
    _abdomen(organs, half)
    _pelvis(organs, half)
    _wall(organs, half)


def _placed(organs: SolidList, half: Vector, at: tuple[float, float, float]) -> Vector:
    """A place in shares of the half width and depth, and in mm along z, moved a little."""
    unit = np.array([half[0], half[1], 1.0])
    moved: Vector = unit * (at + organs.rng.normal(0, 1, 3) * np.array([0.06, 0.06, 12]))
    return moved


def _sides(
    organs: SolidList, half: Vector, form: Form, at: tuple[float, float, float], weight: float = 1.0
) -> tuple[int, int]:
    """An organ on either side; `at` is that of the left."""
    return add_pair(organs, form, _placed(organs, half, (-at[0], at[1], at[2])), weight)


def _thorax(organs: SolidList, half: Vector) -> None:
    rng = organs.rng
    lung = Form((115, 0.42 * half[0], 0.72 * half[1]), rough=0.08, box=0.3, kind="lung")
    for one in _sides(organs, half, lung, (0.5, 0.02, 190), 0.5):
        add_vessels(organs, one, 3, 3.5)
    at = _placed(organs, half, (0.12, -0.2, 150))
    add_heart(organs, at, rng.uniform(0.8, 1.2))
    tube = Form((150, 9, 8), rough=0.03, kind="soft")
    organs.add(tube, _placed(organs, half, (0.03, 0.25, 170)), weight=0.3, turn=0.05)  # esophagus


def _abdomen(organs: SolidList, half: Vector) -> None:
    rng = organs.rng
    for _ in range(14):
        at = (rng.uniform(-0.55, 0.55), rng.uniform(-0.6, 0.05), rng.uniform(-190, 10))
        add_gut(organs, Form((55, 17, 17), "xyz"[rng.integers(3)], wave=(1.3, 2.5)),
                _placed(organs, half, at), 0.12)  # fmt: skip
    for x, y, z, along in ((-0.64, 0, -70, "z"), (0.66, 0.1, -70, "z"), (0, -0.55, -5, "x")):
        add_gut(organs, Form((95, 20, 20), along, wave=(0.5, 5), rough=0.15),
                _placed(organs, half, (x, y, z)), 0.3)  # fmt: skip
    organs.add(Form((45, 12, 12), wave=(0.8, 2)), _placed(organs, half, (-0.2, 0, 5)), weight=0.4)
    pancreas = Form((70, 13, 12), "x", wave=(0.5, 2), rough=0.2)
    organs.add(pancreas, _placed(organs, half, (0.12, 0.0, 28)), turn=0.3)
    stomach = Form((72, 36, 34), "z", bend=0.5, taper=0.3, rough=0.1)
    add_gut(organs, stomach, _placed(organs, half, (0.38, -0.35, 60)), 1.0)
    _sides(organs, half, Form((22, 5, 4), "z", bend=0.6), (0.28, 0.32, 58), 0.5)
    right, left = _sides(organs, half, Form((54, 28, 26), "z", bend=0.4), (0.44, 0.4, 0))
    _kidney_inside(organs, left, _kidney_inside(organs, right, ()))
    spleen = Form((55, 34, 20), "z", bend=0.35, taper=-0.2)
    organs.add(spleen, _placed(organs, half, (0.64, 0.25, 62)), weight=1.3, turn=0.35)
    liver = Form((92, 68, 72), "x", taper=-0.4, bend=0.25, box=0.2, rough=0.12)
    whole = organs.add(liver, _placed(organs, half, (-0.42, -0.08, 55)), weight=1.5)
    inner = add_vessels(organs, whole, int(rng.integers(2, 8)), 4.5)
    for _ in range(int(rng.integers(0, 3))):
        spot = Form((12, 12, 12), kind=str(rng.choice(["fluid", "soft"])))
        place = organs.rows[whole].centre + rng.normal(0, 35, 3)
        inner.append(organs.add(spot, place, weight=0.2, host=whole))
    ask_whole(organs, whole, inner, 1.5)
    bladder = Form((28, 14, 14), "y", taper=0.3, rough=0.03, kind="fluid")
    organs.add(bladder, _placed(organs, half, (-0.32, -0.38, 25)), weight=0.8, turn=0.4)


def _kidney_inside(organs: SolidList, kidney: int, like: tuple[int, ...]) -> tuple[int, ...]:
    """Medulla and sinus (of the tissues of the other kidney's, `like`) count as the kidney."""
    rng = organs.rng
    sinus = Form((1, 1, 1), kind=str(rng.choice(["fat", "fluid"])))
    first, second = like or (-1, -1)
    medulla = organs.within(kidney, Form((1, 1, 1), rough=0.3), rng.uniform(0.5, 0.75), like=first)
    # The second axis of a solid points to the middle of the body: there the hilum is.
    middle = organs.within(kidney, sinus, rng.uniform(0.25, 0.5), shift=(0, 0.5, 0), like=second)
    ask_whole(organs, kidney, [medulla, middle])
    return medulla, middle


def _pelvis(organs: SolidList, half: Vector) -> None:
    _sides(organs, half, Form((90, 16, 48), "z", bend=0.5, kind="bone"), (0.6, 0.2, -215), 0.3)
    _sides(organs, half, Form((25, 25, 25), rough=0.02, kind="bone"), (0.62, 0.0, -265), 0.5)
    _sides(organs, half, Form((85, 50, 34), box=0.2, kind="muscle"), (0.5, 0.68, -240), 0.3)
    add_gut(organs, Form((60, 20, 18), wave=(0.6, 3)), _placed(organs, half, (0, 0.4, -240)), 0.7)
    organs.add(Form((30, 24, 22), "y"), _placed(organs, half, (0, 0.05, -258)))
    bladder = Form((42, 38, 34), "x", rough=0.03, kind="fluid")
    wall = organs.add(bladder, _placed(organs, half, (0, -0.25, -228)), weight=0)
    inside = organs.within(wall, bladder, 0.9, slack=0.01, weight=0.4)
    organs.join((wall, inside), 1.0)


def _wall(organs: SolidList, half: Vector) -> None:
    """Spine, long muscles beside it, and the great vessels before it."""
    _sides(organs, half, Form((300, 34, 24), box=0.3, kind="muscle"), (0.24, 0.7, 0), 0.4)
    _sides(organs, half, Form((130, 24, 22), kind="muscle"), (0.22, 0.42, -90), 0.7)
    spine = organs.add(Form((400, 22, 18), box=0.2, kind="bone"), (0, 0.5 * half[1], 0), turn=0.04)
    back = organs.rows[spine].centre
    organs.add(Form((400, 9, 8), kind="fluid"), back + np.array([0, 26, 0]), weight=0.5, turn=0.02)
    organs.add(Form((400, 22, 6), kind="bone"), back + np.array([0, 40, 0]), weight=0.2, turn=0.02)
    aorta = Form((400, 11, 11), wave=(0.7, 6), rough=0.02, kind="vessel")
    first = organs.add(aorta, _placed(organs, half, (0.1, 0.24, 0)), turn=0.04)
    like = first if organs.rng.random() < 0.5 else -1
    organs.add(aorta, _placed(organs, half, (-0.12, 0.2, 0)), like=like, turn=0.04)
    portal = Form((95, 6, 6), "x", wave=(2, 3), rough=0, kind="vessel")
    at = _placed(organs, half, (-0.02, 0.0, 35))
    organs.add(portal, at, weight=0.4, like=first, turn=0.5)
