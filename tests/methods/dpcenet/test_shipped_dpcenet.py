"""The DPCENet that comes with the package."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import save_file

from dpcenet.errors import ConfigError, WeightsError
from dpcenet.methods.dpcenet import weights
from dpcenet.methods.registry import build_method
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation.predict import Result, predict, segment
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.training.config import load_preset
from dpcenet.types import Volume
from dpcenet.volumes.metrics import dice
from phantoms import make_phantom


def test_the_preset_and_the_package_are_the_same_network() -> None:
    config = load_preset("dpcenet/shipped")
    assert config.options == weights.shipped_options() and config.train.steps == 0
    network = build_method(config.method, config.options)
    assert hash_of_state(network) == hash_of_state(weights.build(weights.shipped_options()))
    anew = weights.build(replace(weights.shipped_options(), head=None))
    assert hash_of_state(network) != hash_of_state(anew)  # the head was trained


def test_a_head_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SHA256", "0" * 64)
    with pytest.raises(WeightsError, match=r"dpcenet\.safetensors: not the weights of this versi"):
        weights.build(weights.shipped_options())


def test_a_head_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_file({"reduce.cells.weight": torch.zeros(3, 3, 1, 1)}, path)
    with pytest.raises(WeightsError, match="does not fit DPCENet"):
        weights.build(replace(weights.shipped_options(), head=str(path)))


def test_a_run_has_a_method_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--method dpcenet: the run has a method of its own"):
        Segmenter.of(tmp_path, "dpcenet")


def mask_of(answer: Volume | Result) -> npt.NDArray[np.uint8]:
    volume = answer.mask if isinstance(answer, Result) else answer
    return volume.data


def test_it_segments_a_made_patient() -> None:
    (image, label), (other, truth) = make_phantom(), make_phantom(radius=27.0)
    segmenter = Segmenter.shipped("cpu", method="dpcenet")
    found = segmenter.segment(other, segmenter.support(image, label)).data
    for entry in (segment, partial(predict, check=False)):
        assert_array_equal(
            mask_of(entry(other, image, label, method="dpcenet", device="cpu")), found
        )
    assert (segment(other, image, label, device="cpu").data != found).any()  # another network
    for value in np.unique(truth.data[truth.data > 0]):
        assert dice(found == value, truth.data == value) > 0.5
