"""What this installation is: versions, device, weights; BibTeX. torch is not loaded."""

from __future__ import annotations

import re
from pathlib import Path

from dpcenet import __version__
from dpcenet.system.assets import asset, asset_names

_NVIDIA = Path("/proc/driver/nvidia/version")  # where Linux tells that there is a driver
SOFTWARE = "dpcenet-software"


def versions_text() -> str:
    """Lines for `dpcenet --version`: the package, torch, the device, the weights' hashes."""
    import hashlib  # neither is needed by `dpcenet --help`
    from importlib.metadata import PackageNotFoundError, version

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


def bibtex(name: str = SOFTWARE) -> str | None:
    """BibTeX of this software, or of the paper of one of its methods; None where none is known."""
    text = asset("citations.bib").read_text("utf-8").replace("VERSION", __version__)
    found = (entry.strip() for entry in re.split(r"^(?=@)", text, flags=re.MULTILINE))
    named = {entry.partition("{")[2].partition(",")[0]: entry for entry in found if entry}
    return named.get(name)
