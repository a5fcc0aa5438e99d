"""The table of works: what each runs, and against what. `speed.py` runs it, `page.py` shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass

GROUPS = {
    "wait": "What a person waits for",
    "one": "What else one labelled scan can do",
    "segment": "Segmenting a volume, and the official loops",
    "train": "A training step, and the official loops",
    "gpu": "On a GPU",
}
"""Name → title of a section of the page."""


SMALL = ("pairs.size", "cohorts.size", "network.size")
SIZES = {
    **{f"z{count}": (count, "3 --side 64") for count in (12, 18, 36)},
    **{"ten": (10, 0), "hour": (60, 0)},
    **{"steps": ("2 1 5", "1 1 1"), "ahead": ("4 4 3", "4 4 1"), "bank": ("96 4 8", "1 1 1")},
    "small": ("", "".join(f" --set {key}=32" for key in SMALL) + " --set batch=2"),
    **{"mr": ("36 256", "8 64"), "large": ("130 512", "10 64"), "low": ("bfloat16", "float32")},
}
"""Word in braces → what it stands for, and when everything is tried on small sizes. Of steps: those
before the first that counts, those in a unit, units."""


@dataclass(frozen=True)
class Work:
    """One row of the page.

    Words in braces are of SIZES, or made by `inputs.py`; OUT is the folder for what a turn writes.
    What does not begin with `dpcenet` is a command of `turn.py`.

    Attributes:
        group: of GROUPS.
        ours, theirs: words of a command; nothing where ours stands alone.
        least: how many times faster ours must be, where that was asked for.
        says: what the work is.
        official: GFLOP of the official code for a slice or step; of DPCENet, which has none, of
            its head on 512x64x64 (79.5) and 512x32x32 (7).
        once: whether one turn must do, since it takes long.
    """

    group: str
    ours: str
    theirs: str
    least: float | None
    says: str
    official: float | None = None
    once: bool = False


TABLE = """
wait | start     |      | dpcenet --version |
     | the program starts, and says its versions
wait | chaos     | 1.6  | dpcenet segment {one} --out OUT |
     | one CHAOS scan, four labels, with the check
wait | fast      |      | dpcenet segment {one} --out OUT --fast | dpcenet segment {one} --out OUT
     | one CHAOS scan, four labels, `--fast` against without it, with the check
wait | chaos-20  | 2    | dpcenet segment {all} --out OUT --jobs 2 |
     | the 19 other CHAOS scans, four labels, with the check, two jobs
wait | ct        | 2    | dpcenet segment {ct} --out OUT | | one CT scan, 13 labels, with the check
wait | labels-60 | 0.17 | dpcenet segment {sixty} --out OUT | dpcenet segment {own} --out OUT
     | 60 labels, against the same scan's own four
wait | long      |      | dpcenet segment {long} --out OUT --memory 2GB |
     | a made scan of 512 x 512 x 1000, whole numbers, with the check
wait | precision |      | dpcenet segment {four} --out OUT --no-check --precision bfloat16
     | dpcenet segment {four} --out OUT --no-check --precision float32
     | four CHAOS scans in bfloat16, against float32, without the check
wait | slices    | 0.1  | dpcenet segment {many} --out OUT | dpcenet segment {few} --out OUT
     | a made scan of 360 slices, against one of 36
wait | scans     |      | dpcenet segment {all} --out OUT | dpcenet segment {four} --out OUT
     | the 19 other CHAOS scans one after the other, against four, with the check
one  | register  |      | dpcenet segment {four} --out OUT | instead register {four} --out OUT
     | four CHAOS scans with the check, against 3-D registration (SimpleITK)
one  | nnunet-10 |      | dpcenet segment {four} --out OUT | instead nnunet {ten} {four} --out OUT
     | four CHAOS scans with the check, against nnU-Net v2 trained for 10 minutes
one  | nnunet-60 |      | dpcenet segment {four} --out OUT | instead nnunet {hour} {four} --out OUT
     | four CHAOS scans with the check, against nnU-Net v2 trained for 60 minutes
train | pretrain | 1.3  | steps {steps} pretrain --set validation_batches=1{small} |
     | a step of the in-context network on 8 made-up pairs, which are made too
gpu  | gpu-mr    |      | scan {mr} {low} --out OUT | scan {mr} float32 --out OUT
     | a scan of 36 slices of 256 x 256, in bfloat16 against float32
