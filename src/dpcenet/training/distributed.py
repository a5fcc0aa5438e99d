"""Several processes that train one model, as `torchrun` starts them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dpcenet.methods.base import Method


@dataclass(frozen=True)
class DistributedContext:
    """This process among those that train together.

    Attributes:
        device: of this process.
        rank: its number, from 0.
        size: number of processes.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @staticmethod
    def join(device: torch.device) -> DistributedContext:
        """Join the other processes that torchrun started, if it did."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if size > 1 and device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return DistributedContext(device, int(os.environ.get("RANK", "0")), size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the log and the checkpoints."""
        return self.rank == 0

    def wrap(self, method: Method) -> nn.Module:
        """The method, whose gradients are averaged where there are several processes.

        A loss term may be skipped in a step (nothing predicted), so some parameters may have no
        gradient.
        """
        if self.size == 1 or not any(p.requires_grad for p in method.parameters()):
            return method
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(method, device_ids=ids, find_unused_parameters=True)

    def leave(self) -> None:
        """Part from the other processes at the end."""
        if self.size > 1:
            torch.distributed.destroy_process_group()
