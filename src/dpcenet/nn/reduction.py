"""The trained 1×1 convolution after a trunk of one output ("localconv" of the ADNet lineage)."""

from __future__ import annotations

from torch import nn

from dpcenet.errors import ConfigError
from dpcenet.nn.encoder import Encoder


def reduction(encoder: Encoder, width: int) -> nn.Module:
    """A 1×1 convolution without bias from the encoder's one output to `width` channels.

    Args:
        encoder: its options name one output.
        width: channels after it; 0 keeps the trunk's features as they are.

    Raises:
        ConfigError: the encoder has several outputs.
    """
    if len(encoder.channels) != 1:
        raise ConfigError(
            f"encoder outputs {list(encoder.channels)}: this method matches at one scale; name one"
        )
    (channels,) = encoder.channels.values()
    return nn.Conv2d(channels, width, 1, bias=False) if width else nn.Identity()
