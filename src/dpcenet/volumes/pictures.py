"""Stacks of PNG, JPEG or TIFF pictures as a volume; a person says how far apart pixels lie.

Pictures do not say how the patient lies. They are taken as axial slices from feet to head in the
order of their names, rows to the back and columns to the left; masks come back on the same grid.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence

from dpcenet.errors import DpcenetError, VolumeError
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.scan_file import AS_IT_IS, Facts, ReadOptions, ScanFile, SourceGrid

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MOST_PAGES = 10_000
_PIXELS_IN_A_BYTE = 10_000
"""No picture's compression holds more."""
_ALWAYS_PIXELS = 1 << 24
"""So many are allowed whatever the file's size."""
SIDE = "pictures do not say how the patient lies: left and right are a guess"
_COUNTED = 4
"""Pictures from which on their names say something of their number."""
_REGULAR = 0.7
"""Part of the steps from name to name that are alike where names count."""
_GREY = ("1", "L", "P", "I", "F", "I;16", "I;16B", "I;16L")
_PHOTOMETRIC = 262
"""TIFF's tag that says whether 0 is black or white."""
_COLOUR = ("RGB", "RGBA", "LA", "PA")


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names, with "2" before "10".

    Raises:
        VolumeError: the folder cannot be read.
    """
    try:
        found = [each for each in folder.iterdir() if not each.name.startswith(".")]
        return sorted(
            (each for each in found if is_picture(each) and each.is_file()),
            key=lambda each: natural(each.name),
        )
    except OSError as error:
        found_ = f"the folder cannot be read ({error.strerror})"
        raise VolumeError(
            folder, found_, "a folder of pictures", "Check its permissions."
        ) from error


def is_picture(path: Path) -> bool:
    """Whether a name ends like a picture's."""
    return path.suffix.lower() in SUFFIXES


def read_pictures(
    path: Path, max_bytes: int = payload.MAX_BYTES, options: ReadOptions = AS_IT_IS
) -> ScanFile:
    """Read a stack of pictures.

    Args:
        path: a folder of them, a TIFF of several pages, or one picture, which is one slice.
        max_bytes: cap on the voxels.
        options: the spacing in mm, without which there is no volume.

    Returns:
        (Z, Y, X) in the pictures' type.

    Raises:
        VolumeError: no spacing, pictures of several sizes, colours, or a damaged file.
    """
    if options.spacing is None:
        raise VolumeError(
            path,
            "pictures do not say how far apart their pixels lie",
            "a spacing in mm: from slice to slice, row to row and column to column",
            "Give --spacing Z,Y,X, or better the DICOM series that they were made from.",
        )
    files = pictures_in(path) if path.is_dir() else [path]
    planes = _planes(files, path, max_bytes, indices=False)
    volume = Volume(planes, _affine(options.spacing, path))
    return ScanFile(volume, SourceGrid.of(volume), facts=Facts(notes=(SIDE, *missing_in(files))))


def missing_in(files: list[Path]) -> list[str]:
    """A note where the names count their pictures and leave a number out: a slice may be missing.

    Args:
        files: in the order of their names.
    """
    found = [re.findall(r"\d+", file.stem) for file in files]
    if len(files) < _COUNTED or not all(found):
        return []
    numbers = [int(each[-1]) for each in found]
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    usual = max(set(steps), key=steps.count)
    wide = [at for at, step in enumerate(steps) if step > usual]
    if usual < 1 or not wide or steps.count(usual) < _REGULAR * len(steps):
        return []
    between = f"{files[wide[0]].name} and {files[wide[0] + 1].name}"
    more = f", and at {counted(len(wide) - 1, 'more place')}" if len(wide) > 1 else ""
    return [
        f"is a picture missing between {between}{more}? The names jump there, and all pictures "
        "count as equally far apart"
    ]


