"""Train the head of DPCENet that comes with the package, on made-up pairs only.

    python experiments/ship_dpcenet.py OUT [--steps 800] [--seed 0]

Writes OUT/dpcenet.safetensors (what was trained, without the trunk) and prints its sha256, which
belongs into `methods/dpcenet/weights.py`. Made scans only give the training its folder: no episode
is drawn from them.
"""

from __future__ import annotations

from pathlib import Path

import torch
import typer
from safetensors.torch import save_file

from dpcenet.evaluation.benchmark.phantom_data import write_phantom_data
from dpcenet.methods.dpcenet.weights import FILE
from dpcenet.system.environment import versions
from dpcenet.system.files import file_hash
from dpcenet.training.checkpoint import load_checkpoint
from dpcenet.training.config import load_preset
from dpcenet.training.run_folder import RunFlags
from dpcenet.training.train import train


def main(out: Path, steps: int = 800, seed: int = 0) -> None:
    torch.set_num_threads(1)
    changes = (
        "episodes.source=synthetic",
        "train.validation.every=0",
        f"train.steps={steps}",
        f"train.decay_every={max(1, steps // 4)}",
    )
    config = load_preset("dpcenet/own", changes)
    train(config, RunFlags(write_phantom_data(out, 4), seed=seed), out / "run", resume=True)
    checkpoint = load_checkpoint(out / "run")
    assert checkpoint is not None
    tensors = {
        name: value.half()
        for name, value in checkpoint.to_predict.model.items()
        if not name.startswith("encoder.")
    }
    made = {"steps": str(steps), "seed": str(seed), "commit": str(versions()["commit"])}
    save_file(tensors, out / FILE, made)
    typer.echo(f"{out / FILE}: {sum(t.numel() for t in tensors.values())} parameters")
    typer.echo(file_hash(out / FILE))


if __name__ == "__main__":
    typer.run(main)
