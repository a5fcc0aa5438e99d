"""Anatomy-like label fields: implicit 3-D bodies with organs in them, cut at a slice.

An anatomy is a list of implicit functions f(x, y, z) in coordinates where the field of view is
about [−1, 1]²; a thing is where its f < 1. Two patients of one anatomy jitter its numbers, look at
it through their own coordinates, and are cut at their own z. Labels: 0 air, then the layers of the
body wall, then fillers (the tissue between the organs), then the organs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.data.synthetic.deform import rotation, smooth_field
from dpcenet.data.synthetic.draws import Draws
from dpcenet.data.synthetic.organs import NOISES, ORGANS, Organs, draw_organs, jittered

LAYERS = 4  # air, skin, fat, muscle
FILLERS = 10
FIRST_ORGAN = LAYERS + FILLERS
LABELS = FIRST_ORGAN + ORGANS
FARTHEST = 3.0  # deviations of the noise beyond which it carries no surface
FAR = 1e3  # semi-axes away: nowhere
_FIELD = 32  # pixels per side of the shared fields, before they are sampled


@dataclass(frozen=True)
class Anatomy:
    """What the patients of a pair have in common.

    Attributes:
        organs: the ellipsoids.
        wall: (B, LAYERS − 1), f of the body at which skin, fat and muscle begin, falling from 1.
        body: (B, 2), semi-axes of the body.
        fields: (B, 2, C, h, w), smooth noise as the two phases of an oscillation along z:
            2 channels of displacement, NOISES of surface noise, FILLERS of filler scores.
        speed: (B, 1, C), its angular frequency along z.
    """

    organs: Organs
    wall: Tensor
    body: Tensor
    fields: Tensor
    speed: Tensor


def draw_anatomy(draws: Draws, batch: int, chambers: float) -> Anatomy:
    """Draws `batch` anatomies, organs cut near z = 0; for `chambers` see `draw_organs`."""
    coarse = smooth_field(draws, 2 * batch, 2, 6, _FIELD)
    noise = smooth_field(draws, 2 * batch, NOISES, 9, _FIELD)
    filler = smooth_field(draws, 2 * batch, FILLERS, 10, _FIELD)
    fields = torch.cat([0.06 * coarse, noise, filler], 1)
    thickness = draws.log_uniform(batch, LAYERS - 2, low=0.01, high=0.16)
    return Anatomy(
        organs=draw_organs(draws, batch, chambers),
        wall=1 - F.pad(thickness, (1, 0)).cumsum(1),
        body=torch.stack(
            [draws.uniform(batch, low=0.7, high=1.0), draws.uniform(batch, low=0.5, high=0.9)], -1
        ),
        fields=fields.view(batch, 2, -1, _FIELD, _FIELD),
        speed=draws.uniform(batch, 1, fields.shape[1], low=0.5, high=5.0),
    )


def draw_patient(draws: Draws, anatomy: Anatomy, variation: Tensor, missing: float) -> Anatomy:
    """One patient of each anatomy: its numbers jittered, an organ gone with chance `missing`.

    Args:
        draws: source of the jitter.
        anatomy: B anatomies.
        variation: (B,), how much patients differ; 1 is usual.
        missing: chance that an organ is absent.
    """
    organs = anatomy.organs
    fresh = smooth_field(draws, 2 * len(variation), anatomy.fields.shape[2], 8, _FIELD)
    fresh[:, :2] *= 0.06
    amount = 0.35 * variation.view(-1, 1, 1, 1, 1).clamp_max(1.5)
    thicker = (draws.normal(len(variation), 1, std=0.3) * variation[:, None]).exp()
    return replace(
        anatomy,
        organs=jittered(draws, organs, variation, missing),
        wall=1 - (1 - anatomy.wall) * thicker,
        fields=anatomy.fields * (1 - amount**2 / 2) + amount * fresh.view_as(anatomy.fields),
    )


def cut(anatomy: Anatomy, coordinates: Tensor, depth: Tensor, size: int) -> Tensor:
    """The label map of a slice.

    Args:
        anatomy: B patients.
        coordinates: (B, h, w, 2), where the pixels lie in the anatomy; may be coarser than `size`.
        depth: (B,), z of the slice.
        size: pixels per side of the result.

    Returns:
        (B, size, size) int64 in [0, LABELS).
    """
    phase = (anatomy.speed * depth.view(-1, 1, 1))[..., None, None]
    fields = anatomy.fields[:, 0] * phase[:, 0].cos() + anatomy.fields[:, 1] * phase[:, 0].sin()
    sampled = F.grid_sample(fields, coordinates, padding_mode="reflection", align_corners=False)
    sampled = sampled.permute(0, 2, 3, 1)
    places = coordinates + sampled[..., :2]
    noise, fillers = sampled[..., 2 : 2 + NOISES], sampled[..., 2 + NOISES :]
    order = _shown(anatomy.organs, depth)
    organs = anatomy.organs.rows(order)
    body = (places / anatomy.body[:, None, None]).square().sum(-1, keepdim=True).sqrt()
    wall = anatomy.wall[:, None, None] * (1 + 0.04 * noise[..., 1:4]) - body - 0.06 * noise[..., :1]
    ground = _ground(_enlarged(wall, size), _enlarged(fillers, size))
    return _painted(
        ground, _enlarged(_inside(organs, places, noise, depth), size), FIRST_ORGAN + order
    )


def _shown(organs: Organs, depth: Tensor) -> Tensor:
    """The organs (B, K) that the slices may show, in the order of painting: K as few as they allow,
    since one that is not seen costs as much as the others."""
    reach = 1 + FARTHEST * organs.rough
    there = organs.alive & (_height(organs, depth).abs() < reach)
    order = organs.order.where(there, -torch.inf).argsort(1)
    # On a GPU counting would make the program wait for it.
    return order if order.is_cuda else order[:, ORGANS - max(1, int(there.sum(1).max())) :]


def _height(organs: Organs, depth: Tensor) -> Tensor:
    """(B, K), how far from each organ's centre the slices lie, in semi-axes along z."""
    return (depth[:, None] - organs.centre[..., 2]) * (-organs.radii[..., 2]).exp()


