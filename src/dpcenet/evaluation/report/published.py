"""Numbers in print, beside which ours may be shown, with what is arithmetically wrong in them.

Percent Dice. Only figures that can be read in a source named here stand here; no recalled ones.
The DPCENet paper gives no standard deviations, and ran every method itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

ABDOMEN = ("liver", "right kidney", "left kidney", "spleen")
HEART = ("RV", "LV-MYO", "LV-BP")
DPCENET_PAPER = "Zu et al., Modeling and Simulation 14 (2025), doi 10.12677/mos.2025.148564"
OWN_PAPERS = (
    "the method's own paper, as quoted in the table of FoB_SAM's README "
    "(github.com/primebo1/FoB_SAM, CVPR 2026)"
)
ROUNDING = 0.011  # a mean of printed columns may differ from the printed mean by this much


@dataclass(frozen=True)
class Printed:
    """One line of a printed table.

    Attributes:
        labels: of the columns.
        cells: percent Dice.
        mean: as printed.
        source: where it is printed.
    """

    labels: tuple[str, ...]
    cells: tuple[float, ...]
    mean: float
    source: str

    @property
    def computed_mean(self) -> float:
        """The mean of the printed columns."""
        return fmean(self.cells)

    @property
    def faults(self) -> tuple[str, ...]:
        """What arithmetic shows to be wrong, in words."""
        found = []
        if abs(self.computed_mean - self.mean) > ROUNDING:
            found.append(f"the columns' mean is {self.computed_mean:.2f}, printed {self.mean:.2f}")
        for (one, left), (two, right) in pairwise(zip(self.labels, self.cells, strict=True)):
            if left == right:
                found.append(f"{one} and {two} are both {left:.2f}")
        return tuple(found)


def printed(where: str, method: str, own: bool = False) -> Printed | None:
    """A line of a printed table.

    Args:
        where: "chaos-1" and the like: data set and setting.
        method: name of the line.
        own: the method's own paper in place of the DPCENet paper.

    Returns:
        None where nothing is printed, or only known from memory.
    """
    numbers = (_OWN if own else _DPCENET_PAPER).get(where, {}).get(method)
    if numbers is None:
        return None
    labels = HEART if len(numbers) == len(HEART) + 1 else ABDOMEN
    source = OWN_PAPERS if own else DPCENET_PAPER
    return Printed(labels, numbers[:-1], numbers[-1], source)


# Columns as in ABDOMEN or HEART, then the mean as printed.
_DPCENET_PAPER: dict[str, dict[str, tuple[float, ...]]] = {
    "chaos-1": {
        "PANet": (27.73, 30.41, 34.96, 47.37, 35.11),
        "ADNet": (49.74, 84.21, 62.97, 76.79, 68.42),
        "RPT": (73.72, 86.83, 65.58, 60.32, 71.61),
        "SSL-ALPNet": (67.78, 84.88, 79.61, 74.32, 76.65),
        "Q-Net": (76.24, 86.40, 72.13, 72.47, 76.81),
        "CAT-Net": (70.54, 83.00, 75.30, 70.59, 74.86),
        "GMRD": (65.44, 89.95, 75.97, 73.65, 76.25),
        "DPCENet": (73.72, 81.50, 84.19, 71.13, 77.64),
    },
    "sabs-1": {
        "PANet": (55.72, 50.42, 56.52, 60.86, 57.88),
        "ADNet": (41.17, 32.86, 31.27, 77.26, 45.67),
        "RPT": (68.48, 60.52, 84.37, 64.51, 69.47),
        "SSL-ALPNet": (70.11, 72.62, 76.35, 67.29, 71.59),
        "Q-Net": (56.82, 55.63, 69.39, 68.65, 62.63),
        "CAT-Net": (66.98, 47.83, 69.09, 66.24, 62.54),
        "GMRD": (56.48, 62.27, 79.92, 63.06, 65.43),
        "DPCENet": (67.35, 76.05, 78.79, 68.53, 72.68),
    },
    "chaos-2": {
        "PANet": (61.25, 66.94, 63.17, 69.37, 65.68),
        "ADNet": (59.44, 59.64, 56.68, 77.03, 63.19),
        "RPT": (75.15, 60.11, 66.27, 67.45, 67.25),
        "SSL-ALPNet": (55.35, 76.38, 73.24, 68.38, 68.34),
        "Q-Net": (74.71, 74.71, 64.15, 71.52, 71.27),
        "CAT-Net": (60.23, 60.23, 78.57, 77.45, 69.12),
        "GMRD": (73.80, 70.25, 69.37, 74.85, 72.07),
        "DPCENet": (67.82, 74.97, 78.04, 72.39, 73.30),
    },
    "sabs-2": {
        "PANet": (43.73, 34.69, 37.58, 61.71, 44.42),
        "ADNet": (50.97, 48.41, 40.52, 70.63, 52.63),
        "RPT": (60.12, 53.84, 82.28, 54.24, 62.62),
        "SSL-ALPNet": (61.97, 59.05, 64.18, 69.14, 63.59),
        "Q-Net": (37.87, 41.75, 66.21, 64.44, 52.57),
        "CAT-Net": (46.73, 46.87, 65.01, 52.53, 52.79),
        "GMRD": (64.16, 55.35, 72.46, 60.88, 63.21),
        "DPCENet": (69.36, 64.04, 64.94, 64.63, 65.74),
        # Table 4
        "SQCA": (63.56, 59.48, 63.13, 66.61, 63.20),
        "DPCE": (58.21, 53.94, 73.32, 70.37, 63.96),
        "baseline": (54.02, 61.56, 72.02, 64.85, 63.11),
    },
    "cmr-1": {
        "PANet": (57.13, 44.76, 72.77, 58.20),
        "ADNet": (65.37, 82.29, 58.86, 68.84),
        "RPT": (76.63, 80.15, 58.81, 71.86),
        "SSL-ALPNet": (77.59, 63.29, 85.36, 75.41),
        "Q-Net": (67.99, 52.09, 86.21, 68.76),
        "CAT-Net": (69.37, 48.81, 81.33, 66.51),
        "GMRD": (80.82, 73.65, 60.83, 71.77),
        "DPCENet": (76.52, 63.69, 88.75, 76.32),
    },
}
_OWN: dict[str, dict[str, tuple[float, ...]]] = {
    "chaos-1": {
        "SSL-ALPNet": (76.10, 85.18, 81.92, 72.18, 78.84),
        "RPT": (82.86, 89.82, 80.72, 76.37, 82.44),
        "GMRD": (81.42, 90.12, 83.96, 76.09, 82.90),
    },
    "chaos-2": {
        "SSL-ALPNet": (73.05, 78.39, 73.63, 67.02, 73.02),
        "RPT": (76.37, 86.01, 78.33, 75.46, 79.04),
        "GMRD": (80.25, 86.66, 78.65, 73.25, 79.70),
    },
    "sabs-1": {
        "SSL-ALPNet": (78.29, 71.81, 72.36, 70.96, 73.35),
        "RPT": (82.57, 72.58, 77.05, 79.13, 77.83),
        "GMRD": (79.60, 74.46, 81.70, 78.31, 78.52),
    },
    "sabs-2": {
        "SSL-ALPNet": (73.67, 54.82, 63.34, 60.25, 63.02),
        "RPT": (75.24, 67.73, 72.99, 70.80, 71.69),
        "GMRD": (80.39, 76.17, 77.40, 75.30, 77.32),
    },
}
