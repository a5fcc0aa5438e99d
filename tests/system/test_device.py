"""Devices and precisions: what is asked for, what exists, what is faster."""

from __future__ import annotations

import pytest
import torch

from dpcenet.errors import ConfigError
from dpcenet.system import device as module
from dpcenet.system.device import Precision, autocast, choose_device, choose_precision

CPU = torch.device("cpu")


def test_auto_takes_a_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == kind


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_a_device_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--device {name}"):
        choose_device(name)


@pytest.mark.parametrize(("ratio", "chosen"), [(0.5, "bfloat16"), (0.9, "float32")])
def test_auto_takes_bfloat16_where_it_is_clearly_faster(
    ratio: float, chosen: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"float32": 1.0, "bfloat16": ratio}
    monkeypatch.setattr(module, "_seconds", lambda layer, images, kind: seconds[kind])
    assert choose_precision("auto", CPU) == chosen
    assert choose_precision("float32", CPU) == "float32"


def test_autocast_rounds_products_to_bfloat16() -> None:
    a = torch.full((2, 2), 1 + 2**-10)
    with autocast("bfloat16", CPU):
        assert (a @ a).dtype == torch.bfloat16
    with autocast("float32", CPU):
        assert (a @ a).dtype == torch.float32
