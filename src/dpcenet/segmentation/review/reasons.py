"""What is unusual in a mask, in words for people who do not know the method."""

from __future__ import annotations

from dpcenet.inference.alignment import DOUBTFUL
from dpcenet.segmentation.review.signals import Signals

# Of masks with a Dice of 0.8 and more on CHAOS, at most one in twenty passes any of these limits.
UNDECIDED = 0.8  # confidence
CHANGEFUL = 0.6  # agreement
NOT_BACK = 0.6  # reverse
VOLUMES = (0.5, 2.0)  # ratio to the labelled one
IN_PARTS = 0.8  # share of the largest part
UNEVEN = 0.25  # continuity that is lost
TERRITORY = 0.25  # share of a mask that is another label's
DISPLACED = 1.0  # in sides of a cube of the organ's volume


def reasons_against(signals: Signals) -> tuple[str, ...]:
    """What speaks against a mask; () where nothing does. A mask with a reason is never accepted."""
    return (*_of_the_mask(signals), *_of_its_neighbours(signals), *_of_the_alignment(signals))


def _of_the_mask(signals: Signals) -> tuple[str, ...]:
    ratio, shape = signals.volume_ratio, signals.shape
    checks = (
        (
            signals.confidence < UNDECIDED,
            f"many voxels are undecided (confidence {signals.confidence:.2f})",
        ),
        (
            signals.agreement < CHANGEFUL,
            f"the answer changes with the labelled slices used (agreement {signals.agreement:.2f})",
        ),
        (
            signals.reverse < NOT_BACK,
            "segmented back from this mask, the labelled scan comes out wrong "
            f"(Dice {signals.reverse:.2f})",
        ),
        (not VOLUMES[0] < ratio < VOLUMES[1], f"{ratio:.1f} times the labelled volume"),
        (shape.largest < IN_PARTS, f"in {shape.components} parts"),
        (signals.continuity_loss > UNEVEN, "neighbouring slices differ much"),
    )
    return tuple(words for unusual, words in checks if unusual)


def _of_its_neighbours(signals: Signals) -> tuple[str, ...]:
    reasons = []
    if (share := max(signals.taken, signals.claimed)) > TERRITORY:
        reasons.append(f"{share:.0%} of it seems to belong to another label")
    away = signals.displacement_mm
    if away is not None and away > DISPLACED * signals.size_mm:
        reasons.append(f"lies {away:.0f} mm from where the other labels put it")
    return tuple(reasons)


def _of_the_alignment(signals: Signals) -> tuple[str, ...]:
    if signals.alignment is None or signals.alignment >= DOUBTFUL:
        return ()
    return (
        f"this part of the body was hardly found in the scan (alignment {signals.alignment:.2f})",
    )
