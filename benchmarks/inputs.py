"""What the words in braces of the table of works stand for: scans, weights, sizes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from stages import cut_labels
from torch import nn

from dpcenet import Volume
from dpcenet.data.phantom.phantom import phantom, write_phantoms
from dpcenet.data.prepare import prepare
from dpcenet.nn.resnet import ResNet
from dpcenet.system.large_arrays import blocks, room_for
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.scan_file import SourceGrid

FIRST = {"chaos": "19", "ct": "1"}  # the labelled scan of a folder
SIXTY = "02"  # a query of 31 slices
Shape = tuple[int, int, int]
SHAPES: dict[str, tuple[Shape, Shape]] = {
    "long": ((1000, 512, 512), (40, 128, 128)),
    "many": ((360, 128, 128), (12, 128, 128)),
    "few": ((36, 128, 128), (6, 128, 128)),
}
"""Word in braces → voxels of a made scan, and when everything is small."""


@dataclass(frozen=True)
class Inputs:
    """What a person gives, and what is made of it.

    Attributes:
        place: folder for what is made.
        chaos, ct: folders of image_N.nii.gz and label_N.nii.gz.
        trunk: weights of a ResNet-50; without them weights are random.
        tiny: whether everything is made, and small.
    """

    place: Path
    chaos: Path | None
    ct: Path | None
    trunk: Path | None
    tiny: bool

    def words(self, name: str) -> str:
        """The words that a name in braces stands for; files are made where there is need.

        Raises:
            SystemExit: a folder of scans is needed.
        """
        return shlex.join(map(str, self.made()[name]()))

    def made(self) -> dict[str, Callable[[], list[Path | str]]]:
        """How the words of each name are made."""
        return {
            "set": lambda: [self._set()],
            **{made: lambda made=made: self._made(made) for made in SHAPES},
            "resnet50": lambda: [self._weights(50)],
            "resnet101": lambda: [self._weights(101)],
            "ct": lambda: self._served("ct", 1),
            "one": lambda: self._served("chaos", 1),
            "four": lambda: self._served("chaos", 4),
            "all": lambda: self._served("chaos", 100),
            "sixty": lambda: self._sixty(60),
            "own": lambda: self._sixty(0),
        }

    def _pairs(self, kind: str) -> list[tuple[Path, Path]]:
        """Scans and their labels, the labelled scan first."""
        folder = self._phantoms(kind) if self.tiny else {"chaos": self.chaos, "ct": self.ct}[kind]
        if folder is None:
            raise SystemExit(f"give --{kind} FOLDER with image_N.nii.gz and label_N.nii.gz")
        images = sorted(folder.glob("image_*.nii.gz"))
        if len(images) < 2:
            raise SystemExit(f"--{kind} {folder}: holds {len(images)} image_N.nii.gz; needs two")
        names = [path.name for path in images]
        first = f"image_{FIRST[kind]}.nii.gz"
        start = names.index(first) if first in names else 0
        turned = images[start:] + images[:start]
        return [(path, path.with_name(path.name.replace("image", "label"))) for path in turned]

    def _phantoms(self, kind: str) -> Path:

        folder = self.place / kind
        if not folder.exists():
            write_phantoms(folder, 2, shape=(8, 64, 64), spacing=(18.0, 4.0, 4.0))
        return folder

    def _served(self, kind: str, count: int) -> list[Path | str]:
        """A labelled scan, and at most so many others."""
        (image, mask), *others = self._pairs(kind)
        return served(image, mask, [query for query, _ in others[:count]])

    def _sixty(self, blocks: int) -> list[Path | str]:
        """One scan from as many labels, or from the labelled scan's own."""

        (image, mask), *others = self._pairs("chaos")
        if blocks:
            target = self.place / "sixty.nii.gz"
            mask = target if target.exists() else cut_labels(mask, blocks, target)
        thin = [query for query, _ in others if SIXTY in query.name] or [others[0][0]]
        return served(image, mask, thin[:1])

    def _set(self) -> Path:
        """A small prepared data set."""

        target = self.place / "set"
        if not target.exists():
            shape, size = ((6, 64, 64), 64) if self.tiny else ((10, 256, 256), 256)
            spacing = (60.0 / shape[0], 320.0 / size, 320.0 / size)
            write_phantoms(self.place / "raw", 2, shape=shape, spacing=spacing)
            prepare(self.place / "raw", target, changes={"size": size}, quiet=True)
        return target

    def _made(self, name: str) -> list[Path | str]:
        """A made scan of so many slices, and a labelled one of 36."""
        folder, query = self.place / "made", self.place / "made" / f"{name}.nii"
        ((image, mask),) = write_phantoms(folder, 1, shape=(36, 128, 128), spacing=(6, 2.5, 2.5))
        if not query.exists():
            write_long(query, SHAPES[name][self.tiny])
        return served(image, mask, [query])

    def _weights(self, depth: int) -> Path:
        """A ResNet's weights: those given, and blocks that add nothing where they have none."""

        target = self.place / f"resnet{depth}.safetensors"
        if not target.exists():
            torch.manual_seed(0)
            trunk = ResNet(depth, "os8", ("layer4",))
            given = {k: v.float() for k, v in load_file(self.trunk).items()} if self.trunk else {}
            missing, _ = trunk.load_state_dict(given, strict=False)
            for name in missing:
                if name.endswith("bn3.weight"):
                    nn.init.zeros_(trunk.get_parameter(name))
            save_file({k: v.contiguous() for k, v in trunk.state_dict().items()}, target)
        return target


def served(image: Path, mask: Path, queries: list[Path]) -> list[Path | str]:
    """Words of a command that segments some scans from a labelled one."""
    return ["--support-image", image, "--support-mask", mask, *queries]


def write_long(path: Path, shape: Shape) -> None:
    """One patient in many thin slices of whole numbers, written slice by slice."""

    side, grow = 128, shape[1] // 128
    image = phantom(2, (shape[0], side, side), (216.0 / shape[0], 2.5, 2.5))[0]
    affine = image.affine @ np.diag([1, 1 / grow, 1 / grow, 1])
    data = room_for((shape[0], side * grow, side * grow), np.int16)
    for part in blocks(data):
        few = np.round(image.data[part]).astype(np.int16)
        data[part] = few.repeat(grow, axis=1).repeat(grow, axis=2)
    write_nifti(data, path, SourceGrid.of(Volume(data, affine)))
