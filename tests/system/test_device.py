"""Devices and precisions: what is asked for, what exists, what is faster."""

from __future__ import annotations

import pytest
import torch

from dpcenet.errors import ConfigError
from dpcenet.system.device import Precision, choose_device, choose_precision

CPU = torch.device("cpu")


def test_auto_takes_a_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == kind


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_a_device_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--device {name}"):
        choose_device(name)


@pytest.mark.parametrize(("able", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_auto_takes_bfloat16_where_the_processor_has_it(
    able: bool, chosen: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    assert choose_precision("auto", CPU) == chosen
    assert choose_precision("float32", CPU) == "float32"


@pytest.mark.parametrize(
    ("capability", "chosen"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_auto_takes_bfloat16_on_gpus_from_ampere_on(
    capability: tuple[int, int], chosen: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda")) == chosen
