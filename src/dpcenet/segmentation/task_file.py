"""Task files: the labelled scans in one file, as images or as features.

A safetensors file. For each scan it holds the labels, and either the prepared images, or the
features of the slices and of the windows of the second look, in every size that a query can ask
for. Only images can be aligned with a query. The metadata hold the format, the facts as JSON, and a
sha256 of everything, so that damage is found before anything is used.

Nothing names the patient, but pictures can be computed from features; see docs/segment.md.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import dpcenet
from dpcenet.errors import ConfigError, RunError, TaskError, one_line
from dpcenet.inference.encoded import EncodedScan, EncodedWindows, encode_slices
from dpcenet.inference.encoded_windows import encode_windows
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan, Support
from dpcenet.methods.base import Method
from dpcenet.nn.tensor_files import load_tensors, save_tensors
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.task_record import TaskRecord, TaskScan, check_task
from dpcenet.system.device import Precision
from dpcenet.system.structured import MAX_JSON, parse_json
from dpcenet.types import Features
from dpcenet.volumes.label_names import name_for

KIND = "dpcenet task"
FEATURES, IMAGES = "1", "2"  # formats: with features or with images
MAX_BYTES = 2 * 1024**3


def write_task(
    path: Path,
    predictor: Predictor,
    support: Support,
    note: str = "",
    images: bool = False,
) -> dict[str, Any]:
    """Write a task file, whole or not at all.

    Args:
        path: the file.
        predictor: that encoded the support.
        support: with its images.
        note: free text; everybody who has the file can read it.
        images: write the prepared images, not their features.

    Returns:
        the facts, as `task_facts` reads them.

    Raises:
        ConfigError: the file would be larger than 2 GiB.
        OSError: it cannot be written.
    """
    method, precision = predictor.method, predictor.precision
    tensors: dict[str, Tensor] = {}
    scans = []
    windows = [] if images else encode_windows(method, support, precision)
    for n, scan in enumerate(support.scans):
        tensors[f"{n}.label"] = torch.from_numpy(scan.label)
        if images:
            tensors[f"{n}.images"] = scan.slices.images
        else:
            tensors |= {f"{n}.slices.{k}": v for k, v in scan.slices.features.maps.items()}
            tensors |= {f"{n}.closeups.{k}": v for k, v in windows[n].features.maps.items()}
        scans.append(_scan_facts(scan, None if images else windows[n]))
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > MAX_BYTES:
        raise ConfigError(
            f"{path}: needs {size / 1e9:.1f} GB (at most {MAX_BYTES / 1e9:.1f}); give fewer "
            "labelled scans or labels"
        )
    facts = {
        "dpcenet": dpcenet.__version__,
        "created": time.strftime("%Y-%m-%d"),
        "note": note,
        "network": {"method": type(method).__name__, "sha256": hash_of_state(method)},
        "precision": precision,
        "preprocessing": asdict(support.rules),
        "affine": support.affine.tolist(),
        "labels": {str(v): name_for(support.names, v) for v in support.values},
        "codes": {str(value): asdict(code) for value, code in support.codes.items()},
        "scans": scans,
    }
    text = json.dumps(facts)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"kind": KIND, "format": IMAGES if images else FEATURES, "facts": text}
    save_tensors(path, plain, metadata | {"sha256": _digest(text, plain)})
    return facts


def task_facts(path: Path) -> dict[str, Any]:
    """The facts of a task file: labels, scans, network, preprocessing, note.

    Raises:
        TaskError: it is no task file, damaged, or of a newer format.
    """
    return _checked(path)[0]


def read_task(path: Path, predictor: Predictor) -> Support:
    """The labelled scans of a task file.

    Args:
        path: the file.
        predictor: its method must have the same weights as when the file was made.

    Raises:
        TaskError: it is no task file, damaged, of a newer format, or of other weights.
    """
    _, tensors, record = _checked(path)
    method = predictor.method
    theirs, ours = record.network.sha256, hash_of_state(method)
    if theirs != ours:
        raise TaskError(
            f"{path}: made with {record.network.method} weights {theirs[:12]}…, but the "
            f"network is {type(method).__name__} {ours[:12]}…; give the --run that the task was "
            "made with (none for the network of the package), or create the task again"
        )
    tensors = {name: tensor.to(predictor.device) for name, tensor in tensors.items()}
    scans = [
        _scan(n, each, tensors)
        if each.closeups is not None
        else _encoded(n, each, tensors, method, record.precision)
        for n, each in enumerate(record.scans)
    ]
    affine, values = np.array(record.affine), tuple(record.labels)
    names, codes = record.labels, record.codes
    return Support(tuple(scans), values, affine, record.preprocessing, names, codes=codes)


def _scan_facts(scan: LabelledScan, closeups: EncodedWindows | None) -> dict[str, Any]:
    rows = closeups and [
        [value, z, half, row]
        for (value, z), windows in closeups.rows.items()
        for half, row in windows
    ]
    return {
        "digest": scan.digest,
        "slices": len(scan.label),
        "spacing": list(scan.slices.spacing),
        "closeups": rows,
    }


def _scan(n: int, facts: TaskScan, tensors: Mapping[str, Tensor]) -> LabelledScan:
    label = tensors[f"{n}.label"].cpu().numpy()
    rows: dict[tuple[int, int], tuple[tuple[float, int], ...]] = {}
    for value, z, half, row in facts.closeups or ():
        rows[value, z] = (*rows.get((value, z), ()), (half, row))
    closeups = EncodedWindows(rows, _features(f"{n}.closeups.", tensors))
    features = _features(f"{n}.slices.", tensors)
    device = next(iter(features.maps.values())).device
    blank = torch.zeros(1, 1, 1, 1, device=device).expand(len(label), 1, *label.shape[1:])
    slices = EncodedScan(blank, features, facts.spacing, closeups)
    return LabelledScan(f"labelled scan {n + 1}", slices, label, facts.digest)


def _encoded(
    n: int,
    facts: TaskScan,
    tensors: Mapping[str, Tensor],
    method: Method,
    precision: Precision,
) -> LabelledScan:
    images, label = tensors[f"{n}.images"], tensors[f"{n}.label"].cpu().numpy()
    features = encode_slices(method, images, precision)
    slices = EncodedScan(images, features, facts.spacing)
    return LabelledScan(f"labelled scan {n + 1}", slices, label, facts.digest)


def _features(prefix: str, tensors: Mapping[str, Tensor]) -> Features:
    return Features(
        {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
    )


def _checked(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], TaskRecord]:
    """Facts and tensors of a task file that is whole and of a known format."""
    if path.is_file() and path.stat().st_size > MAX_BYTES + MAX_JSON:
        raise TaskError(f"{path}: larger than a task file can be; was another file meant?")
    try:
        tensors, metadata = load_tensors(path)
    except RunError as error:
        raise TaskError(
            one_line(
                f"{path}: cannot be read ({error.__cause__}); expected a file that `dpcenet task "
                "create` wrote. Copy or create it again"
            )
        ) from error
    if metadata.get("kind") != KIND:
        raise TaskError(f"{path}: not a task file; make one with `dpcenet task create`")
    if metadata.get("format") not in (FEATURES, IMAGES):
        raise TaskError(
            f"{path}: format {metadata.get('format')}; this version ({dpcenet.__version__}) reads "
            f"{FEATURES} and {IMAGES}. Update dpcenet, or create the task again"
        )
    text = metadata.get("facts", "")
    if metadata.get("sha256") != _digest(text, tensors):
        raise TaskError(f"{path}: damaged (wrong checksum); copy or create it again")
    facts = parse_json(text, path, error=TaskError, remedy="create the task again")
    return facts, tensors, check_task(path, facts, tensors)


def _digest(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """sha256 of the facts and of every tensor, by name."""
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
