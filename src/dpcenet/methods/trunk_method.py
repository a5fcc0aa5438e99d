"""Methods with one of the common trunks, and what those share that match at one scale."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from torch import Tensor, nn

from dpcenet.errors import ConfigError
from dpcenet.methods.base import Method, MethodOptions
from dpcenet.nn.encoder import Encoder, EncoderOptions
from dpcenet.types import Features


@dataclass(frozen=True)
class TrunkOptions(MethodOptions):
    """Options of a method with one of the common trunks.

    Attributes:
        encoder: the trunk and its outputs.
    """

    encoder: EncoderOptions = field(default_factory=EncoderOptions)

    @property
    def trunk(self) -> EncoderOptions:
        return self.encoder

    def with_weights(self, weights: str | None) -> Self:
        return replace(self, encoder=replace(self.encoder, weights=weights))


@dataclass(frozen=True)
class SingleScaleOptions(TrunkOptions):
    """Options of a `SingleScale` method: ADNet's lineage has one trunk and one width.

    Attributes:
        encoder: a trunk of one output.
        width: channels after the trained 1×1 convolution; 0 leaves it out.
    """

    encoder: EncoderOptions = field(
        default_factory=lambda: EncoderOptions(name="resnet101", outputs=("layer4",))
    )
    width: int = 256


class TrunkMethod(Method):
    """A method with one of the common trunks, which is all that `extract` runs."""

    def __init__(self, encoder: EncoderOptions) -> None:
        super().__init__()
        self.encoder = Encoder(encoder)

    @property
    def trunk(self) -> Encoder:
        return self.encoder

    def extract(self, images: Tensor) -> Features:
        return Features(self.encoder(images))


class SingleScale(TrunkMethod):
    """What methods share that match at one scale: a trunk of one output and a trained 1×1.

    Args:
        encoder: its options name one output.
        width: channels after the 1×1 convolution, which has no bias; 0 leaves it out.

    Raises:
        ConfigError: the encoder has several outputs.
    """

    def __init__(self, encoder: EncoderOptions, width: int) -> None:
        if len(encoder.outputs) != 1:
            raise ConfigError(
                f"encoder outputs {list(encoder.outputs)}: this method matches at one scale; "
                "name one"
            )
        super().__init__(encoder)
        (channels,) = self.encoder.channels.values()
        self.reduce = nn.Conv2d(channels, width, 1, bias=False) if width else nn.Identity()

    def project(self, features: Features) -> Features:
        """The reduced map (B, width, h, w), as "features" whatever the trunk calls it."""
        (maps,) = features.maps.values()
        return Features({"features": self.reduce(maps)})
