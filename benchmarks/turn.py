"""One turn of a work in a process of its own: does it, and prints what it took as JSON.

`speed.py` calls this with words of the table of works. What is printed counts per unit, a slice or
a step; the first of a process is not timed, for it warms up.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

Found = dict[str, Any]


def held(what: str = "VmHWM") -> float:
    """Peak GB of this process; "VmRSS": GB now. (ru_maxrss would start from the caller's.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 2**20


def cpu() -> float:
    """Seconds of processor time of this process, and of those that it started and that live."""
    ticks = 0
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def timed(call: Callable[[], Any], units: float = 1) -> Found:
    """Seconds of a unit by the clock and by processor time, and the peak GB of the call."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    wall, used = time.perf_counter(), cpu()
    call()
    times = time.perf_counter() - wall, cpu() - used
    return {"seconds": times[0] / units, "cpu": times[1] / units, "GB": held()}


def make(given: argparse.Namespace) -> Found:
    """What words in braces stand for."""
    from inputs import Inputs

    inputs = Inputs(given.out, given.chaos, given.ct, given.trunk, given.tiny)
    return {name: inputs.words(name) for name in given.words}


# A method and its loop --------------------------------------------------------------------------


def segment(given: argparse.Namespace) -> Found:
    """Ours segments a volume; a support is encoded once for 36 slices."""
    import loops

    from dpcenet.system.device import choose_precision

    parts, made = {"imports": held("VmRSS")}, loops.Slices.made(given.slices, given.side)
    precision = choose_precision("auto", loops.CPU)
    ours = loops.Ours(loops.network(given.words[0], given.changes)[1], precision)
    parts["weights"] = held("VmRSS")
    ours.encode(made.query[:1])
    parts["trunk"] = held("VmRSS")
    found, support = {"timed": ours.masks(made.middle())}, ours.encode(made.shown)
    once = timed(lambda: ours.encode(made.shown), 36)
    took = timed(lambda: ours.masks(made, support), given.slices)
    took |= {key: took[key] + once[key] for key in ("seconds", "cpu")}
    exact = loops.Ours(loops.network(given.words[0], given.changes)[1], "float32")
    loops.np.savez(given.out / "masks.npz", **found, float32=exact.masks(made.middle()))
    return {**took, "precision": precision, "slices": given.slices, "parts": parts}


def loop(given: argparse.Namespace) -> Found:
    """The loop segments one slice of the volume."""
    import loops

    made = loops.Slices.made(given.slices, given.side).middle()
    config, method = loops.network(given.words[0], given.changes)
    theirs = loops.LOOPS[config.method](method)
    found = loops.looped(theirs, made)
    took = timed(lambda: loops.looped(theirs, made))
    loops.np.savez(given.out / "masks.npz", timed=found, float32=found)
    return {**took, "GFLOP": loops.flops(theirs, lambda: loops.looped(theirs, made))}


def loop_step(given: argparse.Namespace) -> Found:
    """A step of the loop, its trunk too, the mean of three."""
    import loops

    from dpcenet.system.device import choose_precision

    network = loops.network(given.words[0], given.changes)
    episode = loops.Slices.made(given.slices, given.side).episode()
    precision = choose_precision("auto", loops.CPU)
    training = loops.LoopTraining(network, episode, precision, given.frozen)
    training.steps(1)
    took = timed(lambda: training.steps(3), 3)
    flops = loops.flops(training.loop, lambda: training.loss().backward())
    return {**took, "losses": training.losses, "GFLOP": flops}


def trained(given: argparse.Namespace) -> Found:
    """Dice of trained runs of `dpcenet train` with the loops of their methods."""
    from loops import trained_agreement

    return dict(trained_agreement(Path(run)) for run in given.words)


# The program itself -----------------------------------------------------------------------------


def steps(words: list[str]) -> Found:
    """A step of `dpcenet train` or `pretrain`: the time between steps of the optimiser.

    Args:
        words: steps before the first that counts, how many are timed together, how often (the
            median counts), and the words of the command.
    """
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from dpcenet.__main__ import main

    before, unit, units = map(int, words[:3])
    marks: list[tuple[float, float]] = []

    def mark(*_: Any) -> None:
        done()
        marks.append((time.perf_counter(), cpu()))

    register_optimizer_step_post_hook(mark)
    group = "train." if words[3] == "train" else ""
    with tempfile.TemporaryDirectory() as run:
        sys.argv = ["dpcenet", *words[3:], "--run", f"{run}/run"]
        sys.argv += ["--set", f"{group}steps={before + unit * units}"]
        try:
            main()
        except SystemExit as over:
            if over.code:
                raise
    spans = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(marks[before - 1 :: unit])]
    seconds, used = (median(span[k] for span in spans) / unit for k in (0, 1))
    return {"seconds": seconds, "cpu": used, **memory()}


def scan(given: argparse.Namespace) -> Found:
    """The shipped network segments a made scan for the second time, without the check.

    The words are its slices, the pixels of a side, and a precision.
    """
    import numpy as np

    from dpcenet import Segmenter
    from dpcenet.data.phantom.phantom import phantom

    (count, side), precision = map(int, given.words[:2]), given.words[2]
    spacing = 216.0 / count, 320.0 / side, 320.0 / side
    labelled, (query, _) = (phantom(seed, (count, side, side), spacing) for seed in (1, 2))
    segmenter = Segmenter.shipped("auto", precision=precision)
    support = segmenter.support(*labelled)
    mask = segmenter.segment(query, support).data > 0
    took = timed(lambda: (segmenter.segment(query, support), done()))
    np.savez(given.out / "masks.npz", timed=mask, float32=mask)
    return {**took, "precision": precision, **memory()}


def done() -> None:
    """Wait for a GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def memory() -> Found:
    """Peak GB of the GPU and its name; without one of this process."""
    import torch

    if not torch.cuda.is_available():
        return {"GB": held()}
    peak = torch.cuda.max_memory_allocated() / 1e9
    return {"GB": peak, "device": torch.cuda.get_device_name()}


def instead(given: argparse.Namespace) -> Found:
    """What a person may do instead; the words are a way of `alternatives.WAYS`, and queries."""
    from alternatives import WAYS

    way, *queries = given.words
    minutes = [float(queries.pop(0))] if way == "nnunet" else []
    labelled = given.support_image, given.support_mask
    with tempfile.TemporaryDirectory() as folder:
        found = WAYS[way](Path(folder), labelled, [Path(query) for query in queries], *minutes)
        for query, mask in zip(queries, found, strict=True):
            mask.rename(given.out / mask_name(Path(query)))
    return {}


def mask_name(scan: Path) -> str:
    """As `dpcenet segment` calls it."""
    return scan.name.removesuffix(".gz").removesuffix(".nii") + "_seg.nii.gz"


# Agreement --------------------------------------------------------------------------------------


def score(given: argparse.Namespace) -> Found:
    """Dice of what two turns wrote with each other, and of each turn with the truth.

    The words are one or two folders; --support-mask names a file beside the true labels, whose own
    scan does not count.
    """
    import numpy as np

    found: Found = {}
    folders = [Path(word) for word in given.words]
    masks = [{p.name: p for p in sorted(folder.glob("*_seg.nii.gz"))} for folder in folders]
    if len(folders) == 2 and masks[0]:
        both = [name for name in masks[0] if name in masks[1]]
        same = [d for name in both for d in label_dices(masks[0][name], masks[1][name])]
        found |= {"Dice": fmean(same), "least": min(same)} if same else {}
    elif len(folders) == 2 and (folders[0] / "masks.npz").exists():
        one, two = (np.load(folder / "masks.npz") for folder in folders)
        if two["timed"].any():  # nothing agrees with nothing
            found |= {"Dice": same_voxels(one["timed"], two["timed"])}
            found |= {"Dice float32": same_voxels(one["float32"], two["float32"])}
    for side, files in zip(("ours", "theirs"), masks, strict=False):
        truths = {p: given.support_mask.with_name(true_name(p.name)) for p in files.values()}
        each = [
            fmean(label_dices(path, true))
            for path, true in truths.items()
            if true.exists() and true != given.support_mask
        ]
        found |= {f"truth {side}": {"mean": fmean(each), "each": each}} if each else {}
    return found


def true_name(mask: str) -> str:
    """Of the true labels of the scan that a mask is of."""
    return mask.replace("_seg", "").replace("image", "label")


def label_dices(found: Path, true: Path) -> list[float]:
    """Dice of each label of the second of two label maps; where it has none, of none."""
    import numpy as np

    from dpcenet.volumes.io import read_volume

    one, two = (read_volume(path).volume.data for path in (found, true))
    return [same_voxels(one == v, two == v) for v in np.unique(two) if v] or [float(not one.any())]


def same_voxels(one: Any, two: Any) -> float:
    """Dice."""
    from dpcenet.volumes.metrics import dice

    return float(dice(one, two))


def main() -> None:
    """Do what the first word says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    for name in ("out", "chaos", "ct", "trunk", "support-image", "support-mask", "weights"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    for name in ("tiny", "frozen"):
        parser.add_argument(f"--{name}", action="store_true")
    command = sys.argv[1]
    if command == "steps":
        found = steps(sys.argv[2:])
    else:
        given = parser.parse_intermixed_args(sys.argv[2:])
        given.changes += [f"options.encoder.weights={given.weights}"] if given.weights else []
        found = COMMANDS[command](given)
    print(json.dumps(found), flush=True)


COMMANDS = {
    **{"make": make, "segment": segment, "loop": loop, "loop-step": loop_step, "scan": scan},
    **{"trained": trained, "instead": instead, "score": score},
}

if __name__ == "__main__":
    main()
