"""The anatomy of the made patients: organs as ellipsoids of tissue, in patient space."""

from __future__ import annotations

from dataclasses import dataclass

Vector = tuple[float, float, float]

ENDLESS = 9.0  # radius of what runs through the whole field of view


@dataclass(frozen=True)
class Part:
    """An ellipsoid of one tissue.

    Attributes:
        offset: (right, anterior, superior) from the organ's centre, in half fields of view.
        radii: likewise.
        intensity: mean signal.
        texture: standard deviation of the texture, as a share of the intensity.
        labelled: whether it bears the organ's label; what only hides a piece of it does not.
    """

    offset: Vector
    radii: Vector
    intensity: float
    texture: float = 0.12
    labelled: bool = True


@dataclass(frozen=True)
class Organ:
    """Parts that move together; a later part, and a later organ, hides an earlier one.

    Attributes:
        centre: (right, anterior, superior) in half fields of view from their middle.
        parts: in the order in which they are painted.
        label: key of PHANTOM_LABELS, or 0.
        mobility: how much patients differ in it; 1 is a soft organ.
    """

    centre: Vector
    parts: tuple[Part, ...]
    label: int = 0
    mobility: float = 1.0


def _kidney(side: int) -> tuple[Part, ...]:
    """Cortex, medulla, and the sinus that notches it towards the midline; side 1 is right."""
    return (
        Part((0, 0, 0), (0.17, 0.20, 0.42), 720, 0.10),
        Part((-0.02 * side, 0, 0), (0.10, 0.12, 0.30), 590, 0.20),
        Part((-0.12 * side, 0.03, 0), (0.10, 0.07, 0.16), 260, 0.30, labelled=False),
    )


BODY = Organ(
    (0, 0, 0),
    (
        Part((0, 0, 0), (0.92, 0.72, ENDLESS), 230, 0.1),  # skin
        Part((0, 0, 0), (0.90, 0.70, ENDLESS), 90, 0.2),  # suppressed fat
        Part((0, 0, 0), (0.82, 0.60, ENDLESS), 250, 0.2),  # muscle
        Part((0, 0.06, 0), (0.76, 0.52, ENDLESS), 140, 0.3),  # fat between the organs
    ),
    mobility=0.4,
)
_STOMACH = Organ((-0.34, 0.24, 0.45), (Part((0, 0, 0), (0.28, 0.20, 0.35), 520, 0.5),))
_LIVER = Organ(
    (0.38, 0.02, 0.35),
    (
        Part((0, 0, 0), (0.38, 0.42, 0.55), 340, 0.2),
        Part((-0.32, 0.22, 0.08), (0.32, 0.19, 0.36), 340, 0.2),  # left lobe
        Part((-0.10, 0.02, 0.10), (0.12, 0.04, 0.30), 560, 0.2),  # portal vein
        Part((-0.08, 0.22, -0.42), (0.09, 0.12, 0.18), 980, 0.05, labelled=False),  # gallbladder
    ),
    label=1,
    mobility=1.3,
)
_SPLEEN = Organ(
    (-0.56, -0.12, 0.40),
    (
        Part((0, 0, 0), (0.19, 0.32, 0.36), 620, 0.12),
        Part((0.16, 0.06, 0), (0.16, 0.24, 0.34), 170, 0.5, labelled=False),  # hollow at the hilum
    ),
    label=4,
)
_SPINE = Organ(
    (0, -0.27, 0),
    (
        Part((0.19, -0.06, -0.4), (0.11, 0.14, 0.9), 240, 0.15),  # psoas
        Part((-0.19, -0.06, -0.4), (0.11, 0.14, 0.9), 240, 0.15),
        Part((0, -0.14, 0), (0.30, 0.14, ENDLESS), 240, 0.2),  # back muscles
        Part((0, 0, 0), (0.14, 0.13, ENDLESS), 330, 0.2),  # vertebrae
        Part((0, -0.17, 0), (0.05, 0.05, ENDLESS), 950, 0.1),  # spinal canal
        Part((-0.07, 0.20, 0), (0.06, 0.06, ENDLESS), 60),  # aorta: flowing blood is dark
        Part((0.09, 0.21, 0), (0.07, 0.05, ENDLESS), 420),  # vena cava
    ),
    mobility=0.3,
)
_RIGHT_KIDNEY = Organ((0.42, -0.27, -0.20), _kidney(1), label=2)
_LEFT_KIDNEY = Organ((-0.42, -0.25, -0.08), _kidney(-1), label=3)
IN_THE_BELLY = (_STOMACH, _LIVER, _SPLEEN, _SPINE, _RIGHT_KIDNEY, _LEFT_KIDNEY)
