"""Small made data for tests: prepared data sets written straight into the store's layout."""

from __future__ import annotations

import atexit
import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from safetensors.torch import save_file

from dpcenet.methods.dpcenet.options import Options
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.resnet import ResNet
from dpcenet.system.files import file_hash, hash_of
from dpcenet.training.config import Config, TrainOptions
from dpcenet.training.episodes import EpisodeOptions
from dpcenet.types import Volume
from dpcenet.volumes.preprocess import Preprocessing, preprocess

LABELS = {1: "liver", 2: "kidney"}
SHAPE = (9, 64, 64)
AFFINE = np.diag([5.0, -1.5, -1.5, 1.0])[[2, 1, 0, 3]]


def made_scan(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, label and supervoxels (9, 64, 64): a body with two organs and a spine."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    shift = random.uniform(-4, 4, size=2)
    image = random.normal(0, 5, SHAPE)
    label = np.zeros(SHAPE, np.uint8)
    supervoxels = np.zeros(SHAPE, np.uint16)
    ellipse = ((y - 32) / 26) ** 2 + ((x - 32) / 30) ** 2 < 1
    image[ellipse] += 100
    supervoxels[ellipse] = 1
    for value, (cy, cx, radius, grey) in enumerate(
        [(26, 20, 10, 80), (38, 44, 6, 160), (44, 31, 5, -60)], start=1
    ):
        inside = (y - cy - shift[0]) ** 2 + (x - cx - shift[1]) ** 2 < radius**2
        inside &= (z >= 2) & (z < 8)
        image[inside] += grey
        supervoxels[inside] = value + 1
        if value in LABELS:
            label[inside] = value
    return image.astype(np.float32), label, supervoxels


def moved(volume: Volume, permutation: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same volume stored in another order."""
    data = np.transpose(volume.data, permutation)
    affine = volume.affine[:, [*permutation, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            data = np.flip(data, axis)
            affine[:, 3] += affine[:, axis] * (data.shape[axis] - 1)
            affine[:, axis] *= -1
    return Volume(np.ascontiguousarray(data), affine)


def write_prepared(folder: Path, count: int = 7, labelled: bool = True) -> Path:
    """A prepared data set of made scans, without preparing anything."""
    cases = {}
    for seed in range(count):
        name = f"case{seed}"
        image, label, supervoxels = made_scan(seed)
        volume = Volume(image, AFFINE)
        rules = Preprocessing.for_mr(size=64, spacing_mm=1.5, overflow="crop")
        prepared, record = preprocess(volume, rules)
        arrays = {
            "image": prepared.image,
            "supervoxels": supervoxels,
            "superpixels": supervoxels,
        }
        if labelled:
            arrays["label"] = label
        place = folder / "cases" / name
        place.mkdir(parents=True)
        for key, array in arrays.items():
            np.save(place / f"{key}.npy", array)
        cases[name] = {key: file_hash(place / f"{key}.npy") for key in arrays}
        facts = {"arrays": cases[name], "spacing": prepared.spacing, "record": record.to_json()}
        (place / "case.json").write_text(json.dumps(facts))
    manifest = {
        "format": 1,
        "modality": "mr",
        "preprocessing": {"modality": "mr", "size": 64, "spacing_mm": 1.5},
        "labels": {str(k): v for k, v in LABELS.items()},
        "cases": cases,
    }
    manifest["hash"] = hash_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@cache
def tiny_trunk() -> str:
    """A file of a ResNet-18 that was never trained: a frozen trunk needs a file."""
    folder = Path(mkdtemp(prefix="dpcenet-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    torch.manual_seed(0)
    save_file(ResNet(18, "os8", ("layer2",)).state_dict(), folder / "trunk.safetensors")
    return str(folder / "trunk.safetensors")


def tiny_config(steps: int = 6, frozen: bool = False, views: int = 0) -> Config:
    """A DPCENet that trains in milliseconds."""
    return Config(
        method="dpcenet",
        preset="tiny",
        options=Options(
            encoder=EncoderOptions("resnet18", "os8", ("layer1",), frozen, tiny_trunk()),
            width=8,
            attention="normalised",
            decoder_width=4,
            cosine_scale=20.0,
        ),
        episodes=EpisodeOptions(min_area=20, views=views),
        train=TrainOptions(
            steps=steps, learning_rate=0.01, log_every=1, checkpoint_every=2, precision="float32"
        ),
    )
