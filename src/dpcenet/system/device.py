"""Where and in which precision a network computes."""

from __future__ import annotations

from typing import Literal

import torch

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
    """What "auto" means on a device: bfloat16 where its products are done in hardware.

    It is told by what the device can do, never by a stopwatch: the same machine always computes
    the same, however busy it is.
    """
    if precision != "auto":
        return precision
    fast = _bfloat16_gpu(device) if device.type == "cuda" else _bfloat16_processor()
    return "bfloat16" if fast else "float32"


def _bfloat16_gpu(device: torch.device) -> bool:
    """From NVIDIA's Ampere on; older ones emulate it."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _bfloat16_processor() -> bool:
    """Processors with AVX512-BF16; those with AMX have it too."""
    return bool(torch.cpu._is_avx512_bf16_supported())
