"""Organs as warped 3-D ellipsoids: free ones, partners on the other side, cores, and vessels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.data.synthetic.deform import rotation
from dpcenet.data.synthetic.draws import Draws

FREE, TWINS, CORES, SPOTS = 8, 6, 6, 8  # kinds of organs, in the order of their labels
ORGANS = FREE + TWINS + CORES + SPOTS
NOISES = 8  # fields of noise among which organs choose the roughness of their surface


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
        leader: (B, K) int64, whose patient-to-patient jitter it follows: a core its host's, others
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
    leader: Tensor
    order: Tensor
    alive: Tensor

    def rows(self, index: Tensor) -> Organs:
        """Organs `index` (B, J) of each anatomy."""

        def take(x: Tensor) -> Tensor:
            wide = index.view(*index.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
            return x.gather(1, wide)

        return Organs(**{name: take(value) for name, value in vars(self).items()})


def draw_organs(draws: Draws, batch: int, chambers: float) -> Organs:
    """Draws the organs of `batch` anatomies, cut near z = 0.

    Args:
        draws: source of the numbers.
        batch: how many anatomies.
        chambers: chance that two cores share a host, side by side.
    """
    free = _draw_free(draws, batch)
    twins = _mirrored(draws, free.rows(torch.arange(TWINS, device=draws.device).expand(batch, -1)))
    hosts = draws.uniform(batch, FREE + TWINS).argsort(1)[:, :CORES]
    shared = draws.chance(batch, CORES // 2, p=chambers).repeat_interleave(2, 1)
    hosts = torch.where(shared, hosts[:, ::2].repeat_interleave(2, 1), hosts)
    cores = _parted(_hollowed(draws, _join(free, twins).rows(hosts)), shared)
    organs = _join(free, twins, cores, _draw_spots(draws, batch))
    leader = torch.arange(ORGANS, device=draws.device).repeat(batch, 1)
    leader[:, FREE + TWINS : FREE + TWINS + CORES] = hosts
    return replace(organs, leader=leader)


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
        leader=draws.integers(batch, FREE, high=1),
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


def _parted(cores: Organs, shared: Tensor) -> Organs:
    """Cores that share their host (B, K) bool, moved apart along its first axis and narrowed."""
    side = torch.tensor([-1.0, 1.0], device=shared.device).repeat(shared.shape[1] // 2) * shared
    width = cores.radii[..., 0].exp() * side
    away = 0.6 * rotation(cores.angle)[..., 0] * width[..., None]
    narrow = F.pad(0.7 * shared[..., None], (0, 2))
    return replace(cores, centre=cores.centre + F.pad(away, (0, 1)), radii=cores.radii - narrow)


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
        leader=draws.integers(batch, SPOTS, high=1),
        order=draws.uniform(batch, SPOTS) + 1,
        alive=draws.chance(batch, SPOTS, p=0.6),
    )


def _join(*parts: Organs) -> Organs:
    return Organs(**{k: torch.cat([getattr(p, k) for p in parts], 1) for k in vars(parts[0])})


def jittered(draws: Draws, organs: Organs, variation: Tensor, missing: float) -> Organs:
    """The organs of one patient; see `labels.draw_patient`."""
    batch, count = organs.angle.shape
    size = organs.radii[..., :2].mean(-1).exp()
    # centre x, y, z; log-radii x, y, z; angle; bend
    std = torch.tensor([0.15, 0.15, 0.15, 0.12, 0.12, 0.12, 0.15, 0.12], device=draws.device)
    follow = organs.leader[..., None].expand(-1, -1, len(std))
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
