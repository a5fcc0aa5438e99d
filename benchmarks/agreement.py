"""Whether ours predicts what the official loop does, on a trained method and real scans."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from reference_loops import LOOPS, Loop
from torch import Tensor

from dpcenet.data.contact_sheet import evenly_spaced
from dpcenet.data.store import PreparedCase, open_dataset
from dpcenet.evaluation.protocols import OrganChunks, SameSlices
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import SliceMap
from dpcenet.inference.support import LabelledScan, SliceTask, SupportSlice
from dpcenet.methods.base import Method
from dpcenet.nn.fuse_batch_norm import ready_to_predict
from dpcenet.system.device import Precision
from dpcenet.training.run_folder import open_run
from dpcenet.volumes.metrics import dice

DEVICE = torch.device("cpu")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
Masks = npt.NDArray[np.bool_]


def run_of(folder: Path, method: str) -> Path | None:
    """The first run of a method in Setting 1 that has a checkpoint, among the runs in a folder.

    The ablation, whose runs lack parts of the method, is done in Setting 2. CAT-Net's cascade is
    the paper's: no official code computes it.
    """
    for path in sorted(folder.glob("**/run.json")):
        run = open_run(path.parent)
        chosen = run.config.method == method and run.flags.setting == 1
        chosen &= getattr(run.config.options, "head", "") != "cascade"
        if chosen and (path.parent / "checkpoint.safetensors").exists():
            return path.parent
    return None


def trained_agreement(folder: Path, slices: int) -> dict[str, Any]:
    """Dice of ours with the float32 loop, with a run's weights, on a scan that it never saw.

    Args:
        folder: of the run.
        slices: of the scan, evenly among those that show each organ.

    Returns:
        for each precision of the trunk the mean and the least Dice of the organs, and beside them
        the mean Dice with the truth, of the loop and of each precision.
    """
    run = open_run(folder)
    trained = run.load_method(DEVICE, fast=False)
    loop = LOOPS[run.config.method](trained)
    ours = {precision: ready(trained, precision) for precision in PRECISIONS}
    dataset = open_dataset(run.flags.data)
    support_name, queries = run.make_fold(dataset).pairs("last")[0]
    support, query = dataset.case(support_name), dataset.case(queries[0])
    masks = [
        _predictions(loop, ours, support, query, tasks, value)
        for value in run.flags.test_labels or tuple(dataset.labels)
        if (tasks := _thinned(OrganChunks(query.label).tasks([support.label], value), slices))
    ]
    found: dict[str, Any] = {"organs": len(masks), "dataset": dataset.origin.name}
    found["slices"] = sum(len(one["truth"]) for one in masks)
    for name in PRECISIONS:
        each = [dice(one[name], one["loop"]) for one in masks]
        found[name] = {"mean": float(np.mean(each)), "least": float(np.min(each))}
    found["truth"] = {
        name: float(np.mean([dice(one[name], one["truth"]) for one in masks]))
        for name in ("loop", *PRECISIONS)
    }
    return found


def ready(trained: Method, precision: Precision) -> Method:
    """A copy of a trained method, in the form in which it predicts."""
    method = deepcopy(trained)
    ready_to_predict(method, precision == "bfloat16")
    return method


def _thinned(tasks: list[SliceTask], slices: int) -> list[SliceTask]:
    """The same runs with about `slices` query slices altogether."""
    each = max(1, slices // max(1, len(tasks)))
    return [
        SliceTask(
            task.support,
            tuple(task.query[i] for i in evenly_spaced(len(task.query), each)),
        )
        for task in tasks
    ]


def _predictions(
    loop: Loop,
    ours: dict[Precision, Method],
    support: PreparedCase,
    query: PreparedCase,
    tasks: list[SliceTask],
    value: int,
) -> dict[str, Masks]:
    """Masks (N, H, W) of the loop, of ours by precision, and the truth, on the tasks' slices."""
    shown = [task.support[0].z for task in tasks]
    seen = [z for task in tasks for z in task.query]
    stops = np.cumsum([len(task.query) for task in tasks]).tolist()
    renumbered = [
        SliceTask((SupportSlice(0, k),), tuple(range(stop - len(task.query), stop)))
        for k, (task, stop) in enumerate(zip(tasks, stops, strict=True))
    ]
    masks = {"truth": np.asarray(query.label[seen] == value)}
    for precision, method in ours.items():
        first_look = Predictor(method, precision).at_first_look()
        shown_slices, seen_slices = (
            first_look.encode(case.image[places], case.spacing)
            for case, places in ((support, shown), (query, seen))
        )
        scan = LabelledScan(support.name, shown_slices, support.label[shown])
        plan = SameSlices(SliceMap({value: renumbered}))
        masks[precision] = first_look.segment([scan], seen_slices, plan, [value]).masks[value]
    masks["loop"] = np.concatenate(
        [_looped(loop, support, query, task, value) for task in tasks], axis=0
    )
    return masks


@torch.no_grad()
def _looped(
    loop: Loop, support: PreparedCase, query: PreparedCase, task: SliceTask, value: int
) -> Masks:
    """Masks (N, H, W) of the loop, one slice after the other."""
    z = task.support[0].z
    shown = _slice(support, z)
    mask = torch.from_numpy(np.asarray(support.label[z] == value, np.float32))[None]
    found = [loop(shown, mask, _slice(query, q))[0].argmax(dim=1).bool() for q in task.query]
    return torch.cat(found).numpy()


def _slice(case: PreparedCase, z: int) -> Tensor:
    """(1, 1, H, W)."""
    return torch.from_numpy(np.array(case.image[z], np.float32))[None, None]
