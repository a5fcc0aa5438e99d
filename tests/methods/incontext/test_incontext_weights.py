"""Weights of the in-context network: the shipped ones, a file, and files that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dpcenet.errors import WeightsError
from dpcenet.methods.incontext import weights
from dpcenet.methods.incontext.weights import Options, build
from dpcenet.nn import own_trunk

SHIPPED = Path(weights.__file__).parents[2] / "assets" / "models" / own_trunk.FILE


def test_the_shipped_weights_are_the_files_in_float32() -> None:
    state = build(Options()).state_dict()
    file = load_file(SHIPPED)
    assert set(state) == set(file)
    for name, tensor in file.items():
        assert tensor.dtype == torch.float16 and state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor.float())


def test_another_file_than_this_versions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_trunk, "SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="not the weights of this version"):
        build(Options())


def test_a_file_must_exist_and_be_of_this_network(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        build(Options(str(tmp_path / "nowhere.safetensors")))
    path = tmp_path / "other.safetensors"
    save_file({"key": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"other\.safetensors.*missing"):
        build(Options(str(path)))


def test_random_weights_depend_on_the_seed() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(build(Options(weights=None)).parameters())

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))
