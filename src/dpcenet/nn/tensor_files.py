"""Files of tensors and facts about them, as safetensors: whole or absent, never executed."""

from __future__ import annotations

import stat
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dpcenet.errors import RunError
from dpcenet.system.files import write_atomically

State = dict[str, Tensor]
"""Tensors by name."""


def save_tensors(path: Path, tensors: State, metadata: dict[str, str]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda temporary: save_file(plain, temporary, metadata))


def load_tensors(path: Path) -> tuple[State, dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe is waited for, without an end
            raise OSError("this is not a regular file")
        with safe_open(path, framework="pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return tensors, stream.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); train again or restore the file"
        ) from error
