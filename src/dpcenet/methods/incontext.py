"""In-context network: trained once on made-up images, it segments what a support slice shows.

    support image ─┐                                   ┌─ 32×32 ─ 16×16 ─ 8×8 (cross-attention)
                   ├─ shared encoder ─ maps at 64, 32, 16 ─ fused where they lie, with the mask
    query image  ──┘                                   └─ and decoded back to the image's size

Images are encoded one by one, so a support is encoded once however many queries and labels follow.
Matching is a U-Net over fused maps: at every place it sees the query, the support and the support's
mask of that place; at the coarse scales the query also attends to all places of the support, which
carry the mask.

Source: the task is UniverSeg's (Butoi et al., 2023, §3); training on synthetic images follows
SynthMorph (Hoffmann et al., 2022) and Neuralizer/AnyStar; the two-stream form is this project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dpcenet.errors import WeightsError
from dpcenet.methods.base import Method
from dpcenet.nn.alignment import describe_slices
from dpcenet.types import Features, Prediction


@dataclass(frozen=True)
class Options:
    """Size of the network.

    Attributes:
        size: pixels of the longer image side inside the network.
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of `size`; from 1/8 on multiples of 48, or less.
        presence_weight: weight of the loss of the presence output; 0 switches it off.
    """

    size: int = 128
    widths: tuple[int, int, int, int] = (32, 48, 96, 192)
    presence_weight: float = 0.1


class InContext(Method):
    """The network. See the module's drawing.

    Args:
        options: its size.
    """

    neighbours = 1

    def __init__(self, options: Options | None = None) -> None:
        super().__init__()
        self.options = options or Options()
        self.pyramid = _Pyramid(self.options.widths)
        self.align = _Align()
        self.matcher = _Matcher(self.options.widths)

    @property
    def trunk_frozen(self) -> bool:
        """Never: all of the network is trained."""
        return False

    def extract(self, images: Tensor) -> Features:
        """Maps "fine" … "deep" (1/2 … 1/16) and "key" of images (B, 1, H, W), resized to `size`."""
        longer = max(images.shape[-2:])
        shape = [
            max(16, round(n * self.options.size / longer / 16) * 16) for n in images.shape[-2:]
        ]
        features: Features = self.pyramid(_resized(images, shape))
        return features

    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        """Segment the queries; see `Method.match`. `losses` holds "presence" when training."""
        count = len(query)
        supports = support.apply(lambda x: x[None].expand(count, *x.shape))
        masks = support_masks[None].expand(count, *support_masks.shape)
        logits, presence = self.compare(supports, masks, query, self.align(supports, query))
        losses = {}
        if self.training and query_masks is not None and self.options.presence_weight > 0:
            there = query_masks.flatten(1).amax(1)
            loss = F.binary_cross_entropy_with_logits(presence, there)
            losses["presence"] = self.options.presence_weight * loss
        return Prediction(two_class_log_probs(logits), losses)

    def describe(self, features: Features) -> npt.NDArray[np.float64]:
        """Slice descriptors, seen from the scan's own mean: scans differ more than slices."""
        rows = describe_slices(features["coarse"], cells=8)
        centred: npt.NDArray[np.float64] = rows - rows.mean(axis=0)
        return centred

    def compare(
        self, support: Features, support_masks: Tensor, query: Features, attention: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Segment N queries, each with supports of its own.

        Args:
            support: maps (N, Sh, C, h, w).
            support_masks: (N, Sh, H, W).
            query: maps (N, C, h, w).
            attention: from `align`; the same for every label of these slices.

        Returns:
            logits of the foreground (N, H, W), and of the label being in the slice at all (N,).
        """
        logits, presence = self.matcher(support, support_masks, query, attention)
        return _resized(logits.float(), support_masks.shape[-2:])[:, 0], presence.float()


def two_class_log_probs(logits: Tensor) -> Tensor:
    """Foreground logits (N, H, W) to log-probabilities (N, 2, H, W)."""
    return torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], 1)


def _resized(images: Tensor, shape: list[int] | torch.Size) -> Tensor:
    """Images (B, C, H, W) at another size, averaged where it is smaller."""
    if list(images.shape[-2:]) == list(shape):
        return images
    return F.interpolate(images, list(shape), mode="bilinear", antialias=True, align_corners=False)


class _Residual(nn.Module):
    """x + conv(relu(conv(norm(x)))), the norm over all of an image; the last conv starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(F.relu(self.first(self.norm(x))))
        return x + added


class _Pyramid(nn.Module):
    """An image to maps at 1/2 … 1/16 of its size, and to keys (1/4) by which places are matched."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse, deep = widths
        self.fine = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4, fine, 3, padding=1), nn.ReLU(), _Residual(fine)
        )
        self.middle = nn.Sequential(_down(fine, middle), _Residual(middle), _Residual(middle))
        self.coarse = nn.Sequential(_down(middle, coarse), _Residual(coarse), _Residual(coarse))
        self.deep = nn.Sequential(_down(coarse, deep), _Residual(deep), _Residual(deep))
        self.key = nn.Conv2d(middle, middle, 1)
        self.coarse_key = nn.Conv2d(coarse, middle, 1)
        self.deep_key = nn.Conv2d(deep, middle, 1)

    def forward(self, images: Tensor) -> Features:
        fine = self.fine(images.contiguous(memory_format=torch.channels_last))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        deep = self.deep(coarse)
        wide = self.coarse_key(coarse) + _doubled(self.deep_key(deep))
        key = F.normalize(self.key(middle) + _doubled(wide))
        return Features(
            {"fine": fine, "middle": middle, "coarse": coarse, "deep": deep, "key": key}
        )


def _down(width: int, wider: int) -> nn.Conv2d:
    return nn.Conv2d(width, wider, 3, stride=2, padding=1)


class _Fuse(nn.Module):
    """Query, support and mask of the same place, and what came before, to one map.

    With them go similarities to the prototypes: how much each place of the query looks like the
    mean of the support's foreground and of its background, in groups of channels.

    Args:
        width: channels of the maps of images, and of the result.
        before: channels of what came before.
        shown: whether the support's map is seen too; at fine scales, where organs of two patients
            no longer lie upon each other, it costs more than it tells.
    """

    def __init__(self, width: int, before: int, shown: bool = True) -> None:
        super().__init__()
        self.groups, self.shown = width // 4, shown
        seen = 3 * width if shown else width
        self.mix = nn.Conv2d(seen + 1 + 2 * self.groups + before, width, 1)

    def forward(self, support: Tensor, mask: Tensor, query: Tensor, before: Tensor) -> Tensor:
        """support (N, Sh, C, h, w) and mask (N, Sh, 1, h, w), averaged over the supports."""
        parts = [query, mask.mean(1), before]
        parts += [_similarity(support, weight, query, self.groups) for weight in (mask, 1 - mask)]
        if self.shown:
            parts += [support.mean(1), (support * mask).mean(1)]
        mixed: Tensor = self.mix(torch.cat(parts, 1))
        return mixed


def _similarity(support: Tensor, weight: Tensor, query: Tensor, groups: int) -> Tensor:
    """Cosine of the query with a weighted mean of the supports, per group: (N, groups, h, w).

    Both are seen from the supports' overall mean. A prototype of no weight is like nothing: 0.
    """
    centre = support.mean((1, 3, 4))[..., None, None]
    total = weight.sum((1, 3, 4))[..., None, None] + 1e-3
    prototype = (support * weight).sum((1, 3, 4))[..., None, None] / total
    direction = prototype - centre * (total - 1e-3) / total
    grouped = direction.view(len(query), groups, -1, 1, 1)
    direction = F.normalize(grouped, dim=2, eps=1e-3).flatten(1, 2)
    seen = query - centre
    dot, square = (_group_sum(x, groups) for x in (seen * direction, seen.square()))
    return dot * (square + 1e-4).rsqrt()


def _group_sum(x: Tensor, groups: int) -> Tensor:
    """Sums (N, groups, h, w) over the groups of channels of x (N, C, h, w)."""
    width = x.shape[1] // groups
    return F.conv2d(x, x.new_ones(groups, width, 1, 1), groups=groups)


class _Read(nn.Module):
    """Every place of the query reads the mask and the look of the support's places like itself.

    Places are alike by the cosine of one projection of both images' features; each head also
    prefers near places, as strongly as it learns to.
    """

    def __init__(self, width: int, source: int) -> None:
        super().__init__()
        self.heads = max(1, width // 48)
        self.key = nn.Linear(source, width)
        self.ask = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(source, width)
        self.out = nn.Linear(width + self.heads, width)
        self.sharpness = nn.Parameter(torch.full((self.heads,), 10.0).log())
        self.nearness = nn.Parameter(torch.linspace(20.0, 5.0, self.heads).log())
        nn.init.zeros_(self.ask.weight)

    def forward(self, x: Tensor, support: Tensor, mask: Tensor, query: Tensor) -> Tensor:
        """x (N, C, h, w); support (N, Sh, S, h, w); mask (N, Sh, 1, h, w); query (N, S, h, w)."""
        shots = support.shape[1]
        seen = support.movedim(2, -1).flatten(1, 3)
        ask = self.key(query.flatten(2).mT) + self.ask(x.flatten(2).mT)
        alike = _unit(self._split(ask)) @ _unit(self._split(self.key(seen))).mT
        near = _squared_distances(x).repeat(1, shots) * self.nearness.exp().view(-1, 1, 1)
        attention = torch.softmax(alike * self.sharpness.exp().view(-1, 1, 1) - near, -1)
        value = self._split(self.value(seen))
        where = mask.movedim(2, -1).flatten(1, 3)[:, None].expand(-1, self.heads, -1, -1)
        answer = attention.to(value.dtype) @ torch.cat([value, where], -1)
        added: Tensor = self.out(answer.transpose(1, 2).flatten(2))
        return x + added.mT.view_as(x)

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, P, C) to (N, heads, P, C / heads)."""
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors (..., C) of length 1."""
    return F.normalize(vectors, dim=-1)


def _squared_distances(x: Tensor) -> Tensor:
    """Between the positions of a map (N, C, h, w), whose longer side is 2: (h·w, h·w) float."""
    rows, columns = (torch.arange(n, device=x.device) for n in x.shape[-2:])
    places = torch.cartesian_prod(rows, columns).float() * (2 / max(x.shape[-2:]))
    return torch.cdist(places, places).square()


class _Matcher(nn.Module):
    """A U-Net over fused maps, from 1/4 down to 1/16 and back to full size."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse, deep = widths
        self.fuse_middle = _Fuse(middle, middle + 1)
        self.middle_in = _Residual(middle)
        self.fuse_coarse = _Fuse(coarse, middle)
        self.coarse_in = _Residual(coarse)
        self.read_coarse = _Read(coarse, coarse)
        self.down = _down(coarse, deep)
        self.fuse_deep = _Fuse(deep, deep)
        self.deep = nn.ModuleList(_Residual(deep) for _ in range(2))
        self.read_deep = nn.ModuleList(_Read(deep, deep) for _ in range(2))
        self.presence = nn.Linear(deep, 1)
        self.coarse_mix = nn.Conv2d(deep + coarse, coarse, 1)
        self.coarse_out = _Residual(coarse)
        self.middle_mix = nn.Conv2d(coarse + middle, middle, 1)
        self.middle_out = nn.Sequential(_Residual(middle), _Residual(middle))
        self.to_fine = nn.Conv2d(middle, fine, 1)
        self.fuse_fine = _Fuse(fine, fine + 1, shown=False)
        self.fine_out = nn.Sequential(_Residual(fine), _Residual(fine))
        self.out = nn.Sequential(
            nn.GroupNorm(1, fine), nn.ReLU(), nn.Conv2d(fine, 4, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(
        self, support: Features, masks: Tensor, query: Features, attention: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (N, 1, 2h, 2w) where "fine" is h×w, and presence (N,); see `InContext.compare`."""
        at = {
            name: (support[name], _at_scale(masks, query[name]), query[name])
            for name in ("fine", "middle", "coarse", "deep")
        }
        moved = _moved(attention, torch.cat(at["middle"][:2], 2))
        middle = self.middle_in(self.fuse_middle(*at["middle"], moved))
        coarse = self.coarse_in(self.fuse_coarse(*at["coarse"], F.avg_pool2d(middle, 2)))
        coarse = self.read_coarse(coarse, *at["coarse"])
        deep = self.fuse_deep(*at["deep"], self.down(coarse))
        for read, residual in zip(self.read_deep, self.deep, strict=True):
            deep = residual(read(deep, *at["deep"]))
        presence = self.presence(deep.mean((2, 3)))[:, 0]
        coarse = self.coarse_out(self.coarse_mix(torch.cat([_doubled(deep), coarse], 1)))
        middle = self.middle_mix(torch.cat([_doubled(coarse), middle], 1))
        before = torch.cat([self.to_fine(self.middle_out(middle)), moved[:, -1:]], 1)
        fine = self.fine_out(self.fuse_fine(*at["fine"], _doubled(before)))
        return self.out(fine), presence


class _Align(nn.Module):
    """Attention of each place of the query to the supports' places: alike in key, and near.

    Trained with a loss of its own (`correspondence_loss`), it is a soft registration.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(10.0).log())
        self.nearness = nn.Parameter(torch.tensor(10.0).log())

    def forward(self, support: Features, query: Features) -> Tensor:
        """Keys (N, Sh, C, h, w) of the supports and (N, C, h, w): weights (N, h·w, Sh·h·w)."""
        shown, asked = support["key"], query["key"]
        alike = asked.flatten(2).mT @ shown.transpose(1, 2).flatten(2)
        near = _squared_distances(asked).repeat(1, shown.shape[1])
        return torch.softmax(alike * self.sharpness.exp() - near * self.nearness.exp(), -1)


def _moved(attention: Tensor, support: Tensor) -> Tensor:
    """Maps (N, Sh, C, h, w) of the supports, moved to the query's places: (N, C, h, w)."""
    flat = support.movedim(2, -1).flatten(1, 3)
    moved = (attention.to(flat.dtype) @ flat).mT
    moved = moved.reshape(*moved.shape[:2], *support.shape[-2:])
    return moved.contiguous(memory_format=torch.channels_last)


def correspondence_loss(attention: Tensor, support: Tensor, query: Tensor) -> Tensor:
    """−log of the attention that each place of the query gives to places of its own label.

    Args:
        attention: (N, h·w, h·w), from `InContext.align` with one support.
        support: labels (N, H, W) int64 of the support, H a multiple of h.
        query: labels (N, H, W) of the query. Places whose label the support lacks are left out.
    """
    step = round((query[0].numel() / attention.shape[1]) ** 0.5)
    shown, wanted = (
        x[:, step // 2 :: step, step // 2 :: step].flatten(1) for x in (support, query)
    )
    labels = int(max(shown.max(), wanted.max())) + 1
    votes = attention @ F.one_hot(shown, labels).to(attention.dtype)
    share = votes.gather(2, wanted[..., None])[..., 0]
    there = (wanted[:, :, None] == shown[:, None]).any(2)
    return -(share.clamp_min(1e-4).log() * there).sum() / there.sum().clamp_min(1)


def _at_scale(masks: Tensor, like: Tensor) -> Tensor:
    """Masks (N, Sh, H, W) as the share of each cell of `like` (N, C, h, w): (N, Sh, 1, h, w)."""
    height, width = like.shape[-2:]
    return F.adaptive_avg_pool2d(masks, (height, width))[:, :, None].to(like.dtype)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def load_weights(path: Path, options: Options | None = None) -> InContext:
    """The network with the weights of a safetensors file (float16), ready to evaluate.

    Raises:
        WeightsError: the file is missing, or is not of this network.
    """
    try:
        state = load_file(path)
        network = InContext(options)
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path}: not weights of the in-context network: {error}") from error
    return network.eval()
