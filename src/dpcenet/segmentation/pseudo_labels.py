"""Answers for a few scans of a folder, which serve the others in place of labels.

OUT/learnt_scans.safetensors    the prepared scans and their answers, the best first
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean

import torch

from dpcenet.errors import RunError
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan, Labels
from dpcenet.nn.tensor_files import load_tensors, save_tensors
from dpcenet.segmentation.better_answers import MOST, seen_by
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.signals import label_map_of

FROM = 4  # scans of which the best are taken
KEPT = MOST + 1  # so that each of them, too, is served by `MOST` others


def pseudo_labelled(
    network: Predictor, found: Iterable[tuple[str, SegmentationResult]]
) -> tuple[LabelledScan, ...]:
    """Labelled scans of the best of the first few results.

    Args:
        network: that learnt; it encodes them.
        found: names of scans, and results with choices.

    Returns:
        those with the highest mean predicted Dice, the best first.
    """
    scored = []
    for name, result in islice(found, FROM):  # of each result only what is kept stays in memory
        scan = _labelled_scan(name, seen_by(network, result.query), label_map_of(result))
        scored.append((_predicted(result), scan))
    best = sorted(scored, key=lambda each: -each[0])[:KEPT]
    return tuple(scan for _, scan in best)


def save(path: Path, scans: Sequence[LabelledScan]) -> None:
    """Write the scans and their answers, without features."""
    arrays = {}
    for n, scan in enumerate(scans):
        arrays[f"{n}.image"] = scan.slices.images[:, 0].float()
        arrays[f"{n}.label"] = torch.from_numpy(scan.label)
    about = [{"name": scan.name, "spacing": scan.slices.spacing} for scan in scans]
    save_tensors(path, arrays, {"scans": json.dumps(about)})


def load(path: Path, predictor: Predictor) -> tuple[LabelledScan, ...]:
    """What `save` wrote, encoded by a network.

    Raises:
        RunError: the file is missing or damaged.
    """
    arrays, metadata = load_tensors(path)
    try:
        return tuple(
            _labelled_scan(
                str(about["name"]),
                predictor.encode(arrays[f"{n}.image"].numpy(), tuple(about["spacing"])),
                arrays[f"{n}.label"].numpy(),
            )
            for n, about in enumerate(json.loads(metadata["scans"]))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is damaged ({error!r}); segment with --overwrite") from error


def _predicted(result: SegmentationResult) -> float:
    """Mean predicted Dice of the answers."""
    return fmean(max(each.before, each.after) for each in result.choices.values())


def _labelled_scan(name: str, slices: EncodedScan, label: Labels) -> LabelledScan:
    return LabelledScan.of(name, slices.images[:, 0].float().cpu().numpy(), slices, label)
