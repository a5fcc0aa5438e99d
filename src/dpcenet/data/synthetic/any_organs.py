"""A body of any organs anywhere: every form and size, many of them touching, some in pairs."""

from __future__ import annotations

import numpy as np

from dpcenet.data.synthetic.organ_groups import add_heart, add_pair, add_vessels, ask_whole
from dpcenet.data.synthetic.solid_draws import Form, SolidList, Vector

KINDS = ("soft", "soft", "soft", "fluid", "vessel", "muscle", "content", "gas", "fat")


def draw_anything(organs: SolidList, half: Vector) -> None:
    """Organs of every kind and size anywhere, many of them touching, some in pairs."""
    rng = organs.rng
    for _ in range(int(rng.integers(12, 30))):
        form = _any_form(rng)
        place = np.array([*(rng.normal(0, 0.42, 2) * half), rng.normal(0, 60)])
        if organs.rows and rng.random() < 0.45:  # against another one
            other = organs.rows[int(rng.integers(len(organs.rows)))]
            away = rng.normal(size=3)
            reach = np.mean(form.radii) + 0.7 * np.mean(other.radii)
            place = other.centre + away / np.linalg.norm(away) * reach
        chance = rng.random()
        if chance < 0.25:
            place[0] = -abs(place[0]) - 0.1 * half[0]
            hosts: tuple[int, ...] = add_pair(organs, form, place)
        elif chance < 0.37:
            add_heart(organs, place, rng.uniform(0.5, 1.6))
            hosts = ()
        else:
            like = int(rng.integers(len(organs.rows))) if organs.rows and rng.random() < 0.3 else -1
            hosts = (organs.add(form, place, like=like, turn=0.6),)
        for host in hosts:
            _any_inside(organs, host, form)
    for _ in range(6):  # vessels run over all
        width = np.exp(rng.uniform(1, 2.3))
        form = Form((rng.uniform(60, 300), width, width), "xzz"[rng.integers(3)], wave=(1.5, 4),
                    rough=0, kind="vessel")  # fmt: skip
        organs.add(form, np.array([*(rng.normal(0, 0.4, 2) * half), rng.normal(0, 40)]), weight=0.5)


def _any_form(rng: np.random.Generator) -> Form:
    size = np.exp(rng.uniform(np.log(9), np.log(85)))
    radii = size * np.exp(rng.normal(0, 0.3, 3))
    long = np.array([rng.uniform(1, 3.5) if rng.random() < 0.5 else 1.0, 1, 1])
    wavy = (rng.uniform(0.5, 1.5), rng.uniform(1.5, 5)) if rng.random() < 0.25 else (0.0, 0.0)
    first, second, third = (radii * long / long[0] ** 0.33).tolist()
    return Form(
        (first, second, third),
        "xyz"[rng.integers(3)],
        bend=rng.normal(0, 0.4),
        taper=rng.normal(0, 0.3),
        wave=wavy,
        box=max(0.0, rng.normal(0, 0.3)),
        rough=rng.uniform(0, 0.2),
        kind=KINDS[rng.integers(len(KINDS))],
    )


def _any_inside(organs: SolidList, host: int, form: Form) -> None:
    """Nothing, a cavity or core, a lobe of the same tissue, or vessels."""
    rng = organs.rng
    chance = rng.random()
    if chance < 0.25:
        core = organs.within(host, _any_form(rng), rng.uniform(0.4, 0.88), weight=0.8)
        organs.join((host, core), 0.5)
    elif chance < 0.4:  # a lobe: no contrast between it and the rest
        away = rng.normal(size=3)
        away *= rng.uniform(0.5, 1.0) / np.linalg.norm(away)
        lobe = organs.within(host, form, 1.0, shift=away, slack=0, weight=1, like=host)
        organs.join((host, lobe), 0.5)
    elif chance < 0.6 and max(form.radii) > 25:
        ask_whole(organs, host, add_vessels(organs, host, int(rng.integers(1, 5)), 3.5))
