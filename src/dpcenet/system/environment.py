"""What a number depends on besides its config: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

import dpcenet

_CPUINFO = Path("/proc/cpuinfo")


def versions() -> dict[str, str]:
    """The versions of the package and of what it computes with, and the commit."""
    return {
        "dpcenet": dpcenet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(terse=True),
        "commit": git_commit(),
    }


def git_commit() -> str:
    """The commit of the checkout that this package runs from, or "unknown"."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip()


def machine() -> str:
    """Processor, cores and GPU, in words."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor()}, {os.cpu_count()} cores, {gpu}"


def processor() -> str:
    """The processor's name."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
