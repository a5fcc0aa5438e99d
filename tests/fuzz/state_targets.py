"""What is fuzzed beside scans: YAML of people, JSON that the commands keep, and task files."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from dpcenet.app.jobs import all_jobs
from dpcenet.app.project import Label, Project
from dpcenet.data.store import open_dataset
from dpcenet.errors import DpcenetError
from dpcenet.evaluation.benchmark.plan import load_plan
from dpcenet.evaluation.benchmark.run_experiment import state_of
from dpcenet.evaluation.report.sections import sections_of
from dpcenet.nn.tensor_files import load_tensors, save_tensors
from dpcenet.segmentation.review.quality import Quality
from dpcenet.segmentation.review.reviewed_case import ReviewedCase, read_cases, save_case
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.task_file import _digest, read_task, task_facts, write_task
from dpcenet.system.assets import asset
from dpcenet.system.files import write_json
from dpcenet.training.adapt import kept_state
from dpcenet.training.config import config_to_dict, load_options, load_preset
from dpcenet.training.incontext_trainer import PretrainConfig
from dpcenet.training.log import read_log
from dpcenet.training.run_folder import open_run
from dpcenet.volumes.mask_record import finished, key_of, outputs_named_in, write_record
from dpcenet.volumes.scan_file import sidecar_modality
from made_scans import quick_segmenter
from phantoms import make_phantom

logging.disable(logging.WARNING)  # a note for each damaged file


def _all(*readers: Callable[[], object]) -> None:
    """Call every reader; one of ours that was raised is raised at the end."""
    refused: DpcenetError | None = None
    for reader in readers:
        try:
            reader()
        except DpcenetError as error:
            refused = error
    if refused is not None:
        raise refused


def make_yaml(folder: Path) -> list[Path]:
    """A preset, a config of `pretrain` and a plan."""
    (folder / "a.yaml").write_text(asset("presets/dpcenet/paper.yaml").read_text("utf-8"))
    (folder / "b.yaml").write_text(
        "steps: 100\nbatch: 4\nlearning_rate: 1.0e-3\nsource: both\nnetwork: {size: 64}\n"
        "pairs: {size: 64}\nepisodes:\n  stay: 2\n"
    )
    (folder / "c.yaml").write_text(asset("plans/smoke.yaml").read_text("utf-8"))
    return sorted(folder.iterdir())


def use_yaml(place: Path, out: Path) -> None:
    """As `train`, `pretrain` and `benchmark` read them."""
    del out
    preset, config, plan = (str(place.with_name(f"{name}.yaml")) for name in "abc")
    _all(
        lambda: load_preset(preset),
        lambda: load_options(PretrainConfig, Path(config), ()),
        lambda: load_plan(plan),
        lambda: load_preset("panet/paper", (f"train.steps={_some_line(preset)}",)),
    )


def _some_line(path: str) -> str:
    """What a person might write after --set: the first line, or 7 while the file is as it was."""
    line = Path(path).read_text("utf-8", "replace").partition("\n")[0]
    return "7" if line.startswith("# DPCENet as its paper says, every") else line


def make_json(folder: Path) -> list[Path]:
    """One of each kind of state."""
    (folder / "a.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": NaN}\n')
    write_json(folder / "a.json", {"Modality": "MR", "EchoTime": 0.08})
    config = config_to_dict(load_preset("copy/plain"))
    flags = {"data": "data", "fold": 0, "folds": 5, "scheme": "disjoint", "setting": 1}
    flags |= {"test_labels": [1], "exclusion": "any", "seed": 0}
    versions = {"dpcenet": "0", "torch": "2", "commit": "x"}
    head: dict[str, Any] = {"format": 1, "identity": "x", "data_hash": "y", "versions": versions}
    facts = {"precision": "float32", "preprocessing": {"modality": "mr"}, "labels": {"1": "liver"}}
    run = folder / "bench" / "runs" / "one"
    write_json(run / "run.json", {**head, "config": config, "flags": flags, **facts})
    write_json(run / "experiment.json", {"state": "done", "key": "k", "code": "c", "row": "copy"})
    write_json(run / "adapt.json", {"checks": [{"step": 0, "reverse": 0.5}], "kept": 0})
    rows = [{"run": "runs/one", "error": ""}]
    plan = {"title": "t", "command": "c", "versions": versions, "machine": "m", "experiments": rows}
    write_json(folder / "bench" / "plans" / "p.json", plan)
    case = {"arrays": {"image": "0"}, "spacing": [3, 1, 1], "record": _record()}
    write_json(folder / "data" / "cases" / "one" / "case.json", case)
    manifest = {"format": 1, "modality": "mr", "preprocessing": {}, "labels": {"1": "liver"}}
    write_json(folder / "data" / "manifest.json", {**manifest, "cases": {"one": {}}, "hash": "h"})
    quality = Quality(0.9, 0.8, 0.95, "accept", ("a",), None, True)
    save_case(folder / "out", ReviewedCase("q", "q_seg.nii", {"liver": quality}, {}, (0.1, 0.2)))
    mask = folder / "out" / "q_seg.nii"
    mask.write_bytes(b"mask")
    write_record(mask, {"query": "x"}, [mask], {"seconds": 1.0})
    label = Label(value=1, name="liver", colour="#00c2ff")
    write_json(folder / "work" / "project.json", {"labels": [label.model_dump()]})
    job = {"kind": "segment", "commands": [["x"]], "started": "2026-01-01T00:00:00+00:00"}
    write_json(folder / "work" / "jobs" / "1" / "job.json", {**job, "pid": 1, "born": "0"})
    found = sorted(path for path in folder.rglob("*.json*") if path.parent != folder)
    return [folder / "a.jsonl", folder / "a.json", *found]


def _record() -> dict[str, Any]:
    from dpcenet.volumes.preprocess import Preprocessing, preprocess

    volume = make_phantom((4, 24, 20), (6.0, 1.5, 1.5))[0]
    return preprocess(volume, Preprocessing.for_mr(size=32))[1].to_json()


def use_json(place: Path, out: Path) -> None:
    """As the commands and the page read them."""
    del out
    root = place.parent
    data, bench = root / "data", root / "bench"
    mask = root / "out" / "q_seg.nii"
    project = Project(root, root / "work")
    _all(
        lambda: read_log(place),
        lambda: sidecar_modality(root / "a.nii.gz"),
        lambda: open_run(bench / "runs" / "one"),
        lambda: state_of(bench / "runs" / "one"),
        lambda: kept_state(bench / "runs" / "one"),
        lambda: sections_of([bench]),
        lambda: [case.record for case in open_dataset(data).cases],
        lambda: [(case.spacing, case.labelled) for case in open_dataset(data).cases],
        lambda: (finished(mask, key_of({"query": "x"})), outputs_named_in(mask)),
        lambda: read_cases(root / "out"),
        lambda: project.labels,
        lambda: [(job.state, job.started) for job in all_jobs(project.root)],
    )


def _segmenter() -> Segmenter:
    return quick_segmenter(32)


def make_task(folder: Path) -> list[Path]:
    """A task of features, the facts of it, and a task of images."""
    segmenter = _segmenter()
    image, labels = make_phantom((4, 24, 20), (6.0, 1.5, 1.5))
    support = segmenter.support(image, labels)
    facts = write_task(folder / "features.task", segmenter.predictor, support)
    write_task(folder / "images.task", segmenter.predictor, support, images=True)
    (folder / "a.json").write_text(json.dumps(facts))
    return [folder / name for name in ("a.json", "features.task", "images.task")]


def use_task(place: Path, out: Path) -> None:
    """The files as they are, then changed facts and tensors under a right checksum."""
    files = [place.with_name(f"{name}.task") for name in ("features", "images")]
    predictor = _segmenter().predictor
    sealed = out / "sealed.task"
    text = place.read_text("utf-8", "replace")
    readers: list[Callable[[], object]] = []
    for path in files:
        readers += [lambda p=path: task_facts(p), lambda p=path: read_task(p, predictor)]
    as_images = text.replace('"closeups": []', '"closeups": null')
    change = place.parent.name != "valid"
    for path, facts in zip(files, (text, as_images), strict=True):
        readers.append(lambda p=path, f=facts: _seal(p, sealed, f, change))
        readers.append(lambda: read_task(sealed, predictor))
    sealed.unlink(missing_ok=True)
    _all(*readers)


def _seal(path: Path, sealed: Path, text: str, change: bool) -> None:
    """Write the tensors of a task, perhaps one of them changed, under the facts, with their sum."""
    tensors, metadata = load_tensors(path)
    random = Random(zlib.crc32(text.encode()))
    name = random.choice(sorted(tensors))
    if change and random.random() < 0.5:
        random.choice((_gone, _shorter, _flat, _other_type, _holes))(tensors, name)
    save_tensors(sealed, tensors, {**metadata, "facts": text, "sha256": _digest(text, tensors)})


def _gone(tensors: dict[str, torch.Tensor], name: str) -> None:
    del tensors[name]


def _shorter(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name][:1]


def _flat(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name].reshape(-1)


def _other_type(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name].to(torch.bfloat16)


def _holes(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = torch.full_like(tensors[name].float(), np.nan)


STATE_TARGETS = {
    "yaml": (make_yaml, use_yaml),
    "json": (make_json, use_json),
    "task": (make_task, use_task),
}
