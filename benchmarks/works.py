"""The works of the table: each as ours, and as the official loop does it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from agreement import ready
from inputs import ORGAN, SIZE, calibrate_norms, give_weights, made_scan
from kinds import Kind
from reference_loops import LOOPS, Loop
from reference_loops.dpcenet import DPCENetLoop
from torch import Tensor

from dpcenet.data.phantom.phantom import write_phantoms
from dpcenet.data.store import open_dataset
from dpcenet.evaluation.protocols import SameSlices
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import SliceMap
from dpcenet.inference.support import LabelledScan, SliceTask, SupportSlice
from dpcenet.methods.base import Method
from dpcenet.methods.registry import build_method
from dpcenet.nn.fuse_batch_norm import ready_to_predict
from dpcenet.system.device import Precision, autocast, choose_precision
from dpcenet.training.config import load_preset
from dpcenet.training.episode_training import loss_terms, make_optimiser, take_step
from dpcenet.training.episodes import EpisodeSampler
from dpcenet.training.feature_cache import FeatureBank, with_trunk_features
from dpcenet.types import Episode, Features
from dpcenet.volumes.metrics import dice

CHUNKS, AHEAD, BANKED, RATE = 3, 4, 32, 1e-3
DEVICE = torch.device("cpu")


class Work:
    """One work with its network, its images and both ways to do it."""

    def __init__(
        self, kind: Kind, slices: int, trunk: str | None = None, calibrate: bool = True
    ) -> None:
        self.kind, self.slices, self.plain = kind, slices, not calibrate
        self.config = load_preset(kind.preset, kind.overrides)
        self.precision: Precision = choose_precision("auto", DEVICE)
        torch.manual_seed(0)
        self.method: Method = build_method(self.config.method, self.config.options).eval()
        if trunk is not None and "resnet" in self.config.options.encoder.name:
            give_weights(self.method, trunk)
        elif calibrate:
            calibrate_norms(self.method, self.query[:: max(1, len(self.query) // 4)][:4])
        self.loop: Loop = LOOPS[self.config.method](self.method)
        if kind.task == "segment" and calibrate:
            self.trained, self.method = self.method, ready(self.method, self.precision)

    def only_ours(self) -> None:
        """Give the loop up, and with it the weights as they were trained."""
        del self.loop
        if self.kind.task == "segment":
            ready_to_predict(self.method, self.precision == "bfloat16")

    @cached_property
    def scans(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Images (Z, 1, 256, 256) and organ masks (Z, 256, 256) of two made patients.

        Where nothing is to be judged, noise and a square: making patients needs memory of its own.
        """
        if self.plain:
            masks = torch.zeros(self.slices, SIZE, SIZE)
            masks[:, 80:140, 90:170] = 1
            return (torch.randn(self.slices, 1, SIZE, SIZE), masks), (
                torch.randn(self.slices, 1, SIZE, SIZE),
                masks,
            )
        return made_scan(1, self.slices), made_scan(2, self.slices)

    @property
    def query(self) -> Tensor:
        """(Z, 1, H, W)."""
        return self.scans[1][0]

    @cached_property
    def shown(self) -> tuple[Tensor, Tensor]:
        """Three support slices with the organ: images (3, 1, H, W) and masks (3, H, W)."""
        images, masks = self.scans[0]
        organ = masks.flatten(1).any(dim=1).nonzero()[:, 0]
        places = [int(organ[int((2 * k + 1) / 6 * len(organ))]) for k in range(CHUNKS)]
        return images[places], masks[places]

    def episode(self) -> Episode:
        """Two slices of one patient."""
        images, masks = self.scans[0]
        z = int(masks.flatten(1).sum(dim=1).argmax())
        near = slice(z + 1, z + 2) if z + 1 < len(images) else slice(z - 1, z)
        return Episode(images[z : z + 1], masks[z : z + 1], images[near], masks[near])

    # Segmenting ------------------------------------------------------------------------------

    @property
    def _chunks(self) -> npt.NDArray[np.int64]:
        """(Z,) which support slice serves each slice: the first third, the second, the last."""
        return np.arange(self.slices) * CHUNKS // self.slices

    def encode_support(self) -> None:
        """Encode the three support slices, once for a volume."""
        self.support = self._encode(self.shown[0])

    def encode_one(self) -> None:
        """Encode a single slice, as the least that the trunk needs."""
        self._encode(self.query[:1])

    def segment_ours(self) -> Tensor:
        """Masks (Z, H, W) of the whole volume, its encoding included."""
        return self._segment(list(range(self.slices)))

    def _segment(self, places: list[int]) -> Tensor:
        """Masks (len(places), H, W)."""
        query = self._encode(self.query[places])
        served = self._chunks[places]
        tasks = [
            SliceTask((SupportSlice(0, k),), tuple(np.flatnonzero(served == k).tolist()))
            for k in set(served.tolist())
        ]
        label = self.shown[1].numpy().astype(np.uint8)
        scan, plan = LabelledScan("made", self.support, label), SameSlices(SliceMap({ORGAN: tasks}))
        found = self._predictor.segment([scan], query, plan, [ORGAN])
        return torch.from_numpy(found.masks[ORGAN])

    @property
    def _predictor(self) -> Predictor:
        return Predictor(self.method, self.precision).at_first_look()

    def _encode(self, images: Tensor) -> EncodedScan:
        return self._predictor.encode(images[:, 0].numpy(), (1.0, 1.0, 1.0))

    def agreement(self, places: list[int]) -> dict[str, float]:
        """Dice of ours with theirs on some slices, with the trunk in float32 and as it is timed.

        The last is the share of pixels that theirs finds.
        """
        theirs = self.segment_theirs(places)
        timed, dices = self.precision, []
        for self.precision in ("float32", timed):
            self.method = ready(self.trained, self.precision)
            self.encode_support()
            dices.append(dice(self._segment(places).numpy(), theirs.numpy()))
        return {"dice float32": dices[0], "dice": dices[1], "found": float(theirs.float().mean())}

    @torch.no_grad()
    def segment_theirs(self, places: list[int]) -> Tensor:
        """Masks (len(places), H, W) of some slices, one after the other."""
        images, masks = self.shown
        found = []
        for z in places:
            k = int(self._chunks[z])
            out, _ = self.loop(images[k : k + 1], masks[k : k + 1], self.query[z : z + 1])
            found.append(out.argmax(dim=1).bool())
        return torch.cat(found)

    # Training --------------------------------------------------------------------------------

    def loss_theirs(self, episode: Episode) -> Tensor:
        """The loss of the official kind: the trunk runs, and will be gone back through."""
        out, more = self.loop(episode.support_images, episode.support_masks, episode.query_images)
        assert episode.query_masks is not None
        weights = torch.tensor(self.config.train.class_weights)
        return F.nll_loss(out, episode.query_masks.long(), weight=weights) + more

    def loss_ours(self, episode: Episode, features: Features | None) -> Tensor:
        """The loss as `dpcenet train` takes it."""
        with autocast(self.precision, DEVICE):
            prediction = self.method(episode, features)
        return torch.stack([*loss_terms(prediction, episode, self.config.train).values()]).sum()

    def training(self) -> tuple[Callable[[], Any], Callable[[], Any], float]:
        """Ours (as many steps as the third says), theirs (one step)."""
        self.method.train()
        self.loop.train()
        if self.kind.task != "step":
            self.loop.trunk.eval()  # batch norm as in the frozen trunk, so that losses agree
        optimiser = make_optimiser(self.method, self.config.train)
        assert optimiser is not None
        everything = [*self.loop.parameters()]
        whole = torch.optim.SGD(everything, 1e-3, 0.9, weight_decay=5e-4)
        stream = self.steps()

        def ours() -> None:
            for _ in range(count):
                take_step(optimiser, self.loss_ours(*next(stream)), RATE, 0.0)

        count = 1 if self.kind.task == "step" else AHEAD
        return ours, lambda: take_step(whole, self.loss_theirs(self.episode()), RATE, 0.0), count

    def losses(self) -> dict[str, list[float]]:
        """Ours and theirs on one episode, before any step; none of a bank's own episodes."""
        if self.kind.task == "bank":
            return {}
        with torch.no_grad():
            pair = [self.loss_ours(self.episode(), None), self.loss_theirs(self.episode())]
        return {"losses": [float(loss) for loss in pair]}

    def steps(self) -> Iterator[tuple[Episode, Features | None]]:
        """The coming steps' episodes, and their trunk features where the trunk is frozen."""
        same = (self.episode() for _ in iter(int, 1))
        if self.kind.task == "step":
            return ((episode, None) for episode in same)
        if self.kind.task == "ahead":
            return iter(with_trunk_features(same, self.method, self.precision, AHEAD))
        return self._banked()

    def _banked(self) -> Iterator[tuple[Episode, Features | None]]:
        """Steps from a filled bank on disk, of a small data set that is prepared for it."""
        from dpcenet.data.prepare import prepare

        with tempfile.TemporaryDirectory() as folder:
            write_phantoms(Path(folder) / "raw", 2, shape=(10, SIZE, SIZE))
            prepare(Path(folder) / "raw", Path(folder) / "set", quiet=True)
            dataset = open_dataset(Path(folder) / "set")
            options = replace(self.config.episodes, views=4)
            sampler = EpisodeSampler(dataset.cases, options, seed=0)
            bank = FeatureBank(dataset, sampler, self.method, self.precision, DEVICE, 8.0)
            plans = [sampler.plan(n) for n in range(BANKED)]
            list(bank.episodes(plans))  # fills it
            while True:
                yield from bank.episodes(plans)

    # The official arithmetic -------------------------------------------------------------------

    def counted(self) -> Callable[[], Any]:
        """What the official GFLOP is of."""
        if self.config.method == "dpcenet":
            return self._heads
        if self.kind.task == "segment":
            return lambda: self.segment_theirs([0])
        return lambda: self.loss_theirs(self.episode()).backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _heads(self) -> None:
        """DPCENet's equations at each scale: 512 channels of 64x64 and 32x32 cells."""
        assert isinstance(self.loop, DPCENetLoop)
        scales = list(self.loop.scales.values())
        for side, scale in zip((64, 32)[-len(scales) :], scales, strict=True):
            support, query = torch.randn(2, 1, 512, side, side)
            self.loop.prototypes(scale, support, query, self.shown[1][:1])
