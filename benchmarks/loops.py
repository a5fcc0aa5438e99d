"""A method beside the loop of its official code: the same weights, images and episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from reference_loops import LOOPS, Loop
from reference_loops.dpcenet import DPCENetLoop
from torch import Tensor

from dpcenet.data.contact_sheet import evenly_spaced
from dpcenet.data.phantom.phantom import phantom
from dpcenet.data.store import PreparedCase, open_dataset
from dpcenet.evaluation.benchmark.flops import giga_operations
from dpcenet.evaluation.protocols import OrganChunks, SameSlices
from dpcenet.inference.encoded import EncodedScan, autocast
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import SliceMap
from dpcenet.inference.support import LabelledScan, SliceTask, SupportSlice
from dpcenet.methods.base import Method
from dpcenet.methods.registry import build_method
from dpcenet.nn.fuse_batch_norm import ready_to_predict
from dpcenet.system.device import Precision
from dpcenet.training.config import Config, load_preset
from dpcenet.training.episode_training import loss_terms, take_step
from dpcenet.training.run_folder import open_run
from dpcenet.types import Episode
from dpcenet.volumes.metrics import dice
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels

CHUNKS, ORGAN, EACH = 3, 1, 3  # EACH: slices of each organ that agreement is told of
CPU = torch.device("cpu")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
Masks = npt.NDArray[np.bool_]


def network(preset: str, changes: Sequence[str]) -> tuple[Config, Method]:
    """A preset's network; the same weights for the same words."""
    config = load_preset(preset, tuple(changes))
    torch.manual_seed(0)
    return config, build_method(config.method, config.options).eval()


