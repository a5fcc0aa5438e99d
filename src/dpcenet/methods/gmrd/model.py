"""GMRD: hundreds of generated descriptors of organ and background, and decoders of their maps.

Source: Cheng et al., "Few-shot medical image segmentation via generating multiple representative
descriptors", IEEE TMI 2024. docs/methods/gmrd.md has the equations, the presets and the known
defects of the official code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import torch
from torch import Tensor, nn

from dpcenet.methods.gmrd.descriptors import (
    PixelMLP,
    descriptor_loss,
    inner_ring,
    outer_ring,
    populate,
    signed_background,
)
from dpcenet.methods.trunk_method import SingleScale, TrunkOptions
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.losses import hard_masks, role_swap_loss
from dpcenet.nn.map_decoder import MapDecoder
from dpcenet.nn.pooling import enlarge, mean_prototype, size_of
from dpcenet.nn.similarity import cosine_maps, prototype_log_probs
from dpcenet.types import Features, Prediction

CLASS_NAMES = ("background", "foreground")  # in the order of the channels of log_probs
SPECIAL = 2  # the global mean and the ring stand at the end of the descriptors
ADNET_THRESHOLD = -10.0  # where ADNet's threshold starts
Descriptors = dict[str, Tensor]
Draw = Callable[[Tensor], Tensor]  # a pool of pixels → the pixels that `populate` draws


@dataclass(frozen=True)
class Options(TrunkOptions):
    """What the presets set.

    Attributes:
        encoder: a trunk of one output.
        width: channels after the 1×1 reduction.
        grid: (rows, columns) of the pixels that the MLPs read; see `PixelMLP` for other sizes.
        foreground, background: how many descriptors are generated of each.
        hidden: channels of the decoders' last 3×3.
        relu: whether the MLPs have a ReLU between their two layers.
        mlp_dropout, decoder_dropout: in training.
        ring: the last background descriptor averages the "outer" ring of the organ, or the
            official code's "signed" map of 1, 0 and −1.
        descriptor_weight: factor of the intra- and inter-class loss; 0 leaves it out.
    """

    encoder: EncoderOptions = field(
        default_factory=lambda: EncoderOptions(
            name="resnet101", layout="64+32", outputs=("layer3",)
        )
    )
    width: int = 512
    grid: tuple[int, int] = (256, 256)
    foreground: int = 100
    background: int = 600
    hidden: int = 100
    relu: bool = True
    mlp_dropout: float = 0.2
    decoder_dropout: float = 0.1
    ring: Literal["outer", "signed"] = "outer"
    descriptor_weight: float = 0.5


class GMRD(SingleScale):
    """The network of the paper. See `Options` for what can be switched."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.encoder, options.width)
        self.options = options
        counts = {"background": options.background, "foreground": options.foreground}
        self.mlps = nn.ModuleDict(
            {
                name: PixelMLP(options.grid, count, options.relu, options.mlp_dropout)
                for name, count in counts.items()
            }
        )
        self.decoders = nn.ModuleDict(
            {
                name: MapDecoder(count + SPECIAL, count, options.hidden, options.decoder_dropout)
                for name, count in counts.items()
            }
        )

    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        random = Random(seed)
        return self.match_from(lambda pool: populate(pool, random), support, support_masks, query)

    def match_from(
        self, draw: Draw, support: Features, support_masks: Tensor, query: Features
    ) -> Prediction:
        """`match`, with every map populated by `draw`.

        It is called for the foreground and the background of each support, in this order, and in
        training for those of each query with its predicted mask.
        """
        maps, size = query["features"], size_of(support_masks)
        shown = support_masks.flatten(1).any(dim=1)
        if not shown.any():
            return Prediction(self._unseen(support["features"], support_masks, maps))
        masks, features = support_masks[shown], support["features"][shown]
        descriptors = self.describe_classes(features, masks, draw)
        log_probs = self._decode(descriptors, maps, size)
        if not self.training:
            return Prediction(log_probs)
        predicted, swapped = hard_masks(log_probs), list[Descriptors]()

        def segment(i: int) -> Tensor:
            swapped.append(self.describe_classes(maps[[i]], predicted[[i]], draw))
            return self._decode(swapped[-1], features, size)

        losses = {"align": role_swap_loss(segment, predicted, masks)}
        if self.options.descriptor_weight > 0:
            terms = [descriptor_loss(descriptors, other, SPECIAL) for other in swapped]
            total = torch.stack(terms).sum() if terms else log_probs.new_zeros(())
            losses["descriptors"] = self.options.descriptor_weight * total / len(query)
        return Prediction(log_probs, losses)

    def describe_classes(self, features: Tensor, masks: Tensor, draw: Draw) -> Descriptors:
        """Descriptors (K, C) of either class, mean over the shots.

        Args:
            features: (Sh, C, h, w); masks: (Sh, H, W), none of them empty.
        """
        backdrop = outer_ring if self.options.ring == "outer" else signed_background
        classes = {
            "foreground": (masks, inner_ring(masks)),
            "background": (1 - masks, backdrop(masks)),
        }
        generated: dict[str, list[Tensor]] = {name: [] for name in classes}
        for i, shot in enumerate(features):
            for name, (pools, _) in classes.items():
                pool = pools[i] > 0
                generated[name].append(self.mlps[name](shot, pool, draw(pool)))
        descriptors: Descriptors = {}
        for name, means in classes.items():
            special = (mean_prototype(features, weights, align_corners=True) for weights in means)
            descriptors[name] = torch.cat([torch.stack(generated[name]).mean(dim=0), *special])
        return descriptors

    def _decode(self, descriptors: Descriptors, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Log-probabilities (N, 2, *size) of feature maps (N, C, h, w)."""
        logits = [self.decoders[name](cosine_maps(maps, descriptors[name])) for name in CLASS_NAMES]
        large = enlarge(torch.cat(logits, dim=1), size, align_corners=True)
        # The official loss keeps probabilities one float step away from 0 and 1.
        eps = torch.finfo(large.dtype).eps
        return large.softmax(dim=1).clamp(eps, 1 - eps).log()

    def _unseen(self, features: Tensor, masks: Tensor, maps: Tensor) -> Tensor:
        """No support shows the organ: ADNet's formula, as officially, finds nothing."""
        threshold = maps.new_tensor([ADNET_THRESHOLD])
        return prototype_log_probs(features, masks, maps, threshold, size_of(masks))