def _enlarged(field: Tensor, size: int) -> Tensor:
    """(B, h, w, C) to (B, size, size, C); with the channels last this is many times faster."""
    field = field.contiguous().permute(0, 3, 1, 2)
    field = F.interpolate(field, (size, size), mode="bilinear", align_corners=False)
    return field.permute(0, 2, 3, 1)


def _inside(organs: Organs, places: Tensor, noise: Tensor, depth: Tensor) -> Tensor:
    """−f of each organ (B, h, w, K): above −1 inside. In place where it can be: these are large."""
    centre = organs.centre[..., :2] + organs.tilt * depth.view(-1, 1, 1)
    turn = rotation(-organs.angle) / organs.radii[..., :2].exp().unsqueeze(-1)
    shift = -(turn @ centre[..., None])
    flat, bend = places.flatten(1, 2), organs.bend[:, None]
    along = torch.baddbmm(shift[:, :, 0].mT, flat, turn[:, :, 0].mT)
    across = torch.baddbmm(shift[:, :, 1].mT + 0.5 * bend, flat, turn[:, :, 1].mT)
    square = along.square_()
    across.addcmul_(square, -bend)  # across − bend·(along² − 1/2)
    height = _height(organs, depth).where(organs.alive, FAR)
    distance = square.addcmul_(across, across).add_(height.square()[:, None]).sqrt_()
    rough = F.one_hot(organs.noise, NOISES) * organs.rough[..., None]
    inside = distance.baddbmm_(noise.flatten(1, 2), -rough.mT, beta=-1)
    return inside.view(*places.shape[:3], -1)


def _ground(wall: Tensor, fillers: Tensor) -> Tensor:
    """Air, the layers of the wall, and within them the fillers (B, H, W) int64."""
    layer = (wall > 0).sum(-1)
    return torch.where(wall[..., -1] > 0.06, LAYERS + fillers.max(-1).indices, layer)


def _painted(ground: Tensor, inside: Tensor, label: Tensor) -> Tensor:
    """The organs over the ground, the last one topmost, none outside the body."""
    top = _highest_bit(inside.gt_(-1))
    seen = (top >= 0) & (ground > 0)
    top = label.gather(1, top.clamp_min(0).flatten(1)).view_as(top)
    return torch.where(seen, top, ground)


def _highest_bit(marks: Tensor) -> Tensor:
    """The last place (...) int64 on the last axis of (..., K) where marks of 0 and 1 are 1, or < 0.

    It is the highest bit of a number with one bit per place: much faster than an argmax over a
    short axis. A float32 stores that bit as its exponent, with 127 added, from bit 23 on; rounding
    needs 24 marks at once.
    """
    bits = torch.exp2(torch.arange(marks.shape[-1], device=marks.device, dtype=marks.dtype))
    return ((marks @ bits).view(torch.int32) >> 23).long() - 127
