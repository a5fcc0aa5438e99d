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

from dpcenet.synthetic.deform import rotation, smooth_field
from dpcenet.synthetic.draws import Draws

LAYERS = 4  # air, skin, fat, muscle
FILLERS = 10
FREE, TWINS, CORES, SPOTS = 8, 6, 6, 8  # kinds of organs, in the order of their labels
ORGANS = FREE + TWINS + CORES + SPOTS
FIRST_ORGAN = LAYERS + FILLERS
LABELS = FIRST_ORGAN + ORGANS
NOISES = 8
_FIELD = 32  # pixels per side of the shared fields, before they are sampled


@dataclass(frozen=True)
class Organs:
    """Warped ellipsoids, K per anatomy.

    Attributes:
        centre: (B, K, 3) x, y, z.
        radii: (B, K, 3), log of the semi-axes.
        angle: (B, K), rotation in the slice, radians.
        bend: (B, K), curvature: 0 an ellipse, ±1 a crescent.
        tilt: (B, K, 2), how far the centre moves in x and y per unit of z.
        rough: (B, K), amplitude of the irregularity of the surface.
        noise: (B, K) int64, which shared noise field makes that irregularity.
        kin: (B, K) int64, whose patient-to-patient jitter it follows: a core its host's, others
            their own.
        order: (B, K), the higher one is seen where two overlap.
        alive: (B, K) bool, whether the patient has it.
    """

    centre: Tensor
    radii: Tensor
    angle: Tensor
    bend: Tensor
    tilt: Tensor
    rough: Tensor
    noise: Tensor
    kin: Tensor
    order: Tensor
    alive: Tensor

    def rows(self, index: Tensor) -> Organs:
        """Organs `index` (B, J) of each anatomy."""

        def take(x: Tensor) -> Tensor:
            wide = index.view(*index.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
            return x.gather(1, wide)

        return Organs(**{name: take(value) for name, value in vars(self).items()})


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


def draw_anatomy(draws: Draws, batch: int) -> Anatomy:
    """Draws `batch` anatomies, organs cut near z = 0."""
    coarse = smooth_field(draws, 2 * batch, 2, 6, _FIELD)
    noise = smooth_field(draws, 2 * batch, NOISES, 9, _FIELD)
    filler = smooth_field(draws, 2 * batch, FILLERS, 10, _FIELD)
    fields = torch.cat([0.06 * coarse, noise, filler], 1)
    thickness = draws.log_uniform(batch, LAYERS - 2, low=0.01, high=0.16)
    return Anatomy(
        organs=_draw_organs(draws, batch),
        wall=1 - F.pad(thickness, (1, 0)).cumsum(1),
        body=torch.stack(
            [draws.uniform(batch, low=0.7, high=1.0), draws.uniform(batch, low=0.5, high=0.9)], -1
        ),
        fields=fields.view(batch, 2, -1, _FIELD, _FIELD),
        speed=draws.uniform(batch, 1, fields.shape[1], low=0.5, high=5.0),
    )


def _draw_organs(draws: Draws, batch: int) -> Organs:
    free = _draw_free(draws, batch)
    twins = _mirrored(draws, free.rows(torch.arange(TWINS, device=draws.device).expand(batch, -1)))
    hosts = draws.uniform(batch, FREE + TWINS).argsort(1)[:, :CORES]
    cores = _hollowed(draws, _join(free, twins).rows(hosts))
    organs = _join(free, twins, cores, _draw_spots(draws, batch))
    kin = torch.arange(ORGANS, device=draws.device).repeat(batch, 1)
    kin[:, FREE + TWINS : FREE + TWINS + CORES] = hosts
    return replace(organs, kin=kin)


def _draw_free(draws: Draws, batch: int) -> Organs:
    """Organs of all sizes; some touch the one before them."""
    size = draws.log_uniform(batch, FREE, 1, low=0.07, high=0.5)
    stretch = draws.normal(batch, FREE, 2, std=0.3)
    flat_radii = size.log() + stretch - stretch.mean(-1, keepdim=True)
    height = draws.log_uniform(batch, FREE, 1, low=0.12, high=0.5).log()
    radii = torch.cat([flat_radii, height], -1)
    centre = draws.normal(batch, FREE, 3, std=0.35)
    angle = draws.uniform(batch, FREE, high=torch.pi)
    away = rotation(2 * angle)[..., 0] * (size + 0.6 * size.roll(1, 1))
    touches = draws.chance(batch, FREE, 1, p=0.4)
    flat = torch.where(touches, centre[..., :2].roll(1, 1) + away, centre[..., :2])
    depth = draws.uniform(batch, FREE, 1, low=-0.85, high=0.85) * radii[..., 2:].exp()
    return Organs(
        centre=torch.cat([flat, depth], -1),
        radii=radii,
        angle=angle,
        bend=draws.normal(batch, FREE, std=0.4),
        tilt=draws.normal(batch, FREE, 2, std=0.3),
        rough=draws.uniform(batch, FREE, high=0.22),
        noise=draws.integers(batch, FREE, high=NOISES),
        kin=draws.integers(batch, FREE, high=1),
        order=draws.uniform(batch, FREE) - size[..., 0],
        alive=draws.chance(batch, FREE, p=0.85),
    )


def _mirrored(draws: Draws, organs: Organs) -> Organs:
    """The other side's partner of each organ, there in about half of the cases."""
    batch, count = organs.angle.shape
    flip = torch.tensor([-1.0, 1.0, 1.0], device=draws.device)
    return replace(
        organs,
        centre=organs.centre * flip + draws.normal(batch, count, 3, std=0.05),
        radii=organs.radii + draws.normal(batch, count, 3, std=0.1),
        angle=-organs.angle + draws.normal(batch, count, std=0.2),
        bend=-organs.bend,
        tilt=organs.tilt * flip[:2],
        order=organs.order + 0.01,
        alive=organs.alive & draws.chance(batch, count, p=0.55),
    )


def _hollowed(draws: Draws, hosts: Organs) -> Organs:
    """A cavity or core inside each host, which becomes the wall around it."""
    batch, count = hosts.angle.shape
    shrink = draws.uniform(batch, count, 1, low=0.4, high=0.88).log()
    slack = draws.normal(batch, count, 3, std=0.06) * hosts.radii.exp()
    return replace(
        hosts,
        centre=hosts.centre + slack,
        radii=hosts.radii + shrink,
        order=hosts.order + 1e-3,
        alive=hosts.alive & draws.chance(batch, count, p=0.8),
    )


def _draw_spots(draws: Draws, batch: int) -> Organs:
    """Vessels and other small things, most of them long in z, seen over the rest."""
    size = draws.log_uniform(batch, SPOTS, 1, low=0.025, high=0.1)
    stretch = draws.normal(batch, SPOTS, 2, std=0.3)
    radii = size.log() + torch.cat([stretch, draws.uniform(batch, SPOTS, 1, high=2)], -1)
    depth = draws.uniform(batch, SPOTS, 1, low=-0.8, high=0.8) * radii[..., 2:].exp()
    return Organs(
        centre=torch.cat([draws.normal(batch, SPOTS, 2, std=0.35), depth], -1),
        radii=radii,
        angle=draws.uniform(batch, SPOTS, high=torch.pi),
        bend=draws.normal(batch, SPOTS, std=0.3),
        tilt=draws.normal(batch, SPOTS, 2, std=0.6),
        rough=draws.uniform(batch, SPOTS, high=0.2),
        noise=draws.integers(batch, SPOTS, high=NOISES),
        kin=draws.integers(batch, SPOTS, high=1),
        order=draws.uniform(batch, SPOTS) + 1,
        alive=draws.chance(batch, SPOTS, p=0.6),
    )


def _join(*parts: Organs) -> Organs:
    return Organs(**{k: torch.cat([getattr(p, k) for p in parts], 1) for k in vars(parts[0])})


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
        organs=_jittered(draws, organs, variation, missing),
        wall=1 - (1 - anatomy.wall) * thicker,
        fields=anatomy.fields * (1 - amount**2 / 2) + amount * fresh.view_as(anatomy.fields),
    )


