"""What this installation is: versions, device, weights; and how to cite it. torch is not loaded."""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dpcenet import __version__
from dpcenet.errors import ConfigError
from dpcenet.system.assets import asset, asset_names

_NVIDIA = Path("/proc/driver/nvidia/version")  # where Linux tells that there is a driver
SOFTWARE = "dpcenet-software"
OURS = {"copy", "incontext"}
"""Methods of this package, which no paper describes."""


def versions_text() -> str:
    """Lines for `dpcenet --version`: the package, torch, the device, the weights' hashes."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "missing: pip install torch"
    lines = [f"dpcenet {__version__}", f"torch   {torch}", f"device  {_device(torch)}"]
    for name in asset_names("models", ".safetensors"):
        content = asset(f"models/{name}.safetensors").read_bytes()
        lines.append(f"weights {name}, sha256 {hashlib.sha256(content).hexdigest()[:16]}")
    return "\n".join(lines)


def _device(torch_version: str) -> str:
    """What `--device auto` takes; torch, which takes seconds, is asked only with a GPU."""
    if torch_version.endswith("+cpu") or not _NVIDIA.exists():
        return "cpu"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def citation(method: str | None = None) -> str:
    """BibTeX of this software, and of a method's paper.

    Raises:
        ConfigError: no paper of that method is known.
    """
    entries = _entries()
    if method is None or method in OURS:
        return entries[SOFTWARE]
    if method not in entries:
        known = ", ".join(sorted((entries.keys() | OURS) - {SOFTWARE}))
        raise ConfigError(f"{method}: no such method; known are {known}")
    return f"{entries[SOFTWARE]}\n\n{entries[method]}"


def _entries() -> dict[str, str]:
    """Name of a method → its entry of citations.bib."""
    text = asset("citations.bib").read_text("utf-8").replace("VERSION", __version__)
    found = (entry.strip() for entry in re.split(r"^(?=@)", text, flags=re.MULTILINE))
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in found if entry}
