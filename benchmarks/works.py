"""The table of works: what each runs, and against what. `speed.py` runs it, `page.py` shows it."""

from __future__ import annotations

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
        says: what the work is.
        ours, theirs: words of a command; nothing where ours stands alone.
        least: how many times faster ours must be, where that was asked for.
        official: GFLOP of the official code for a slice or step; of DPCENet, which has none, of
            its head on 512x64x64 (79.5) and 512x32x32 (7).
        once: whether one turn must do, since it takes long.
    """

    group: str
    says: str
    ours: str
    theirs: str = ""
    least: float | None = None
    official: float | None = None
    once: bool = False


ONE, FOUR = "dpcenet segment {one} --out OUT", "dpcenet segment {four} --out OUT"
EVERY = "dpcenet segment {all} --out OUT"
PROGRAMS = {
    "start": Work("wait", "the program starts, and says its versions", "dpcenet --version"),
    "chaos": Work("wait", "one CHAOS scan, four labels, with the check", ONE, least=1.6),
    "fast": Work(
        "wait",
        "one CHAOS scan, four labels, `--fast` against without it, with the check",
        f"{ONE} --fast",
        ONE,
    ),
    "chaos-20": Work(
        "wait",
        "the 19 other CHAOS scans, four labels, with the check, two jobs",
        f"{EVERY} --jobs 2",
        "",
        2,
    ),
    "ct": Work(
        "wait", "one CT scan, 13 labels, with the check", "dpcenet segment {ct} --out OUT", least=2
    ),
    "labels-60": Work(
        "wait",
        "60 labels, against the same scan's own four",
        "dpcenet segment {sixty} --out OUT",
        "dpcenet segment {own} --out OUT",
        0.17,
    ),
    "long": Work(
        "wait",
        "a made scan of 512 x 512 x 1000, whole numbers, with the check",
        "dpcenet segment {long} --out OUT --memory 2GB",
        once=True,
    ),
    "precision": Work(
        "wait",
        "four CHAOS scans in bfloat16, against float32, without the check",
        f"{FOUR} --no-check --precision bfloat16",
        f"{FOUR} --no-check --precision float32",
    ),
    "slices": Work(
        "wait",
        "a made scan of 360 slices, against one of 36",
        "dpcenet segment {many} --out OUT",
        "dpcenet segment {few} --out OUT",
        0.1,
    ),
    "scans": Work(
        "wait",
        "the 19 other CHAOS scans one after the other, against four, with the check",
        EVERY,
        FOUR,
    ),
    "register": Work(
        "one",
        "four CHAOS scans with the check, against 3-D registration (SimpleITK)",
        FOUR,
        "instead register {four} --out OUT",
    ),
    "nnunet-10": Work(
        "one",
        "four CHAOS scans with the check, against nnU-Net v2 trained for 10 minutes",
        FOUR,
        "instead nnunet {ten} {four} --out OUT",
        once=True,
    ),
    "nnunet-60": Work(
        "one",
        "four CHAOS scans with the check, against nnU-Net v2 trained for 60 minutes",
        FOUR,
        "instead nnunet {hour} {four} --out OUT",
        once=True,
    ),
    "pretrain": Work(
        "train",
        "a step of the in-context network on 8 made-up pairs, which are made too",
        "steps {steps} pretrain --set validation_batches=1{small}",
        "",
        1.3,
    ),
    "gpu-mr": Work(
        "gpu",
        "a scan of 36 slices of 256 x 256, in bfloat16 against float32",
        "scan {mr} {low} --out OUT",
        "scan {mr} float32 --out OUT",
    ),
    "gpu-ct": Work(
        "gpu",
        "a scan of 130 slices of 512 x 512, in bfloat16 against float32",
        "scan {large} {low} --out OUT",
        "scan {large} float32 --out OUT",
    ),
}


@dataclass(frozen=True)
class Loop:
    """A method whose official loop stands in `reference_loops`.

    Attributes:
        method, preset: of ours.
        says: the network, and its cells.
        slices: of the volume that is segmented.
        segment, step: how many times faster ours must be.
    """

    method: str
    preset: str
    says: str
    slices: int
    segment: float | None = None
    step: float | None = None


LOOPS = (
    Loop("panet", "panet/paper", "PANet, VGG-16, 32x32", 18),
    Loop("adnet", "adnet/fixed", "ADNet, R101, 32x32", 18),
    Loop("ssl_alpnet", "ssl_alpnet/fixed", "SSL-ALPNet, R101, 32x32", 36, 3.5, 1.7),
    Loop("qnet", "qnet/official", "Q-Net, R101, 64x64+32x32", 12),
    Loop("catnet", "catnet/official", "CAT-Net, R101, 32x32", 18),
    Loop("rpt", "rpt/official", "RPT, R101, 64x64", 12, 5),
    Loop("gmrd", "gmrd/official", "GMRD, R101, 64x64", 18, 5),
    Loop("dpcenet", "dpcenet/paper", "DPCENet, R101, 64x64+32x32", 12, 4),
)

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


def _segmenting(loop: Loop) -> Work:
    """A volume by a method, against its loop."""
    volume = f"{_network(loop)} --slices {{z{loop.slices}}} --out OUT"
    flops = OFFICIAL.get(loop.preset, (0.0, 0.0, 86.5, 0.0))[2]
    says = f"{loop.says}, {loop.slices} slices"
    return Work("segment", says, f"segment {volume}", f"loop {volume}", loop.segment, flops)


def _stepping(loop: Loop) -> Work:
    """A training step of a method, against its loop."""
    network, flops = _network(loop), OFFICIAL[loop.preset][3]
    ours, theirs = f"steps {{steps}} train {network} --data {{set}}", f"loop-step {network}"
    return Work("train", loop.says, ours, f"{theirs} --slices {{z12}}", loop.step, flops)


def _network(loop: Loop) -> str:
    return loop.preset if "VGG" in loop.says else f"{loop.preset} --weights {{resnet101}}"


def _dpcenet_steps() -> dict[str, Work]:
    return {
        name: Work(
            "train",
            says,
            f"{count} train {network} --data {{set}}",
            f"loop-step {network} --slices {{z12}}{how}",
            least,
            official,
        )
        for name, network, count, how, least, official, says in STEPS
    }


PRESETS = [loop.preset for loop in LOOPS]
WORKS = {
    **PROGRAMS,
    **{f"segment-{loop.method}": _segmenting(loop) for loop in LOOPS},
    **{f"step-{loop.method}": _stepping(loop) for loop in LOOPS if loop.method != "dpcenet"},
    **_dpcenet_steps(),
}
