"""Where and in which precision a network computes."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor

from dpcenet.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]


def choose_device(name: str) -> torch.device:
    """ "auto" takes a GPU where there is one.

    Raises:
        ConfigError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {name}: cannot be used ({str(error).splitlines()[0]})"
        ) from error
    return device


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """What "auto" means on a device: the faster of float32 and bfloat16, measured on a layer."""
    if precision != "auto":
        return precision
    layer = torch.nn.Conv2d(128, 128, 3, padding=1).to(device)
    images = torch.zeros(2, 128, 64, 64, device=device)
    seconds = {kind: _seconds(layer, images, kind) for kind in ("float32", "bfloat16")}
    return "bfloat16" if seconds["bfloat16"] < 0.8 * seconds["float32"] else "float32"


@torch.no_grad()
def _seconds(layer: torch.nn.Module, images: Tensor, precision: Precision) -> float:
    """The fastest of a few forward passes; the first one, which warms up, is not counted."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        with autocast(precision, images.device):
            layer(images).sum().item()  # .item() waits for a GPU
        times.append(time.perf_counter() - start)
    return min(times[1:])


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Runs what is inside in bfloat16 if `precision` says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
