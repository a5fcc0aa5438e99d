"""Where the time and the memory of `segment` go, by stages of the whole command.

    python benchmarks/stages.py --made
    python benchmarks/stages.py --support SCAN --mask LABELS QUERY ... [--labels 60] [--json FILE]

Torch computes with one thread, and a stage's seconds are processor time of its own thread without
the stages inside it: so all stages, with "other", add up to the total, however busy the machine is.
What the check does is counted apart. The memory is the most that the process held while a stage ran
(Linux). `--labels` cuts the labels into so many blocks. `--made` takes small made patients.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

STAGES = {
    "read": "volumes.adapters:open_scan volumes.adapters:open_labelled "
    "segmentation.queries:Query.read",
    "resample": "volumes.preprocess:preprocess volumes.preprocess:preprocess_labels",
    "encode": "inference.encoded:encode_slices",
    "match": "inference.alignment:align_volumes inference.feature_volume:feature_volume "
    "inference.slice_matching:match_slices",
    "choose starts": "inference.start_choice:chosen_lines",
    "pose": "inference.pose:find_pose",
    "first look": "inference.looks:first_answers",
    "second look": "inference.looks:refine_in_windows",
    "fill gaps": "inference.completion:fill_gaps",
    "check": "segmentation.review.reviewed_case:review_case",
    "restore": "volumes.record:Record.restore_labels",
    "write": "segmentation.outputs:write_outputs segmentation.outputs:statistics_of "
    "segmentation.review.review_page:write_review volumes.mask_record:write_record "
    "segmentation.statistics_table:write_statistics",
    "hash": "nn.weights:hash_of_state nn.weights:sha256_of segmentation.queries:Query.digest",
    "estimate": "segmentation.estimate:estimate",
    "load network": "methods.incontext.weights:build",
}
"""Stage → the functions of `dpcenet` that do it."""
APART = ("check", "choose starts")
"""Stages whose parts are told by both names."""


STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def most_held() -> int:
    """kB that the process held at most since the last call; 0 where the system does not tell."""
    if not RESET.exists():
        return 0
    lines = STATUS.read_text().splitlines()
    found = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    RESET.write_text("5")  # the highest begins anew
    return found


class Clock(threading.local):
    """Processor time of each stage of a thread, without the stages inside it, and its memory."""

    def __init__(self, total: Counter[str], held: Counter[str]) -> None:
        self.total, self.held = total, held
        self.stack: list[str] = ["other"]
        self.since = time.thread_time()

    def turn(self, enter: str | None) -> None:
        """Begin a stage, or end the present one with None."""
        now = time.thread_time()
        self.total[self.stack[-1]] += now - self.since
        self.held[self.stack[-1]] = max(self.held[self.stack[-1]], most_held())
        self.since = time.thread_time()
        if enter is None:
            self.stack.pop()
            return
        within = [name for name in APART if name in self.stack[-1].split(": ")]
        self.stack.append(": ".join([*within, enter]))


def timed(clock: Clock, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose time counts for a stage."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        clock.turn(stage)
        try:
            return function(*args, **kwargs)
        finally:
            clock.turn(None)

    return call


def watch(clock: Clock) -> None:
    """Replace the functions of all stages wherever a module of the package holds them."""
    for stage, places in STAGES.items():
        for place in places.split():
            module, _, name = place.partition(":")
            owner: Any = sys.modules[f"dpcenet.{module}"]
            *outer, name = name.split(".")
            for part in outer:
                owner = getattr(owner, part)
            function = getattr(owner, name)
            replacement = timed(clock, stage, function)
            holders = [m for n, m in list(sys.modules.items()) if n.startswith("dpcenet.")]
            for holder in [owner, *holders]:
                if vars(holder).get(name) is function:
                    setattr(holder, name, replacement)


def main(
    queries: Annotated[list[Path] | None, typer.Argument()] = None,
    support: Path | None = None,
    mask: Path | None = None,
    labels: int = 0,
    made: bool = False,
    check: bool = True,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Segment, and print the table."""
    clock = Clock(Counter(), Counter())
    clock.turn("import")
    import torch

    clock.turn(None)
    clock.turn("import: package")
    from dpcenet.data.phantom.phantom import write_phantoms
    from dpcenet.segmentation.labelled_input import LabelledInput
    from dpcenet.segmentation.segment_folder import segment_folder
    from dpcenet.segmentation.segment_options import SegmentOptions

    clock.turn(None)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        if made:
            pairs = write_phantoms(out / "made", 2, shape=(8, 64, 64), spacing=(18.0, 4.0, 4.0))
            support, mask, queries = *pairs[0], [pairs[1][0]]
        if support is None or mask is None or not queries:
            raise typer.BadParameter("name --support, --mask and scans, or take --made")
        if labels:
            mask = cut_labels(mask, labels, out / "blocks.nii.gz")
        watch(clock)
        clock.total.pop("other", None)
        clock.since = time.thread_time()
        labelled = LabelledInput(images=(support,), masks=(mask,), device="cpu")
        options = SegmentOptions(out=out / "masks", check=check)
        summary = segment_folder(queries, labelled, options, quiet=True)
        clock.turn("other")
    if errors := [each.error for each in summary.outcomes if each.error]:
        raise SystemExit("\n".join(errors))
    show(clock, json_file)


def cut_labels(mask: Path, count: int, target: Path) -> Path:
    """The labelled voxels of a NIfTI mask in `count` blocks of their own labels, and as many."""
    import nibabel as nib
    import numpy as np
    from scipy.cluster.vq import kmeans2

    image: Any = nib.load(mask)
    shown = np.argwhere(np.asarray(image.dataobj) > 0)
    _, blocks = kmeans2(shown * image.header.get_zooms()[:3], count, seed=0, minit="++")
    data = np.zeros(image.shape, np.uint8)
    data[tuple(shown.T)] = blocks + 1
    nib.save(nib.Nifti1Image(data, image.affine), target)
    return target


def show(clock: Clock, json_file: Path | None) -> None:
    """Print seconds and memory of each stage, the longest first; write the seconds too."""
    total, held = clock.total, {**clock.held, "all": max(clock.held.values())}
    whole = sum(total.values())
    print("| stage | CPU s | share | GB at most |\n|---|---|---|---|")
    for stage, seconds in [*total.most_common(), ("all", whole)]:
        print(f"| {stage} | {seconds:.2f} | {seconds / whole:.0%} | {held[stage] * 1024e-9:.2f} |")
    if json_file:
        json_file.write_text(json.dumps(dict(total), indent=1))


if __name__ == "__main__":
    typer.run(main)
