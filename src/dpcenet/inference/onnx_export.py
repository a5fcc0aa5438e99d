"""The in-context network as two ONNX files: one encodes slices, one compares them.

OUT/encoder.onnx   images (slices, 1, H, W) → five maps
OUT/matcher.onnx   masks (shots, H, W), maps of the support, maps of the queries → probability
OUT/network.json   names and shapes of all inputs and outputs, and the weights they came from

H×W is fixed when they are written; the numbers of slices, shots and queries are free. The files
hold the network alone: preprocessing, alignment and second look are in `inference.predictor`.
"""

# onnxruntime and onnxscript have few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import dpcenet
from dpcenet.errors import ConfigError
from dpcenet.methods.base import Method
from dpcenet.methods.incontext.model import InContext
from dpcenet.nn.weights import hash_of_state
from dpcenet.system.files import write_atomically, write_json
from dpcenet.types import Features

MAPS = ("fine", "middle", "coarse", "deep", "key")
TOLERANCE = 1e-4
"""Largest difference from torch: of the maps as a share of a map's largest value, and of the
probability."""


class SliceEncoder(nn.Module):
    """Images (B, 1, H, W) to the network's maps, in the order of `MAPS`."""

    def __init__(self, network: InContext) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.network.encode(images)
        return tuple(features[name] for name in MAPS)


class SliceMatcher(nn.Module):
    """Masks (Sh, H, W), the five maps of Sh supports and of N queries, to probability (N, H, W)."""

    def __init__(self, network: InContext) -> None:
        super().__init__()
        self.network = network

    def forward(self, masks: Tensor, *maps: Tensor) -> Tensor:
        support = Features(dict(zip(MAPS, maps[: len(MAPS)], strict=True)))
        query = Features(dict(zip(MAPS, maps[len(MAPS) :], strict=True)))
        return self.network.match(support, masks, query).log_probs[:, 1].exp()


def as_incontext(method: Method) -> InContext:
    """The method, if it is the in-context network.

    Raises:
        ConfigError: it is another one.
    """
    if not isinstance(method, InContext):
        raise ConfigError(
            f"{type(method).__name__}: only the in-context network can be exported; leave out "
            "--run, or give a run of `dpcenet adapt`"
        )
    return method


def export_programs(network: InContext, size: int) -> tuple[ExportedProgram, ExportedProgram]:
    """Encoder and matcher as programs of torch.export.

    Args:
        network: in evaluation mode, float32, on the CPU.
        size: pixels of a slice's side.
    """
    images, masks = torch.zeros(3, 1, size, size), torch.zeros(3, size, size)
    encoder = SliceEncoder(network)
    slices, shots, queries = (Dim(name, min=1) for name in ("slices", "shots", "queries"))
    with torch.no_grad(), _quiet():
        maps = encoder(images)
        # Different numbers of supports and queries, or torch takes them for one number.
        arguments = (masks, *maps, *(each[:2] for each in maps))
        free = tuple({0: dim} for dim in (shots, queries) for _ in MAPS)
        return (
            torch.export.export(encoder, (images,), dynamic_shapes={"images": {0: slices}}),
            torch.export.export(
                SliceMatcher(network),
                arguments,
                dynamic_shapes={"masks": {0: shots}, "maps": free},
            ),
        )


def write_onnx(network: InContext, out: Path, size: int) -> float:
    """Write both files and network.json, and compare them with torch.

    Args:
        network: in evaluation mode.
        out: folder.
        size: pixels of a slice's side; those of prepared slices are 256.

    Returns:
        the largest difference from torch, as in `TOLERANCE`.

    Raises:
        ConfigError: what onnxruntime computes differs from torch by more than that.
    """
    encoder, matcher = export_programs(network.float().cpu(), size)
    both = [f"{side}_{name}" for side in ("support", "query") for name in MAPS]
    _write(encoder, out / "encoder.onnx", ["images"], list(MAPS))
    _write(matcher, out / "matcher.onnx", ["masks", *both], ["probability"])
    worst = largest_difference(network, out, size)
    if not worst <= TOLERANCE:
        for name in ("encoder.onnx", "matcher.onnx"):
            (out / name).unlink()
        raise ConfigError(
            f"{out}: onnxruntime differs from torch by {worst:.1e} (at most {TOLERANCE:.0e}), so "
            "nothing was kept; try other versions of torch, onnxscript and onnxruntime"
        )
    write_json(out / "network.json", _facts(network, size, worst))
    return worst


