"""What a network that is no longer trained can do without: batch norms, and float32 weights."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from dpcenet.nn.map_decoder import MapDecoder
from dpcenet.nn.resnet import LOWERED, ResNet


def ready_to_predict(network: nn.Module, lowered: bool) -> None:
    """Put a trained network, in place, into the form in which it predicts fastest.

    Args:
        network: whose training is over.
        lowered: whether it will run in bfloat16.
    """
    network.eval()
    fold_batch_norms(network)
    if lowered:
        lower_trunks(network)
        lower_decoders(network)


def fold_batch_norms(network: nn.Module) -> None:
    """Replace, in place, each convolution and the batch norm after it by one convolution.

    γ·(w∗x − μ)/√(σ² + ε) + β is itself a convolution of x, with weights γw/√(σ² + ε) and a bias.
    Outputs stay the same but for rounding; norms that measure their own batch would not.

    Args:
        network: in evaluation mode; a convolution and its norm are children registered one after
            the other, as in every trunk of this package.
    """
    for module in list(network.modules()):
        for (_, first), (next_name, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                _fold(first, second)
                setattr(module, next_name, nn.Identity())


@torch.no_grad()
def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """In place, unlike torch's own function, whose copies would double a trunk's memory."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    if convolution.bias is not None:
        bias += convolution.bias * scale
    convolution.weight.mul_(scale[:, None, None, None])
    convolution.bias = nn.Parameter(bias, requires_grad=convolution.weight.requires_grad)


def lower_trunks(network: nn.Module) -> None:
    """Hold the weights of the stages that run in bfloat16 in bfloat16: half of the memory, and no
    copy for each batch; the arithmetic stays the same."""
    for module in network.modules():
        if isinstance(module, ResNet):
            for name in module.stages:
                if name in LOWERED:
                    module.get_submodule(name).to(torch.bfloat16)


def lower_decoders(network: nn.Module) -> None:
    """Let the decoders of similarity maps, whose convolutions cost as much as a trunk's, compute
    in bfloat16; what they are given and what they return stays as it is."""
    for module in network.modules():
        if isinstance(module, MapDecoder):
            module.to(torch.bfloat16)
