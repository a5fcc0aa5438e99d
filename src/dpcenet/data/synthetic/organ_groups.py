"""Organs made of several solids: pairs, vessels inside a host, guts, a heart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dpcenet.data.synthetic.solid_draws import Form, SolidList, Vector


def add_pair(organs: SolidList, form: Form, right: Vector, weight: float = 1.0) -> tuple[int, int]:
    """An organ on either side, of the same tissue; both together are a structure too."""
    left = right * np.array([-1, 1, 1]) + organs.rng.normal(0, 7, 3)
    first = organs.add(form, right, weight=weight)
    second = organs.add(form, left, weight=weight, like=first)
    # What varies a lot between bodies varies less between the sides of one.
    mean = np.sqrt(organs.rows[first].radii * organs.rows[second].radii)
    for one in (first, second):
        organs.rows[one].radii = np.sqrt(mean * organs.rows[one].radii)
    if weight > 0:
        organs.join((first, second), 0.25 * weight)
    return first, second


def add_vessels(organs: SolidList, host: int, count: int, size: float) -> list[int]:
    """Tubes inside a host, which count as the host."""
    radii = organs.rows[host].radii
    made: list[int] = []
    for _ in range(count):
        length = organs.rng.uniform(0.4, 0.9) * radii.max()
        width = size * np.exp(organs.rng.normal(0, 0.35))
        form = Form((length, width, width), "xyz"[organs.rng.integers(3)], wave=(1.5, 3),
                    rough=0, kind="vessel")  # fmt: skip
        at = organs.rows[host].centre + organs.rng.normal(0, 0.35, 3) * radii
        like = made[0] if made else -1
        made.append(organs.add(form, at, weight=0, host=host, like=like, turn=0.6))
    return made


def ask_whole(organs: SolidList, host: int, inner: Sequence[int], weight: float = 1.0) -> None:
    """The host and what is inside is what is asked for, instead of the host alone."""
    organs.structures = [s for s in organs.structures if s[0] != (host,)]
    organs.join((host, *inner), weight)


def add_gut(organs: SolidList, form: Form, at: Vector, weight: float) -> None:
    """A gut: a wall and perhaps what fills it, asked for together."""
    rng = organs.rng
    wall = organs.add(form, at, weight=weight, turn=0.5)
    if rng.random() < 0.7:
        kind = str(rng.choice(["content", "fluid", "gas"]))
        filling = organs.within(wall, Form((1, 1, 1), kind=kind), rng.uniform(0.6, 0.9))
        ask_whole(organs, wall, (filling,), weight)


def add_heart(organs: SolidList, at: Vector, size: float) -> None:
    """A thick shell around a cavity, a crescent against it, and two bags behind."""
    rng = organs.rng
    wall = Form((48 * size, 36 * size, 36 * size), "z", taper=-0.25, rough=0.03, kind="muscle")
    side = rng.normal(size=3)
    side /= np.linalg.norm(side)
    right = Form((42 * size, 20 * size, 38 * size), "z", bend=0.7, rough=0.06, kind="vessel")
    rv = organs.add(right, at + side * 40 * size, weight=1, turn=0.8)
    for shift in rng.normal(0, 1, (2, 3)):
        bag = Form((30 * size, 24 * size, 24 * size), "x", rough=0.08, kind="vessel")
        organs.add(bag, at + (shift / np.linalg.norm(shift)) * 55 * size, weight=0.5, like=rv)
    axis = organs.add(wall, at, weight=1.5, turn=1.0)
    inner = [organs.within(axis, wall, rng.uniform(0.5, 0.85), slack=0.04, like=rv)]
    if rng.random() < 0.5:
        organs.rows[axis].kind = "soft"
    for _ in range(rng.integers(3)):  # papillary muscles count as the cavity
        knob = Form((15 * size, 4, 4), kind="muscle")
        place = at + rng.normal(0, 10, 3) * size
        inner.append(organs.add(knob, place, weight=0, host=axis, like=axis, turn=1))
    organs.join(inner, 1.5)
    organs.join((axis, *inner), 0.5)
