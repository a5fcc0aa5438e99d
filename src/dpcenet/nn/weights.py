"""Files of pretrained weights: read, check, fit, and (only when asked) download.

A file fits a network when both have the same tensors, by name and shape. The caller names the
exceptions, and the report lists those that occurred.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from pickle import UnpicklingError

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from dpcenet.errors import WeightsError
from dpcenet.system.assets import asset
from dpcenet.system.files import file_hash

# A step counter of batch norm: older official files lack it, and it changes no output.
COUNTER = "num_batches_tracked"
NAMES_SHOWN = 8


@dataclass(frozen=True)
class OfficialFile:
    """A weight file that its makers publish.

    Attributes:
        url: where.
        sha256_prefix: the first 8 hexadecimal digits of the file's SHA-256.
        licence: the terms, in words.
    """

    url: str
    sha256_prefix: str
    licence: str


_TERMS = (
    "Published by torchvision (BSD-3-Clause). Trained on {data}: the data's terms may bind the "
    "weights too, and whoever uses them must see whether they may."
)
_IMAGENET = _TERMS.format(data="ImageNet-1k (images for non-commercial research)")
_COCO = _TERMS.format(data="COCO train2017 after ImageNet-1k (images for non-commercial research)")
_ROOT = "https://download.pytorch.org/models/"

OFFICIAL: dict[str, OfficialFile] = {
    "deeplabv3_resnet101_coco": OfficialFile(
        _ROOT + "deeplabv3_resnet101_coco-586e9e4e.pth", "586e9e4e", _COCO
    ),
    "resnet101": OfficialFile(_ROOT + "resnet101-63fe2227.pth", "63fe2227", _IMAGENET),
    "resnet50": OfficialFile(_ROOT + "resnet50-0676ba61.pth", "0676ba61", _IMAGENET),
    "resnet34": OfficialFile(_ROOT + "resnet34-b627a593.pth", "b627a593", _IMAGENET),
    "resnet18": OfficialFile(_ROOT + "resnet18-f37072fd.pth", "f37072fd", _IMAGENET),
    "vgg16": OfficialFile(_ROOT + "vgg16-397923af.pth", "397923af", _IMAGENET),
}


@dataclass(frozen=True)
class LoadReport:
    """The exceptions that occurred in `load_weights`.

    Attributes:
        ignored: names in the file that were not used.
        kept: names in the network that the file lacks; they keep their values.
    """

    ignored: tuple[str, ...]
    kept: tuple[str, ...]


def load_weights(
    module: nn.Module,
    path: Path | str,
    *,
    prefix: str = "",
    rename: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> LoadReport:
    """Copy a file's tensors into the network; half precision becomes the network's precision.

    Args:
        module: the network; untouched when the file does not fit.
        path: a local `.safetensors`, `.pth` or `.pt` file.
        prefix: taken off the names that start with it, such as "backbone.".
        rename: name in the file (after the prefix is off) → name in the network.
        ignore: beginnings of names (after renaming) in the file that are not wanted.
        keep: beginnings of names in the network that the file may lack.

    Returns:
        What was ignored and what was kept.

    Raises:
        WeightsError: the file cannot be read, or a tensor is missing, unexpected, of another
            shape or kind, or not finite.
    """
    renamed = _rename(read_tensors(path), prefix, rename or {}, path)
    ignored = tuple(name for name in renamed if name.startswith(tuple(ignore)))
    given = {name: tensor for name, tensor in renamed.items() if name not in ignored}
    own = module.state_dict()
    absent = [name for name in own if name not in given and not name.endswith(COUNTER)]
    kept = tuple(name for name in absent if name.startswith(tuple(keep)))
    faults = {
        "missing in the file": [name for name in absent if name not in kept],
        "not in the network": [name for name in given if name not in own],
        "of another shape or kind": [
            _difference(name, given[name], own[name])
            for name in given
            if name in own and not _alike(given[name], own[name])
        ],
        "with numbers that are not finite": [
            name for name, tensor in given.items() if not bool(torch.isfinite(tensor).all())
        ],
    }
    found = [f"{len(names)} {fault} ({_some(names)})" for fault, names in faults.items() if names]
    if found:
        raise WeightsError(f"{path} does not fit {type(module).__name__}: {'; '.join(found)}")
    # Everything was matched above; not strict only because of the counters and what is kept.
    module.load_state_dict(given, strict=False)
    return LoadReport(ignored, kept)


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The named tensors of a `.safetensors`, `.pth` or `.pt` file, on the CPU. Runs no code of it.

    Raises:
        WeightsError: no such file, another type, damaged, or anything but named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            content: object = safetensors.torch.load_file(path)
        elif path.suffix in (".pth", ".pt"):
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise WeightsError(f"{path}: expected a file ending in .safetensors, .pth or .pt")
    except (
        safetensors.SafetensorError,
        UnpicklingError,
        zipfile.BadZipFile,
        OSError,
        EOFError,
        KeyError,
        RuntimeError,
        ValueError,
    ) as error:
        raise WeightsError(f"{path}: damaged, or not a plain file of tensors: {error}") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: holds a {type(content).__name__}; expected named tensors")
    others = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        raise WeightsError(f"{path}: expected named tensors only, found {_some(others) or 'none'}")
    return {str(name): value.detach() for name, value in content.items()}


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        return file_hash(Path(path))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error


def package_file(name: str, sha256: str) -> AbstractContextManager[Path]:
    """A file of weights that comes with the package, as a file on disk.

    Raises:
        WeightsError: not the file that this version was made with.
    """
    with resources.as_file(asset(f"models/{name}")) as path:
        if sha256_of(path) != sha256:
            raise WeightsError(f"{name}: not the weights of this version; reinstall the package")
    return resources.as_file(asset(f"models/{name}"))


def hash_of_state(module: nn.Module) -> str:
    """sha256 of a module's weights and buffers, by name; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def download(name: str, folder: Path | str) -> Path:
    """Fetch an official file; the only function of this package that uses a network.

    The file gets its name only after its hash was verified. One that is there and right is left.

    Args:
        name: a key of `OFFICIAL`.
        folder: where to put it; made where absent.

    Returns:
        The file's path.

    Raises:
        WeightsError: an unknown name, no connection, or a wrong hash. Nothing is left behind.
    """
    if name not in OFFICIAL:
        raise WeightsError(f"no official weights named {name!r}; there are {sorted(OFFICIAL)}")
    source, folder = OFFICIAL[name], Path(folder)
    target = folder / source.url.rsplit("/", 1)[-1]
    if target.is_file() and sha256_of(target).startswith(source.sha256_prefix):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            source.url, str(target), source.sha256_prefix, progress=False
        )
    except (OSError, HTTPException) as error:
        raise WeightsError(
            f"{source.url}: download failed ({error}); fetch it elsewhere and give its path"
        ) from error
    except RuntimeError as error:  # a wrong hash; the file is deleted already
        raise WeightsError(f"{source.url}: damaged or replaced on its way: {error}") from error
    return target


def _rename(
    tensors: Mapping[str, Tensor], prefix: str, rename: Mapping[str, str], path: Path | str
) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(prefix)
        bare = rename.get(bare, bare)
        if bare in result:
            raise WeightsError(f"{path}: two tensors are named {bare!r} without {prefix!r}")
        result[bare] = tensor
    return result


def _alike(given: Tensor, own: Tensor) -> bool:
    # An integer tensor is a quantised one here: copying it would give wrong weights.
    return given.shape == own.shape and given.is_floating_point() == own.is_floating_point()


def _difference(name: str, given: Tensor, own: Tensor) -> str:
    return f"{name}: {tuple(given.shape)} {given.dtype} instead of {tuple(own.shape)} {own.dtype}"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