@dataclass
class Slices:
    """Slices of a labelled scan, and others that they serve.

    Attributes:
        shown, masks: (K, 1, H, W), and the organ in them (K, H, W).
        query: (N, 1, H, W).
        served: (N,) which of the K slices serves each.
    """

    shown: Tensor
    masks: Tensor
    query: Tensor
    served: npt.NDArray[np.int64]

    @classmethod
    def made(cls, count: int, side: int) -> Slices:
        """Two made patients: three slices with the organ serve the thirds of the other's volume."""
        (images, masks), (query, _) = (_made_scan(seed, count, side) for seed in (1, 2))
        organ = masks.flatten(1).any(dim=1).nonzero()[:, 0]
        places = [int(organ[int((2 * k + 1) / 6 * len(organ))]) for k in range(CHUNKS)]
        return cls(images[places], masks[places], query, np.arange(count) * CHUNKS // count)

    def middle(self) -> Slices:
        """The query's middle slice alone."""
        place = slice(len(self.query) // 2, len(self.query) // 2 + 1)
        return Slices(self.shown, self.masks, self.query[place], self.served[place])

    def episode(self) -> Episode:
        """The organ in one slice, which is to be found in another."""
        return Episode(self.shown[:1], self.masks[:1], self.shown[1:2], self.masks[1:2])


def _made_scan(seed: int, slices: int, side: int) -> tuple[Tensor, Tensor]:
    """Prepared images (Z, 1, side, side) and masks of the largest organ (Z, side, side)."""
    spacing = 6.0, 320.0 / side, 320.0 / side
    image, label = phantom(seed, (slices, side, side), spacing, oblique=False)
    prepared, record = preprocess(image, Preprocessing.for_mr(size=side))
    masks = torch.from_numpy((preprocess_labels(label, record) == ORGAN).astype(np.float32))
    return torch.from_numpy(prepared.image)[:, None], masks


class Ours:
    """The package's way: a support is encoded once, and all slices are segmented together."""

    def __init__(self, method: Method, precision: Precision) -> None:
        ready_to_predict(method, precision == "bfloat16")
        self.predictor = Predictor(method, precision).at_first_look()

    def encode(self, images: Tensor) -> EncodedScan:
        """Of slices (N, 1, H, W)."""
        return self.predictor.encode(images[:, 0].numpy(), (1.0, 1.0, 1.0))

    def masks(self, given: Slices, support: EncodedScan | None = None) -> Masks:
        """(N, H, W)."""
        tasks = [
            SliceTask((SupportSlice(0, int(k)),), tuple(np.flatnonzero(given.served == k).tolist()))
            for k in np.unique(given.served)
        ]
        label = given.masks.numpy().astype(np.uint8)
        scan = LabelledScan("made", support or self.encode(given.shown), label)
        query, plan = self.encode(given.query), SameSlices(SliceMap({ORGAN: tasks}))
        return self.predictor.segment([scan], query, plan, [ORGAN]).masks[ORGAN]


@torch.no_grad()
def looped(loop: Loop, given: Slices) -> Masks:
    """Masks (N, H, W) of the loop, one slice after the other."""
    found = []
    for n, k in enumerate(given.served):
        shown, mask = given.shown[k : k + 1], given.masks[k : k + 1]
        out, _ = loop(shown, mask, given.query[n : n + 1])
        found.append(out.argmax(dim=1).bool())
    return torch.cat(found).numpy()


class LoopTraining:
    """The loop in training, its trunk too, and the losses of ours and theirs before any step.

    Args:
        frozen: whether our trunk is; then the loop's batch norm is as in ours, so that losses
            agree.
    """

    def __init__(
        self, network: tuple[Config, Method], episode: Episode, precision: Precision, frozen: bool
    ) -> None:
        config, method = network
        self.config, self.loop = config, LOOPS[config.method](method).train()
        method.train()
        self.loop.trunk.train(not frozen)
        self.episode = episode
        with torch.no_grad(), autocast(precision, CPU):
            terms = loss_terms(method(self.episode), self.episode, config.train)
            self.losses = [float(sum(terms.values())), 0.0]
        with torch.no_grad():
            self.losses[1] = float(self.loss())
        whole = [*self.loop.parameters()]
        self.optimiser = torch.optim.SGD(whole, 1e-3, 0.9, weight_decay=5e-4)

    def loss(self) -> Tensor:
        """Of the official kind."""
        episode, weight = self.episode, torch.tensor(self.config.train.class_weights)
        assert episode.query_masks is not None
        images = episode.support_images, episode.support_masks, episode.query_images
        out, more = self.loop(*images)
        total: Tensor = F.nll_loss(out, episode.query_masks.long(), weight=weight) + more
        return total

    def steps(self, count: int) -> None:
        """Learn."""
        for _ in range(count):
            take_step(self.optimiser, self.loss(), 1e-3, 0.0)


def flops(loop: Loop, call: Callable[[], Any]) -> float:
    """GFLOP of the call, or of DPCENet those of its equations at each scale."""
    if not isinstance(loop, DPCENetLoop):
        return giga_operations(call)
    scales = [*zip((64, 32)[-len(loop.scales) :], loop.scales.items(), strict=True)]

    @torch.no_grad()
    def heads() -> None:
        for side, (name, scale) in scales:
            support, query = torch.randn(2, 1, len(loop.reduce[name].weight), side, side)
            loop.prototypes(scale, support, query, torch.ones(1, 256, 256))

    return giga_operations(heads)


def trained_agreement(folder: Path) -> tuple[str, dict[str, Any]]:
    """Dice of ours with the float32 loop, with a run's weights, on a scan that it never saw.

    Returns:
        the run's method; for each precision of the trunk the mean and the least Dice of the organs,
        and the mean Dice with the truth, of the loop and of each precision.
    """
    run = open_run(folder)
    loop = LOOPS[run.config.method](run.load_method(CPU, fast=False))
    ours = {each: Ours(run.load_method(CPU, fast=False), each) for each in PRECISIONS}
    masks = [
        {"truth": truth, "loop": looped(loop, given)}
        | {precision: one.masks(given) for precision, one in ours.items()}
        for given, truth in _organs(folder)
    ]
    found: dict[str, Any] = {"organs": len(masks), "slices": sum(len(m["truth"]) for m in masks)}
    for name in PRECISIONS:
        same = [dice(each[name], each["loop"]) for each in masks]
        found[name] = {"mean": float(np.mean(same)), "least": float(np.min(same))}
    found["truth"] = {
        name: float(np.mean([dice(each[name], each["truth"]) for each in masks]))
        for name in ("loop", *PRECISIONS)
    }
    return run.config.method, found


def _organs(folder: Path) -> Iterator[tuple[Slices, Masks]]:
    """For each organ some slices of a scan that a run never saw, and the truth (N, H, W)."""
    run = open_run(folder)
    dataset = open_dataset(run.flags.data)
    name, queries = run.make_fold(dataset).pairs("last")[0]
    support, query = dataset.case(name), dataset.case(queries[0])
    for value in run.flags.test_labels or tuple(dataset.labels):
        tasks = OrganChunks(query.label).tasks([support.label], value)
        few = max(1, EACH // max(1, len(tasks)))
        seen = [[t.query[i] for i in evenly_spaced(len(t.query), few)] for t in tasks]
        shown, asked = [task.support[0].z for task in tasks], [z for places in seen for z in places]
        if asked:
            masks = torch.from_numpy((support.label[shown] == value).astype(np.float32))
            served = np.repeat(np.arange(len(tasks)), [len(places) for places in seen])
            given = Slices(_images(support, shown), masks, _images(query, asked), served)
            yield given, np.asarray(query.label[asked] == value)


def _images(case: PreparedCase, places: list[int]) -> Tensor:
    """(N, 1, H, W)."""
    return torch.from_numpy(np.asarray(case.image[places], np.float32))[:, None]
