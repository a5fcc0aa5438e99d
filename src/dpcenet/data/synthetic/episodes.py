"""Episodes drawn from cohorts: support slices of some patients, query slices of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.data.synthetic.cohort import Cohort, CohortOptions, make_cohort
from dpcenet.errors import ConfigError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CohortEpisodeOptions:
    """What the episodes are like.

    Attributes:
        targets: structures asked for in each episode, T.
        shots: how often there are 1, 2, … support slices, relative to each other; a batch has as
            many throughout.
        scans: chance that several support slices come from up to three patients, not one.
        absent: share of queries chosen to lie beyond the first target.
        matched: share of supports chosen by how high the query lies within the organ; the others
            are chosen by the height in the body.
        misplaced: share of supports that lie slices away, as after wrong matching.
        smallest: fewest pixels of a target in a support slice, at 128 pixels per side.
        window: cohorts that a batch chooses from.
        stay: batches after which one of them is replaced.
    """

    targets: int = 3
    shots: tuple[float, ...] = (0.55, 0.0, 0.4, 0.0, 0.05)
    scans: float = 0.4
    absent: float = 0.2
    matched: float = 0.5
    misplaced: float = 0.1
    smallest: int = 35
    window: int = 12
    stay: int = 4


@dataclass(frozen=True)
class Episodes:
    """B episodes of Sh support slices, a query slice and T targets.

    Attributes:
        support_images: (B, Sh, H, W) float32, z-scored.
        query_images: (B, 1, H, W).
        support_masks: (B, T, Sh, H, W) float32 in {0, 1}; some are empty.
        query_masks: (B, T, H, W).
        support_labels: (B, Sh, H, W) int64, all parts.
        query_labels: (B, H, W).
    """

    support_images: Tensor
    query_images: Tensor
    support_masks: Tensor
    query_masks: Tensor
    support_labels: Tensor
    query_labels: Tensor

    def to(self, device: torch.device) -> Episodes:
        """The same episodes on `device`."""
        return Episodes(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass(frozen=True)
class _Choice:
    """Slices (patient, z) of an episode and its structures."""

    support: Integers
    query: tuple[int, int]
    targets: Integers


class EpisodeGenerator:
    """Endless batches of episodes; batch n is a pure function of (seed, n).

    Cohorts are kept while batches in a row need them.

    Args:
        seed: seed of the stream.
        batch: episodes per batch.
        cohorts: what the cohorts are like.
        options: what the episodes are like.
        device: where the episodes end up; they are made on the CPU.

    Raises:
        ConfigError: a cohort has no patient beside the query's.
    """

    def __init__(
        self,
        seed: int,
        batch: int,
        cohorts: CohortOptions,
        options: CohortEpisodeOptions,
        device: torch.device | str = "cpu",
    ) -> None:
        if cohorts.patients < 2:
            raise ConfigError(f"cohorts.patients is {cohorts.patients}: takes 2 or more")
        self.seed, self.batch = seed, batch
        self.cohorts, self.options = cohorts, options
        self.device = torch.device(device)
        self._kept: dict[int, Cohort] = {}

    def __call__(self, number: int) -> Episodes:
        """Batch `number` of the stream."""
        rng = np.random.default_rng([self.seed, 1, number])
        first, window = number // self.options.stay, self.options.window
        self._kept = {k: c for k, c in self._kept.items() if first <= k < first + window}
        chosen = first + rng.permutation(max(window, self.batch))[: self.batch] % window
        weights = np.array(self.options.shots)
        shots = 1 + int(rng.choice(len(weights), p=weights / weights.sum()))
        made = [self._episode(rng, self._cohort(int(index)), shots) for index in chosen]
        stacked = (torch.from_numpy(np.stack(each)) for each in zip(*made, strict=True))
        return Episodes(*stacked).to(self.device)

    def _cohort(self, index: int) -> Cohort:
        if index not in self._kept:
            self._kept[index] = make_cohort(self.seed, index, self.cohorts)
        return self._kept[index]

    def _episode(
        self, rng: np.random.Generator, cohort: Cohort, shots: int
    ) -> tuple[npt.NDArray[np.generic], ...]:
        """The fields of `Episodes` of one episode."""
        smallest = self.options.smallest * (self.cohorts.size / 128) ** 2
        choice = draw_choice(rng, cohort, self.options, shots, smallest)
        turn, flip = 0, False
        if rng.random() < 0.3:  # however a scan is stored
            turn, flip = int(rng.integers(4)), bool(rng.random() < 0.5)

        def turned(x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
            x = np.rot90(x, turn, (-2, -1))
            return np.ascontiguousarray(x[..., ::-1] if flip else x)

        shown, asked = tuple(choice.support.T), choice.query
        table = cohort.structures[choice.targets]
        found = (
            cohort.images[shown],
            cohort.images[asked][None],
            table[:, cohort.parts[shown]].astype(np.float32),
            table[:, cohort.parts[asked]].astype(np.float32),
            cohort.parts[shown].astype(np.int64),
            cohort.parts[asked].astype(np.int64),
        )
        return tuple(turned(x) for x in found)


def draw_choice(
    rng: np.random.Generator,
    cohort: Cohort,
    options: CohortEpisodeOptions,
    shots: int,
    smallest: float,
) -> _Choice:
    """Slices and structures of an episode; the first support slice shows every target."""
    patients = rng.permutation(len(cohort.images))
    query, others = int(patients[0]), patients[1:]
    seen = cohort.areas >= smallest
    both = seen[others[0]].any(1) & seen[query].any(1)
    weight = cohort.weights * (both + 1e-3 * seen[others[0]].any(1)) + 1e-12
    target = int(rng.choice(len(weight), p=weight / weight.sum()))
    asked, place = _asked(rng, cohort, query, target, options)
    support = _shown(rng, cohort, (query, asked, place), others, target, options, shots)
    weight = cohort.weights * seen[support[0, 0], :, support[0, 1]]
    weight[target] = 0
    weight += 1e-9 * cohort.weights
    rest = rng.choice(len(weight), options.targets - 1, replace=False, p=weight / weight.sum())
    rest = np.where(seen[support[0, 0], rest, support[0, 1]], rest, target)
    return _Choice(support, (query, asked), np.array([target, *rest]))


def _asked(
    rng: np.random.Generator, cohort: Cohort, query: int, target: int, options: CohortEpisodeOptions
) -> tuple[int, float]:
    """A query slice, and where in the organ's height (0 to 1) it lies; one that lies beyond the
    organ counts as its end."""
    slices = cohort.images.shape[1]
    there = np.flatnonzero(cohort.areas[query, target])
    if len(there) == 0:
        return int(rng.integers(slices)), float(rng.random())
    low, high = there[0], there[-1]
    z = int(rng.choice(there))
    if rng.random() < options.absent:
        steps = 1 + int(rng.exponential(2.0))
        z = int(np.clip(low - steps if rng.random() < 0.5 else high + steps, 0, slices - 1))
    place = (z - low + rng.random()) / (high - low + 1)
    return z, float(np.clip(place, 0, 1))


def _shown(
    rng: np.random.Generator,
    cohort: Cohort,
    asked: tuple[int, int, float],
    others: Integers,
    target: int,
    options: CohortEpisodeOptions,
    shots: int,
) -> Integers:
    """Support slices (shots, 2) as (patient, z): one or more of each scan, side by side."""
    query, z, place = asked
    scans = (
        int(rng.integers(1, 1 + min(3, shots, len(others)))) if rng.random() < options.scans else 1
    )
    middles = []
    for scan in others[:scans]:
        there = np.flatnonzero(cohort.areas[scan, target])
        matched = rng.random() < options.matched or len(there) == 0
        wrong = rng.normal(0, 3) if rng.random() < options.misplaced else rng.normal(0, 0.5)
        if matched and len(there):
            height = len(there) * (place + rng.normal(0, 0.08))
            middle = there[0] + height - 0.5 + wrong
        else:
            apart = np.abs(cohort.heights[scan] - cohort.heights[query, z])
            middle = int(apart.argmin()) + wrong
        middle = round(middle)
        if len(there):  # a support slice shows the organ, or the person would not give it
            middle = int(there[np.abs(there - middle).argmin()])
        middles.append((int(scan), middle))
    beside = (0, 1, -1, 2, -2)
    found = [
        (scan, z + beside[n // scans]) for n in range(shots) for scan, z in [middles[n % scans]]
    ]
    return np.clip(found, 0, [len(cohort.images) - 1, cohort.images.shape[1] - 1])
