"""What a checkpoint holds comes back whole, and what is no checkpoint is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dpcenet.errors import RunError, TaskError
from dpcenet.nn.tensor_files import load_tensors, save_tensors
from dpcenet.segmentation.task_file import task_facts
from dpcenet.training.checkpoint import (
    load_checkpoint,
    load_parts,
    optimiser_state,
    restore_optimiser,
    save_parts,
)

NEEDS = {"step": int}


def test_parts_and_facts_come_back(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    parts = {"network": {"a.weight": torch.arange(3.0)}, "average": {"a.weight": torch.ones(3)}}
    save_parts(path, parts, {"step": 4, "note": "made"})
    found, facts = load_parts(path, ("network", "average", "optimiser"), NEEDS)
    assert facts == {"step": 4, "note": "made"}
    assert found["optimiser"] == {}
    assert torch.equal(found["network"]["a.weight"], torch.arange(3.0))
    assert torch.equal(found["average"]["a.weight"], torch.ones(3))


def test_another_part_another_format_and_missing_facts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_parts(path, {"ema": {"w": torch.ones(1)}}, {"step": 1})
    with pytest.raises(RunError, match=r"'ema\.w' belongs to no part"):
        load_parts(path, ("network",), NEEDS)
    save_parts(path, {"network": {"w": torch.ones(1)}}, {})
    with pytest.raises(RunError, match="step"):
        load_parts(path, ("network",), NEEDS)
    save_tensors(path, {"network.w": torch.ones(1)}, {"format": "99"})
    with pytest.raises(RunError, match="format '99'; this version reads 1"):
        load_parts(path, ("network",), NEEDS)


def test_a_folder_without_checkpoint_has_none_and_a_missing_file_is_named(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    with pytest.raises(RunError, match=r"nothing\.safetensors: cannot be read"):
        load_tensors(tmp_path / "nothing.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "my.task")
    for place in (tmp_path, tmp_path / "my.task"):
        with pytest.raises(RunError, match="this is not a regular file"):
            load_tensors(place)
        with pytest.raises(TaskError, match=r"this is not a regular file.*dpcenet task create"):
            task_facts(place)


def stepped(layer: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> Tensor:
    """One step on an input of that seed; the weights after it."""
    torch.manual_seed(seed)
    optimiser.zero_grad()
    layer(torch.randn(2, 4, 5, 5)).square().mean().backward()
    optimiser.step()
    return torch.cat([p.detach().flatten() for p in layer.parameters()])


@pytest.mark.parametrize("kind", ["sgd", "adamw", "fused"])
def test_an_optimiser_goes_on_from_a_file_as_if_it_had_not_stopped(
    tmp_path: Path, kind: str
) -> None:
    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = nn.Conv2d(4, 4, 3)
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if kind == "sgd":
            return layer, torch.optim.SGD(layer.parameters(), 0.1, 0.9)
        return layer, torch.optim.AdamW(layer.parameters(), 0.1, fused=kind == "fused")

    layer, optimiser = made()
    stepped(layer, optimiser, 1)
    path = tmp_path / "state.safetensors"
    parts = {"network": layer.state_dict(), "optimiser": optimiser_state(optimiser)}
    save_parts(path, parts, {"step": 1})
    after = stepped(layer, optimiser, 2)

    other, fresh = made()
    found, _ = load_parts(path, ("network", "optimiser"), NEEDS)
    other.load_state_dict(found["network"])
    restore_optimiser(fresh, found["optimiser"])
    assert torch.equal(stepped(other, fresh, 2), after)


def test_a_state_of_no_optimiser_is_refused() -> None:
    optimiser = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1, 0.9)
    with pytest.raises(RunError, match="does not fit the optimiser"):
        restore_optimiser(optimiser, {"first.momentum_buffer": torch.ones(2, 2)})
