"""The light decoder that fuses similarity maps into one logit map (GMRD's shape)."""

from __future__ import annotations

from torch import Tensor, nn


class MapDecoder(nn.Module):
    """1x1 → residual pair of 3x3 → 3x3 → 1x1, no bias, no batch norm: (N, M, h, w) → (N, 1, h, w).

    Args:
        maps: how many similarity maps come in.
        width: channels of the residual pair.
        hidden: channels of the last 3x3.
        dropout: probability of dropping a whole map before the last layer, in training.

    Source: GMRD (Cheng et al., IEEE TMI 2024); the layers bear the names of its weights.
    """

    def __init__(self, maps: int, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.res1 = nn.Sequential(nn.Conv2d(maps, width, 1, bias=False), nn.ReLU())
        self.res2 = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.ReLU(),
        )
        self.down = nn.Sequential(
            nn.Conv2d(width, hidden, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Dropout2d(dropout),
            nn.Conv2d(hidden, 1, 1, bias=False),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """The logits in the maps' own type, whatever type the layers compute in."""
        x = self.res1(maps.to(next(self.parameters()).dtype))
        logits: Tensor = self.down(x + self.res2(x))
        return logits.to(maps.dtype)
