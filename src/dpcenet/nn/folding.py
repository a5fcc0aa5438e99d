"""What a network that is no longer trained can do without: batch norms, and float32 decoders."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dpcenet.nn.decoder import MapDecoder


def ready_to_predict(network: nn.Module, lowered: bool) -> None:
    """Put a trained network, in place, into the form in which it predicts fastest.

    Args:
        network: whose training is over.
        lowered: whether it will run in bfloat16.
    """
    network.eval()
    fold_batch_norms(network)
    if lowered:
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
        for (name, first), (next_name, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, next_name, nn.Identity())


def lower_decoders(network: nn.Module) -> None:
    """Let the decoders of similarity maps, whose convolutions cost as much as a trunk's, compute
    in bfloat16; what they are given and what they return stays as it is."""
    for module in network.modules():
        if isinstance(module, MapDecoder):
            module.to(torch.bfloat16)
