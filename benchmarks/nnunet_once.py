"""nnU-Net v2, trained on one labelled scan for some minutes on a CPU, and its masks of others.

    python benchmarks/nnunet_once.py FOLDER MINUTES SCAN LABELS QUERY ...

Its own planning, preprocessing, 2-D network, augmentation and learning rate; what differs is that
the training ends after the minutes, and that it validates nothing. Masks are FOLDER/found/N.nii.gz.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

NUMBER, TITLE, CONFIGURATION, ITERATIONS = 900, "Dataset900_once", "2d", 10


def main() -> None:
    """Plan, train, predict."""
    folder, minutes = Path(sys.argv[1]), float(sys.argv[2])
    scan, labels, *queries = map(Path, sys.argv[3:])
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    os.environ.update({"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"})
    write_raw(folder, scan, labels, queries)
    trained = train(folder, minutes)
    predict(trained, folder)


def write_raw(folder: Path, scan: Path, labels: Path, queries: list[Path]) -> None:
    """The data set of one case, and the queries, as nnU-Net wants them."""
    import numpy as np

    from dpcenet.volumes.io import read_volume
    from dpcenet.volumes.nnunet_raw import write_case, write_dataset

    image, drawn = read_volume(scan), read_volume(labels).volume.data
    values = [int(value) for value in np.unique(drawn) if value]
    raw = folder / "raw" / TITLE
    write_case(raw, "once", image.volume.data, drawn, values, image.grid)
    write_dataset(raw, [f"label{value}" for value in values], 1, ["mr"])
    (folder / "queries").mkdir()
    for n, query in enumerate(queries):
        shutil.copy(query, folder / "queries" / f"{n}_0000.nii.gz")


def train(folder: Path, minutes: float) -> Path:
    """Plan and train; the folder of the trained model."""
    import torch
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    api.extract_fingerprints([NUMBER], num_processes=1, check_dataset_integrity=True)
    api.plan_experiments([NUMBER])
    api.preprocess([NUMBER], configurations=(CONFIGURATION,), num_processes=(1,))
    plans, dataset = (read(folder / "preprocessed" / TITLE / name) for name in PLANS)
    plans["continue_training"] = False  # asked for since version 2.8
    trainer = nnUNetTrainer(plans, CONFIGURATION, "all", dataset, device=torch.device("cpu"))
    trainer.on_train_start()
    began, epoch = time.monotonic(), 0
    while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
        rate = trainer.initial_lr * (1 - share) ** 0.9  # nnU-Net's, by the share of the time
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate
        trainer.network.train()
        losses = [
            float(trainer.train_step(next(trainer.dataloader_train))["loss"])
            for _ in range(ITERATIONS)
        ]
        epoch += 1
        print(f"{epoch * ITERATIONS} iterations, loss {sum(losses) / len(losses):.3f}", flush=True)
    trainer.current_epoch = epoch
    trainer.save_checkpoint(str(Path(trainer.output_folder) / CHECKPOINT))
    return Path(trainer.output_folder_base)


def predict(trained: Path, folder: Path) -> None:
    """Masks of all queries."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=True, device=torch.device("cpu"), perform_everything_on_device=False
    )
    (folder / "found").mkdir()
    predictor.initialize_from_trained_model_folder(str(trained), ("all",), CHECKPOINT)
    predictor.predict_from_files_sequential(str(folder / "queries"), str(folder / "found"))


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    from dpcenet.system.files import read_json

    return read_json(path)


PLANS = ("nnUNetPlans.json", "dataset.json")
CHECKPOINT = "checkpoint_final.pth"


if __name__ == "__main__":
    main()