gpu  | gpu-ct    |      | scan {large} {low} --out OUT | scan {large} float32 --out OUT
     | a scan of 130 slices of 512 x 512, in bfloat16 against float32
"""
"""Group | name | least | ours | theirs | says; a line that begins with spaces goes on."""
ONCE = ("long", "nnunet-10", "nnunet-60")

METHODS = """
panet      | panet/paper      | PANet, VGG-16, 32x32       | 18 |     |
adnet      | adnet/fixed      | ADNet, R101, 32x32         | 18 |     |
ssl_alpnet | ssl_alpnet/fixed | SSL-ALPNet, R101, 32x32    | 36 | 3.5 | 1.7
qnet       | qnet/official    | Q-Net, R101, 64x64+32x32   | 12 |     |
catnet     | catnet/official  | CAT-Net, R101, 32x32       | 18 |     |
rpt        | rpt/official     | RPT, R101, 64x64           | 12 | 5   |
gmrd       | gmrd/official    | GMRD, R101, 64x64          | 18 | 5   |
dpcenet    | dpcenet/paper    | DPCENet, R101, 64x64+32x32 | 12 | 4   |
"""
"""Method | preset | says | slices of the volume | least of segmenting | of a step."""

TRAINED = "dpcenet/tuned --weights {resnet50} --set options.encoder.frozen=false"
FROZEN = (
    "dpcenet/tuned --weights {resnet101} --set options.encoder.name=resnet101 "
    "--set options.width=512"
)
AHEAD = f"{FROZEN} --set episodes.views=0"
STEPS = (
    ("step-dpcenet", TRAINED, "steps {steps}", "", 1.4, None, "DPCENet, R50, 32x32, trained trunk"),
    ("ahead-dpcenet", AHEAD, "steps {ahead}", " --frozen", 3, 7.0, "DPCENet, R101, frozen, exact"),
    ("bank-dpcenet", FROZEN, "steps {bank}", " --frozen", 20, 7.0, "DPCENet, R101, frozen, bank"),
)
"""Steps of DPCENet: name, network, steps, how the loop trains, least, official GFLOP, says."""

OFFICIAL = {
    "panet/paper": (14.71, 14.71, 101.9, 305.3),
    "adnet/fixed": (59.21, 43.02, 179.4, 537.6),
    "ssl_alpnet/fixed": (59.21, 43.02, 179.5, 537.7),
    "catnet/official": (60.76, 43.83, 184.2, 545.8),
    "qnet/official": (46.12, 46.12, 530.8, 1591.7),
    "rpt/official": (50.33, 49.28, 529.2, 1587.0),
    "gmrd/official": (100.03, 81.97, 643.9, 2126.3),
}
"""Official code: parameters (M), those with gradient (M), GFLOP of a test slice and of a step."""


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("|")]


def _programs() -> dict[str, Work]:
    rows = [_cells(row) for row in re.sub(r"\n +", " ", TABLE.strip()).splitlines()]
    return {
        name: Work(group, ours, theirs, float(least) if least else None, says, once=name in ONCE)
        for group, name, least, ours, theirs, says in rows
    }


def _methods() -> dict[str, Work]:
    """Segmenting and a training step of each method, against its loop."""
    segments, steps = {}, {}
    for method, preset, says, slices, segment, step in map(_cells, METHODS.strip().splitlines()):
        network = preset if "VGG" in says else f"{preset} --weights {{resnet101}}"
        volume = f"{network} --slices {{z{slices}}} --out OUT"
        flops = OFFICIAL.get(preset, (0.0, 0.0, 86.5, 0.0))
        segments[f"segment-{method}"] = Work(
            *("segment", f"segment {volume}", f"loop {volume}"),
            *(float(segment) if segment else None, f"{says}, {slices} slices", flops[2]),
        )
        if method != "dpcenet":
            steps[f"step-{method}"] = Work(
                *("train", f"steps {{steps}} train {network} --data {{set}}"),
                *(
                    f"loop-step {network} --slices {{z12}}",
                    float(step) if step else None,
                    says,
                    flops[3],
                ),
            )
    for name, network, count, how, least, official, says in STEPS:
        ours = f"{count} train {network} --data {{set}}"
        theirs = f"loop-step {network} --slices {{z12}}{how}"
        steps[name] = Work("train", ours, theirs, least, says, official)
    return segments | steps


PRESETS = [_cells(row)[1] for row in METHODS.strip().splitlines()]
WORKS = {**_programs(), **_methods()}