def _jittered(draws: Draws, organs: Organs, variation: Tensor, missing: float) -> Organs:
    batch, count = organs.angle.shape
    size = organs.radii[..., :2].mean(-1).exp()
    # centre x, y, z; log-radii x, y, z; angle; bend
    std = torch.tensor([0.15, 0.15, 0.15, 0.12, 0.12, 0.12, 0.15, 0.12], device=draws.device)
    follow = organs.kin[..., None].expand(-1, -1, len(std))
    jitter = draws.normal(batch, count, len(std)).gather(1, follow)
    jitter = (jitter + draws.normal(batch, count, len(std), std=0.4)) * std
    jitter = jitter * variation.view(-1, 1, 1)
    return replace(
        organs,
        centre=organs.centre + jitter[..., :3] * size[..., None],
        radii=organs.radii + jitter[..., 3:6],
        angle=organs.angle + jitter[..., 6],
        bend=organs.bend + jitter[..., 7],
        alive=organs.alive & ~draws.chance(batch, count, p=missing),
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
    order = anatomy.organs.order.argsort(1)
    organs = anatomy.organs.rows(order)
    body = (places / anatomy.body[:, None, None]).square().sum(-1, keepdim=True).sqrt()
    wall = anatomy.wall[:, None, None] * (1 + 0.04 * noise[..., 1:4]) - body - 0.06 * noise[..., :1]
    ground = _ground(_enlarged(wall, size), _enlarged(fillers, size))
    return _painted(
        ground, _enlarged(_inside(organs, places, noise, depth), size), FIRST_ORGAN + order
    )


def _enlarged(field: Tensor, size: int) -> Tensor:
    """(B, h, w, C) to (B, size, size, C); with the channels last this is many times faster."""
    field = field.contiguous().permute(0, 3, 1, 2)
    field = F.interpolate(field, (size, size), mode="bilinear", align_corners=False)
    return field.permute(0, 2, 3, 1)


def _inside(organs: Organs, places: Tensor, noise: Tensor, depth: Tensor) -> Tensor:
    """1 − f of each organ (B, h, w, K): positive inside."""
    z = depth.view(-1, 1, 1)
    centre = organs.centre[..., :2] + organs.tilt * z
    turn = rotation(-organs.angle) / organs.radii[..., :2].exp().unsqueeze(-1)
    shift = -(turn @ centre[..., None])
    flat = places.flatten(1, 2)
    along = torch.baddbmm(shift[:, :, 0].mT, flat, turn[:, :, 0].mT)
    across = torch.baddbmm(shift[:, :, 1].mT, flat, turn[:, :, 1].mT)
    across = across - organs.bend[:, None] * (along.square() - 0.5)
    height = (z[..., 0] - organs.centre[..., 2]) * (-organs.radii[..., 2]).exp()
    distance = (along.square() + across.square() + height[:, None].square()).sqrt()
    rough = F.one_hot(organs.noise, NOISES) * organs.rough[..., None]
    inside = torch.baddbmm(1 - distance, noise.flatten(1, 2), -rough.mT)
    inside = inside.where(organs.alive[:, None], -1)
    return inside.view(*places.shape[:3], -1)


def _ground(wall: Tensor, fillers: Tensor) -> Tensor:
    """Air, the layers of the wall, and within them the fillers (B, H, W) int64."""
    layer = (wall > 0).sum(-1)
    return torch.where(wall[..., -1] > 0.06, LAYERS + fillers.argmax(-1), layer)


def _painted(ground: Tensor, inside: Tensor, label: Tensor) -> Tensor:
    """The organs over the ground, the last one topmost, none outside the body.

    The topmost organ is the highest bit of a number with one bit per organ: much faster than a
    maximum over the last axis. `frexp` gives the bit; rounding needs 24 organs on one pixel.
    """
    bits = torch.exp2(torch.arange(ORGANS, device=inside.device, dtype=inside.dtype))
    stack = (inside * 1e9).clamp_(0, 1) @ bits
    top = (torch.frexp(stack).exponent.long() - 1).clamp_min(0)
    seen = (stack >= 1) & (ground > 0)
    return torch.where(seen, label.gather(1, top.flatten(1)).view_as(top), ground)