def largest_difference(network: InContext, folder: Path, size: int) -> float:
    """How far onnxruntime is from torch on random slices with a square as the organ, with other
    numbers of slices than those that the files were made with; see `TOLERANCE`."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(7, 1, size, size, generator=draw)
    masks = torch.zeros(2, size, size)
    masks[:, size // 4 : size // 2, size // 3 : size // 2] = 1
    with torch.no_grad():
        maps = SliceEncoder(network)(images)
        chosen = [*(m[:2] for m in maps), *(m[2:] for m in maps)]
        wanted = SliceMatcher(network)(masks, *chosen)
    found = run_onnx(folder / "encoder.onnx", [images])
    (answer,) = run_onnx(folder / "matcher.onnx", [masks, *chosen])
    differences = [
        float((one - other).abs().max() / other.abs().max())
        for one, other in zip(found, maps, strict=True)
    ]
    return max(*differences, float((answer - wanted).abs().max()))


def run_onnx(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What onnxruntime computes on the CPU; inputs and outputs in the order of the file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return [torch.from_numpy(np.asarray(each)) for each in session.run(None, feed)]


def _write(program: ExportedProgram, path: Path, inputs: list[str], outputs: list[str]) -> None:
    with _quiet():
        exported = torch.onnx.export(
            program,
            input_names=inputs,
            output_names=outputs,
            custom_translation_table={
                torch.ops.aten._adaptive_avg_pool2d.default: _pool,
                torch.ops.aten._upsample_bilinear2d_aa.default: _resize,
                torch.ops.aten.group_norm.default: _norm,
            },
            verbose=False,
        )
    assert exported is not None
    write_atomically(path, lambda part: exported.save(part, external_data=False))


def _pool(x: Any, size: Sequence[int]) -> Any:
    """Adaptive average pooling; ONNX has no operator for it."""
    return _along_both(x, size, F.adaptive_avg_pool1d)


def _resize(x: Any, size: Sequence[int], _align: bool, *_scales: Any) -> Any:
    """Resizing with antialiasing; ONNX's own operator is supported by few programs."""

    def rows(eye: Tensor, n: int) -> Tensor:
        whole = eye[None, None]
        return F.interpolate(whole, [len(eye), n], mode="bilinear", antialias=True)[0, 0]

    return _along_both(x, size, rows)


def _norm(x: Any, groups: int, weight: Any, bias: Any, eps: float, *_rest: Any) -> Any:
    """Group norm of one group; the instance norm that torch would write loses digits, because
    onnxruntime adds all voxels of an image one by one."""
    from onnxscript import opset20 as op

    assert groups == 1
    deviation = op.Sub(x, _mean(x))
    variance = _mean(op.Mul(deviation, deviation))
    unit = op.Div(deviation, op.Sqrt(op.Add(variance, op.Constant(value_float=eps))))
    per_channel = op.Constant(value_ints=[1, -1, 1, 1])
    return op.Add(op.Mul(unit, op.Reshape(weight, per_channel)), op.Reshape(bias, per_channel))


def _mean(x: Any) -> Any:
    """Mean of each image (B, C, H, W), axis by axis: short sums lose no digits."""
    from onnxscript import opset20 as op

    for axis in (3, 2, 1):
        x = op.ReduceMean(x, op.Constant(value_ints=[axis]))
    return x


def _along_both(x: Any, size: Sequence[int], of: Callable[[Tensor, int], Tensor]) -> Any:
    """A linear map along rows and columns as two products with the matrices that torch itself
    makes of the identity; `of` maps (n, n) to (n, size)."""
    from onnx import numpy_helper
    from onnxscript import opset20 as op

    rows, columns = (
        of(torch.eye(int(whole)), int(part)).numpy()
        for whole, part in zip(x.shape[-2:], size, strict=True)
    )
    left = op.Constant(value=numpy_helper.from_array(np.ascontiguousarray(rows.T)))
    right = op.Constant(value=numpy_helper.from_array(np.ascontiguousarray(columns)))
    return op.MatMul(op.MatMul(left, x), right)


def _facts(network: InContext, size: int, worst: float) -> dict[str, Any]:
    """What a program needs to know to call the files."""
    return {
        "made_by": f"dpcenet {dpcenet.__version__}",
        "weights_sha256": hash_of_state(network),
        "slice_pixels": size,
        "encoder": {"images": ["slices", 1, size, size], "maps": list(MAPS)},
        "matcher": {
            "masks": ["shots", size, size],
            "support": [f"support_{name}" for name in MAPS],
            "query": [f"query_{name}" for name in MAPS],
            "probability": ["queries", size, size],
        },
        "largest_difference_from_torch": worst,
        "use": "Research use only, not a medical device.",
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch says of its own parts and of packages that the network does not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
