"""What every method is: `encode` images to features, `match` support with query features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dpcenet.errors import ConfigError
from dpcenet.nn.encoder import Encoder, EncoderOptions
from dpcenet.nn.pooling import describe_slices
from dpcenet.types import Episode, Features, Prediction


@dataclass(frozen=True)
class MethodOptions:
    """What a preset sets for a method. Each method derives its own `Options` from it."""

    @property
    def trunk(self) -> EncoderOptions | None:
        """The trunk, of a method that has one of the common ones."""
        return None

    def with_weights(self, weights: str | None) -> Self:
        """The same options with another file of pretrained weights, where the method reads one."""
        return self

    def without_weights(self) -> Self:
        """Options that start from random weights: the weights come from a checkpoint."""
        return self.with_weights(None)


@dataclass(frozen=True)
class SecondLook:
    """Square windows around an organ, in which a slice is segmented once more.

    Attributes:
        size: pixels of a window inside the network.
        gain: half of a window's side, in standard deviations of the support's mask.
        min_half: smallest half side, in pixels of the slice.
    """

    size: int
    gain: float
    min_half: float

    def closer(self, times: float) -> SecondLook:
        """Windows whose sides are so many times shorter, and show as many times more detail."""
        return replace(self, gain=self.gain / times, min_half=self.min_half / times)


ROTATIONS = tuple(float(degrees) for degrees in range(-90, 91, 15))


@dataclass(frozen=True)
class PoseSearch:
    """How the pose of a query is searched: see `dpcenet.inference.pose`.

    Attributes:
        map: name of the feature map that is compared.
        size: pixels of a window inside the network.
        gain: half of a window's side, in standard deviations of the mask of all labels.
        rotations: that are tried, in degrees; one is 0.
        min_half: smallest half side, in pixels of the slice.
        max_half: largest half side, as a share of the slice's side.
        reach: largest displacement, in cells of the map.
        spread: standard deviation of the weight around a window's middle, in half sides.
        penalty: similarity that a rotation of 90° or a displacement by a window must gain to be as
            good as no change.
        min_gain: similarity, less that penalty, by which a pose must be better to be taken.
        pairs: largest number of slice pairs that are compared.
    """

    map: str
    size: int
    gain: float
    rotations: tuple[float, ...] = ROTATIONS
    min_half: float = 48.0
    max_half: float = 0.43
    reach: int = 5
    spread: float = 0.45
    penalty: float = 0.1
    min_gain: float = 0.02
    pairs: int = 5


@dataclass(frozen=True)
class MatchJob:
    """Query slices that are segmented by the same support slices.

    Jobs for several labels of the same slices hold the same `Features` objects, so that a method
    can tell what it has computed already.

    Attributes:
        support: features of Sh slices.
        masks: (Sh, H, W) float in {0, 1}.
        query: features of N slices.
    """

    support: Features
    masks: Tensor
    query: Features


class Method(nn.Module, ABC):
    """A few-shot segmentation method.

    `extract` is the trunk, which a preset may freeze: its output is then computed once and kept.
    `project` is the trained part of the encoder. `match` needs features only. The module keeps
    nothing of a support.

    Attributes:
        neighbours: how many support slices on either side of the chosen one help to segment.
        second_look: windows through which a slice is segmented once more, or None.
        pose_search: how a support is aligned with a query in the plane, or None.
        volume_map: name of the feature map by which whole scans are aligned, or None.
        own_mean: whether the mean of a scan is subtracted from the descriptors of its slices.
        as_volume: whether its answers for slices may be seen as one volume.
        edge: probability at the edge of a label; where answers make up a volume, it becomes 1/2.
        low_matching: whether features are compared in the trunk's precision, too.
    """

    neighbours: int = 0
    second_look: SecondLook | None = None
    pose_search: PoseSearch | None = None
    volume_map: str | None = None
    own_mean: bool = False
    as_volume: bool = True
    edge: float = 0.5
    low_matching: bool = False

    @property
    def trunk(self) -> Encoder | None:
        """The encoder of a method that has one of the common trunks."""
        return None

    @property
    def trunk_frozen(self) -> bool:
        """Whether what `extract` returns never changes, and needs no gradient."""
        return self.trunk is not None and self.trunk.options.frozen

    def frozen_names(self) -> set[str]:
        """The names in `state_dict` that belong to a frozen trunk: training never changes them."""
        if self.trunk is None or not self.trunk_frozen:
            return set()
        (prefix,) = (name for name, module in self.named_modules() if module is self.trunk.trunk)
        return {name for name in self.state_dict() if name.startswith(f"{prefix}.")}

    def take_out(self, module: str) -> None:
        """Let a module of a trained network change nothing from now on: the identity test.

        Raises:
            ConfigError: the method has no such module.
        """
        raise ConfigError(f"--without {module}: {type(self).__name__} has no module to take out")

    @abstractmethod
    def extract(self, images: Tensor) -> Features:
        """Trunk features of images (B, 1, H, W)."""

    def project(self, features: Features) -> Features:
        """The trained part of the encoder, applied to what `extract` returned."""
        return features

    def encode(self, images: Tensor) -> Features:
        """Features of images (B, 1, H, W), ready for `match`."""
        return self.project(self.extract(images))

    def calibrate(self, images: Tensor) -> None:
        """Measure, once, what the method needs to know about the training slices (B, 1, H, W)."""

    def describe(self, features: Features) -> npt.NDArray[np.float64]:
        """Slice descriptors (B, d), an array of its own; see `slice_matching.descriptors`."""
        maps = [tensor for tensor in features.maps.values() if tensor.ndim == 4]
        return describe_slices(maps[-1], cells=8)

    @abstractmethod
    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        """Segment the queries.

        Args:
            support: features of Sh support slices.
            support_masks: (Sh, H, W) float in {0, 1}.
            query: features of N query slices.
            query_masks: (N, H, W), the truth. It may only enter `losses`, never `log_probs`.
            seed: source of every random choice.

        Returns:
            log-probabilities at the masks' H×W; extra losses only in training mode.
        """

    def match_each(self, jobs: Sequence[MatchJob], batch: int) -> list[Tensor]:
        """Log-probabilities (N, 2, H, W) of each job, `batch` query slices computed at once.

        Here one job after the other. A method overrides this if queries with different supports
        may share a batch.
        """
        return [
            torch.cat(
                [
                    self.match(
                        job.support, job.masks, job.query.rows(slice(start, start + batch))
                    ).log_probs
                    for start in range(0, len(job.query), batch)
                ]
            )
            for job in jobs
        ]

    def forward(self, episode: Episode, extracted: Features | None = None) -> Prediction:
        """Encode support and query as one batch (batch norm sees both), then match.

        Args:
            episode: the task.
            extracted: what `extract` gives for the support's and the query's images in one
                batch, where it was computed before.
        """
        shots = len(episode.support_images)
        if extracted is None:
            images = torch.cat([episode.support_images, episode.query_images])
            extracted = self.extract(images)
        # Only the trunk may run in reduced precision: sums over a mask need more than 8 bits.
        with torch.autocast(episode.support_images.device.type, enabled=False):
            features = self.project(extracted.apply(Tensor.float))
            return self.match(
                features.rows(slice(None, shots)),
                episode.support_masks,
                features.rows(slice(shots, None)),
                query_masks=episode.query_masks,
                seed=episode.seed,
            )