def stack_of(path: Path, max_bytes: int = payload.MAX_BYTES) -> npt.NDArray[Any]:
    """The pictures of a mask, which has the place of its scan: (Z, Y, X).

    Raises:
        VolumeError: as `read_pictures`, but for the spacing.
    """
    files = pictures_in(path) if path.is_dir() else [path]
    return _planes(files, path, max_bytes, indices=True)


def _planes(files: list[Path], path: Path, max_bytes: int, indices: bool) -> npt.NDArray[Any]:
    planes: list[npt.NDArray[Any]] = []
    size = 0
    for file in files:
        payload.check_file(file)
        for plane in _pages(file, max_bytes - size, indices):
            if planes and plane.shape != planes[0].shape:
                found = f"it is {plane.shape}, and {files[0].name} is {planes[0].shape} pixels"
                raise VolumeError(file, found, "pictures of one size", "Leave the odd one out.")
            if planes and plane.dtype != planes[0].dtype:  # 8 and 16 bits are two scales of grey
                found = f"its values are {plane.dtype}, in {files[0].name} {planes[0].dtype}"
                raise VolumeError(file, found, "one kind of pictures", "Leave the odd one out.")
            planes.append(plane)
            size += plane.nbytes
    if not planes:
        raise VolumeError(path, "no picture in it", "a stack of pictures", "Check the path.")
    return np.stack(planes)


def _pages(file: Path, left: int, indices: bool) -> Iterator[npt.NDArray[Any]]:
    """The pages of a picture, each (Y, X)."""
    most = max(_ALWAYS_PIXELS, _PIXELS_IN_A_BYTE * file.stat().st_size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warning of large pictures: bounded here
            with (
                payload.BoundedFile(file) as stream,
                Image.open(stream, formats=("PNG", "JPEG", "TIFF")) as picture,
            ):
                for number, page in enumerate(ImageSequence.Iterator(picture)):
                    width, height = page.size
                    left -= width * height * 4
                    most -= width * height
                    if min(left, most) < 0 or number >= MOST_PAGES:
                        found = f"{width} × {height} pixels on page {number + 1}"
                        raise VolumeError(file, found, "a smaller stack", "Crop or split it.")
                    yield _grey(page, file, indices)
    except (DpcenetError, MemoryError):
        raise
    except Exception as error:  # Pillow meets SyntaxError, struct.error, zlib.error and others
        found = f"the picture cannot be read ({' '.join(str(error).split())[:200]})"
        raise VolumeError(file, found, "a PNG, JPEG or TIFF", payload.COPY_AGAIN) from error


def _grey(page: Image.Image, file: Path, indices: bool) -> npt.NDArray[Any]:
    """The values of a page; of a palette its indices, as masks are saved, or its greys."""
    if page.mode in ("P", "PA") and not indices:
        page = page.convert("RGBA" if page.mode == "PA" else "RGB")
    pixels = np.array(page)
    if page.mode.startswith("I;16") and getattr(page, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        return np.iinfo(np.uint16).max - pixels  # 0 is white, which Pillow turns in 8 bits alone
    if page.mode in _GREY:
        return pixels.astype(np.uint8) if page.mode == "1" else pixels
    if page.mode in _COLOUR:
        colours = pixels[..., : 1 if page.mode in ("LA", "PA") else 3]
        if (colours == colours[..., :1]).all():
            return np.ascontiguousarray(colours[..., 0])
    raise VolumeError(file, f"the picture is coloured ({page.mode})", "grey values", "Convert it.")


def _affine(spacing: tuple[float, float, float], path: Path) -> npt.NDArray[np.float64]:
    if not all(0 < mm < 1000 for mm in spacing):
        raise VolumeError(path, f"--spacing {spacing}", "millimetres above 0", "Check it.")
    z, y, x = spacing
    axes = [[0.0, 0.0, -x, 0.0], [0.0, -y, 0.0, 0.0], [z, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    return np.array(axes)


def natural(name: str) -> list[tuple[int, str]]:
    """A key by which "slice 2" comes before "slice 10"."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part]
