"""The engine's devices, each against doing without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from measure import in_pairs, timed
from reference_loops.base import average
from torch import Tensor, nn

from dpcenet.inference.batched import BATCH, encode_slices, extract
from dpcenet.methods.registry import build_method
from dpcenet.nn.attention import attend, pooled_attention
from dpcenet.nn.pooling import mean_prototype
from dpcenet.training.config import load_preset

Call = Callable[..., Any]
COMPILED = "one block of the trunk compiled"


def ablate(pairs: int) -> dict[str, Any]:
    """A row for each device: milliseconds with it and without it."""
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    compiling = 0.0
    with torch.no_grad():
        for name, (used, without, units) in _cases().items():
            first, _ = timed(used)  # warms up
            compiling = first if name == COMPILED else compiling
            pair = in_pairs(used, without, units, pairs)
            rows.append(
                {
                    "device": name,
                    "ms with": 1000 * pair.ours,
                    "ms without": 1000 * pair.theirs,
                    "ratio": pair.ratio,
                    "CPU ratio": pair.cpu_ratio,
                }
            )
    return {
        "title": "Each device switched off",
        "says": f"ResNet-50 at 32x32, DPCENet's width at 64x64; medians of {pairs} pairs. "
        f"Compiling one block took {compiling:.0f} s and pays after {_pays(compiling, rows)}: the "
        "package does not compile.",
        "rows": rows,
    }


def _pays(seconds: float, rows: list[dict[str, Any]]) -> str:
    """After how many slices what was compiled has saved the time of compiling."""
    row = next(row for row in rows if row["device"] == COMPILED)
    saved = (row["ms without"] - row["ms with"]) / 1000
    return f"{seconds / saved:.0f} slices" if saved > 0 else "no number of slices"


def _cases() -> dict[str, tuple[Call, Call, tuple[float, float]]]:
    config = load_preset("dpcenet/tuned")
    method = build_method(config.method, config.options).eval()
    images, one = torch.randn(BATCH, 1, 256, 256), torch.randn(1, 1, 256, 256)
    maps, masks = torch.randn(1, 512, 64, 64), torch.zeros(1, 256, 256)
    masks[:, 80:140, 90:170] = 1
    block: nn.Module = method.trunk.trunk.get_submodule("layer3.1")
    between = torch.randn(BATCH, 1024, 32, 32).bfloat16()
    between = between.contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(block)
    rows, pools = torch.randn(1, 4096, 512) / 5, torch.rand(1, 3, 4096)
    return {
        "a support encoded once for a volume": (
            lambda: encode_slices(method, one, "bfloat16"),
            lambda: encode_slices(method, torch.cat([one, one]), "bfloat16"),
            (1, 1),
        ),
        "slices encoded in batches": (
            lambda: encode_slices(method, images, "bfloat16"),
            lambda: [encode_slices(method, one, "bfloat16") for one in images.split(1)],
            (BATCH, BATCH),
        ),
        "bfloat16 trunk": (
            lambda: extract(method, images, "bfloat16"),
            lambda: extract(method, images, "float32"),
            (BATCH, BATCH),
        ),
        "channels-last trunk": (
            lambda: _trunk(method, images, torch.channels_last),
            lambda: _trunk(method, images, torch.contiguous_format),
            (BATCH, BATCH),
        ),
        COMPILED: (
            lambda: _lowered(compiled, between),
            lambda: _lowered(block, between),
            (BATCH, BATCH),
        ),
        "average without upsampled features": (
            lambda: mean_prototype(maps, masks),
            lambda: average(maps, masks),
            (1, 1),
        ),
        "attention without its matrix": (
            lambda: attend(rows, rows, rows, 0.1),
            lambda: _written_out(rows, rows),
            (1, 1),
        ),
        "sums of attended rows by the attention received": (
            lambda: pooled_attention(rows, rows, pools, 0.1) @ rows,
            lambda: pools @ attend(rows, rows, rows, 0.1),
            (1, 1),
        ),
    }


def _trunk(method: Any, images: Tensor, layout: torch.memory_format) -> None:
    _lowered(method.trunk.trunk, images.expand(-1, 3, -1, -1).contiguous(memory_format=layout))


def _lowered(module: Call, images: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        module(images)


def _written_out(rows: Tensor, values: Tensor) -> Tensor:
    return F.softmax(0.1 * rows @ rows.mT, dim=-1) @ values
