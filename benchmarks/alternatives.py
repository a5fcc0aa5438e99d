"""What a person with one labelled scan may do instead: register scans, or train nnU-Net."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpcenet.system.files import read_json
from dpcenet.volumes.geometry import on_grid, orient
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.nnunet_raw import write_case, write_dataset
from dpcenet.volumes.registration import RegistrationOptions, carry_labels

NUMBER, TITLE, CONFIGURATION, ITERATIONS = 900, "Dataset900_once", "2d", 10
CHECKPOINT = "checkpoint_final.pth"
Labelled = tuple[Path, Path]


def register(folder: Path, labelled: Labelled, queries: Sequence[Path]) -> list[Path]:
    """The labels of the labelled scan, carried over by registering it with each query."""
    scan, mask = (read_volume(path).volume for path in labelled)
    moving, _ = orient(scan)
    drawn, _ = orient(on_grid(mask, scan, labelled[1]), moving.affine)
    options = RegistrationOptions(threads=int(os.environ.get("OMP_NUM_THREADS", "1")))
    found = [folder / f"{n}.nii.gz" for n in range(len(queries))]
    for path, target in zip(queries, found, strict=True):
        query = read_volume(path)
        fixed, orientation = orient(query.volume, moving.affine)
        images = [each.data.astype(np.float32) for each in (moving, fixed)]
        spacings = moving.spacing, fixed.spacing
        carried = carry_labels(drawn.data.astype(np.int16), *images, spacings, options)
        write_nifti(orientation.invert(carried), target, query.grid)
    return found


def nnunet(folder: Path, labelled: Labelled, queries: Sequence[Path], minutes: float) -> list[Path]:
    """nnU-Net v2, trained on the labelled scan alone for some minutes on a CPU.

    Planning, preprocessing, 2-D network, augmentation and learning rate are its own; what differs
    is that the training ends after the minutes, and that it validates nothing.

    Raises:
        SystemExit: its package is not installed.
    """
    if find_spec("nnunetv2") is None:
        raise SystemExit("nnunetv2 is not installed: pip install nnunetv2")
    for name in ("raw", "preprocessed", "results", "queries", "found"):
        (folder / name).mkdir()
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    os.environ.update({"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"})
    scan, drawn = (read_volume(path) for path in labelled)
    values = [int(value) for value in np.unique(drawn.volume.data) if value]
    raw = folder / "raw" / TITLE
    write_case(raw, "once", scan.volume.data, drawn.volume.data, values, scan.grid)
    write_dataset(raw, [f"label{value}" for value in values], 1, ["mr"])
    for n, query in enumerate(queries):
        shutil.copy(query, folder / "queries" / f"{n}_0000.nii.gz")
    _predict(_trained(folder, minutes), folder)
    return [folder / "found" / f"{n}.nii.gz" for n in range(len(queries))]


WAYS: dict[str, Callable[..., list[Path]]] = {"register": register, "nnunet": nnunet}


def _trained(folder: Path, minutes: float) -> Path:
    """Plan and train; the folder of the trained model."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    api.extract_fingerprints([NUMBER], num_processes=1, check_dataset_integrity=True)
    api.plan_experiments([NUMBER])
    api.preprocess([NUMBER], configurations=(CONFIGURATION,), num_processes=(1,))
    prepared = folder / "preprocessed" / TITLE
    plans, dataset = read_json(prepared / "nnUNetPlans.json"), read_json(prepared / "dataset.json")
    plans["continue_training"] = False  # asked for since version 2.8
    trainer: Any = nnUNetTrainer(plans, CONFIGURATION, "all", dataset, device=torch.device("cpu"))
    trainer.on_train_start()
    began, epoch = time.monotonic(), 0
    while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in trainer.optimizer.param_groups:  # nnU-Net's rate, by the share of the time
            group["lr"] = trainer.initial_lr * (1 - share) ** 0.9
        trainer.network.train()
        for _ in range(ITERATIONS):
            trainer.train_step(next(trainer.dataloader_train))
        epoch += 1
    trainer.current_epoch = epoch
    trainer.save_checkpoint(str(Path(trainer.output_folder) / CHECKPOINT))
    return Path(trainer.output_folder_base)


def _predict(trained: Path, folder: Path) -> None:
    """Masks of all queries."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    cpu: dict[str, Any] = {"device": torch.device("cpu"), "perform_everything_on_device": False}
    predictor = nnUNetPredictor(use_mirroring=True, **cpu)
    predictor.initialize_from_trained_model_folder(str(trained), ("all",), CHECKPOINT)
    predictor.predict_from_files_sequential(str(folder / "queries"), str(folder / "found"))
