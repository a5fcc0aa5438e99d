"""What the loops share: the official trunks, and pooling the official way."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.methods.base import Method
from dpcenet.methods.trunk_method import SingleScale
from dpcenet.nn.encoder import Encoder
from dpcenet.nn.resnet import ResNet

EPS = torch.finfo(torch.float32).eps


class Loop(nn.Module, ABC):
    """One support slice and one query slice at a time.

    Attributes:
        outputs: layers of the trunk that the official code runs, used or not; None where the
            package's trunk is already the official one.
    """

    outputs: tuple[str, ...] | None = None

    def __init__(self, method: Method) -> None:
        super().__init__()
        assert method.trunk is not None
        self.trunk = official_trunk(method.trunk, self.outputs)
        self.eval()

    def encode(self, support: Tensor, query: Tensor) -> dict[str, Tensor]:
        """The trunk's outputs for support and query (1, 1, H, W) as a batch of two."""
        found: dict[str, Tensor] = self.trunk(torch.cat([support, query]).repeat(1, 3, 1, 1))
        return found

    def only(self, support: Tensor, query: Tensor) -> Tensor:
        """The output of a trunk that has one."""
        (maps,) = self.encode(support, query).values()
        return maps

    @abstractmethod
    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (1, 2, H, W) of the query, and in training the further losses.

        Args:
            support, query: (1, 1, H, W); mask: (1, H, W).
        """


class ScoresLoop(Loop):
    """A loop whose head is a 1×1 reduction and scores for each class; in training roles swap."""

    def __init__(self, method: SingleScale) -> None:
        super().__init__(method)
        self.reduce = method.reduce

    @abstractmethod
    def scores(self, s: Tensor, mask: Tensor, q: Tensor) -> Tensor:
        """(1, 2, h, w) of the query's features q (1, C, h, w), by the support's and its mask."""

    def forward(self, support: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        s, q = self.reduce(self.only(support, query)).split(1)
        scores = self.scores(s, mask, q)
        out = up(scores, mask.shape).log_softmax(dim=1)
        if not self.training:
            return out, out.new_zeros(())
        swapped = up(self.scores(q, predicted_mask(scores), s), mask.shape)
        return out, F.nll_loss(swapped.log_softmax(dim=1), mask.long())


def official_trunk(encoder: Encoder, outputs: tuple[str, ...] | None) -> nn.Module:
    """The trunk with the same weights, and with every layer that the official code runs."""
    options = encoder.options
    if outputs is None or not isinstance(encoder.trunk, ResNet):
        return encoder.trunk
    depth = int(options.name.removeprefix("resnet"))
    trunk = ResNet(depth, options.layout, outputs)
    trunk.load_state_dict(encoder.trunk.state_dict(), strict=False)
    return trunk.requires_grad_()


def up(maps: Tensor, size: torch.Size, corners: bool = False) -> Tensor:
    """Bilinear interpolation to the size of a mask."""
    return F.interpolate(maps, size=size[-2:], mode="bilinear", align_corners=corners)


def average(features: Tensor, mask: Tensor, corners: bool = False) -> Tensor:
    """(1, C): features (1, C, h, w) upsampled to the mask (1, H, W), and averaged in it."""
    large = up(features, mask.shape, corners)
    return (large * mask[:, None]).sum(dim=(-2, -1)) / (mask.sum(dim=(-2, -1)) + 1e-5)


def below(features: Tensor, prototype: Tensor, threshold: Tensor) -> Tensor:
    """ADNet's foreground probability (1, h, w) by a prototype (1, C) and a threshold."""
    score = -20 * F.cosine_similarity(features, prototype[..., None, None], dim=1)
    return 1 - torch.sigmoid(0.5 * (score - threshold))


def two_classes(foreground: Tensor, size: torch.Size) -> Tensor:
    """Log-probabilities (1, 2, H, W) of foreground probabilities (1, h, w)."""
    return with_background(up(foreground[:, None], size, corners=True))


def with_background(foreground: Tensor) -> Tensor:
    """Log-probabilities (1, 2, H, W) of foreground probabilities (1, 1, H, W)."""
    return torch.cat([1 - foreground, foreground], dim=1).clamp(EPS, 1 - EPS).log()


def predicted_mask(log_probs: Tensor) -> Tensor:
    """(1, H, W): where the foreground is the likelier class."""
    return log_probs.argmax(dim=1).float()
