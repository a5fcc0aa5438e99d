"""GMRD against the official numbers, and against its equations written in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from dpcenet.methods.gmrd.descriptors import descriptor_loss, populate
from dpcenet.methods.gmrd.model import GMRD, Options
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.losses import segmentation_loss
from dpcenet.nn.map_decoder import MapDecoder
from dpcenet.nn.similarity import cosine_maps
from dpcenet.types import Episode, Features, Prediction
from heads import Array, bilinear, episode, gap, nll

Golden = Callable[[str], dict[str, np.ndarray]]
TINY = EncoderOptions(name="resnet18", layout="64+32", outputs=("layer3",))
CLASS_WEIGHTS = (0.1, 1.0)
CLASSES = {"foreground": "1", "background": "2"}  # ours → the official number
EPS = float(np.finfo(np.float32).eps)


def gmrd(width: int = 6, **options: Any) -> GMRD:
    torch.manual_seed(0)
    settings = {
        "grid": (31, 43),
        "foreground": 5,
        "background": 7,
        "hidden": 4,
        "mlp_dropout": 0.0,
        "decoder_dropout": 0.0,
    }
    return GMRD(Options(encoder=TINY, width=width, **(settings | options)))


def official(n: dict[str, np.ndarray]) -> GMRD:
    """The official preset's head with the golden weights, at the golden sizes."""
    foreground, background = (len(n[f"w.mlp{i}.reduce.0.weight"]) for i in (1, 2))
    head = gmrd(
        n["supp_fts"].shape[1],
        grid=n["supp_mask"].shape[1:],
        foreground=foreground,
        background=background,
        hidden=len(n["w.decoder1.down.0.weight"]),
        relu=False,
        ring="signed",
        descriptor_weight=0.0,
    )
    for name, number in CLASSES.items():
        mlp, decoder = head.mlps[name], head.decoders[name]
        for ours, theirs in (("first", "0"), ("last", "2")):
            for kind in ("weight", "bias"):
                value = torch.tensor(n[f"w.mlp{number}.reduce.{theirs}.{kind}"])
                mlp.get_submodule(ours).get_parameter(kind).data = value
        prefix = f"w.decoder{number}."
        weights = {k.removeprefix(prefix): v for k, v in n.items() if k.startswith(prefix)}
        decoder.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
    return head


def pools(n: dict[str, np.ndarray]) -> list[Tensor]:
    """Foreground and background of the support, then of the query as it was predicted."""
    masks = [torch.tensor(n[f"rec.get_fg_pts.{side}.mask"])[0] > 0 for side in (0, 1)]
    return [masks[0], ~masks[0], masks[1], ~masks[1]]


def recorded_sources(n: dict[str, np.ndarray]) -> list[Tensor]:
    """Which pixel each pixel of the four recorded maps has its feature from, found by value."""
    found = []
    for i, pool in enumerate(pools(n)):
        features = n["supp_fts" if i < 2 else "qry_fts"][0]
        large = bilinear(features.astype(float), pool.shape, align_corners=True)
        members = np.flatnonzero(pool.numpy())
        rows = large.reshape(len(large), -1)[:, members]
        populated = n[f"rec.get_fg_fts.{i}.out"][0].reshape(len(large), -1)
        distance = np.abs(populated[:, :, None] - rows[:, None]).max(axis=0)
        assert distance.min(axis=1).max() < 1e-5
        found.append(torch.tensor(members[distance.argmin(axis=1)]))
    return found


def features_of(maps: npt.ArrayLike, grad: bool = False) -> Features:
    tensor = torch.tensor(np.asarray(maps), dtype=torch.float32)
    return Features({"features": tensor.requires_grad_(grad)})


def test_outputs_losses_and_gradients_are_the_official_ones(golden: Golden) -> None:
    n = golden("gmrd")
    sources = iter(recorded_sources(n))
    support, query = features_of(n["supp_fts"], grad=True), features_of(n["qry_fts"], grad=True)
    prediction = (
        official(n)
        .train()
        .match_from(lambda pool: next(sources), support, torch.tensor(n["supp_mask"]), query)
    )
    query_loss = segmentation_loss(prediction.log_probs, torch.tensor(n["qry_mask"]), CLASS_WEIGHTS)
    total = query_loss + prediction.losses["align"]
    total.backward()
    assert set(prediction.losses) == {"align"}
    assert_allclose(prediction.log_probs.detach().exp().numpy(), n["prob"], rtol=1e-5)
    assert gap(query_loss, n["loss_query"]) < 1e-5
    assert gap(prediction.losses["align"], n["loss_align"]) < 1e-5
    assert gap(total, n["loss_total"]) < 1e-5
    for side, name in ((support, "supp_fts"), (query, "qry_fts")):
        assert side["features"].grad is not None
        assert gap(side["features"].grad, n[f"grad_{name}"]) < 1e-5


@pytest.mark.parametrize("side", [0, 1])
def test_descriptors_and_decoded_maps_are_the_official_ones(golden: Golden, side: int) -> None:
    n = golden("gmrd")
    head, sources = official(n), iter(recorded_sources(n)[2 * side :])
    own, other = (
        torch.tensor(n[k]) for k in (("supp_fts", "qry_fts"), ("qry_fts", "supp_fts"))[side]
    )
    mask = torch.tensor(n[f"rec.get_fg_pts.{side}.mask"])
    with torch.no_grad():
        found = head.describe_classes(own, mask, lambda pool: next(sources))
        for name, short in (("foreground", "fg"), ("background", "bg")):
            assert gap(found[name], n[f"rec.get_{short}_pts.{side}.out"]) < 1e-5
            logits = head.decoders[name](cosine_maps(other, found[name]))
            assert gap(logits, n[f"rec.get_{short}_sim.{side}.out"]) < 1e-5


class Recorded(Random):
    """Gives a sample that is known."""

    def __init__(self, indices: list[int]) -> None:
        super().__init__()
        self.indices = indices

    def sample(self, population: Any, k: int) -> list[int]:
        assert set(self.indices[:k]) <= set(population)
        return self.indices[:k]


def test_populating_is_the_official_one_but_for_the_sample(golden: Golden) -> None:
    n = golden("gmrd")
    for pool, source in zip(pools(n), recorded_sources(n), strict=True):
        members = pool.flatten().nonzero()[:, 0].tolist()
        outside = source[~pool.flatten()].tolist()
        sample = [members.index(pixel) for pixel in outside]
        assert torch.equal(populate(pool, Recorded(sample)), source)


def test_the_descriptor_loss_is_the_official_one(golden: Golden) -> None:
    n = golden("gmrd")
    sides = [
        {
            name: torch.tensor(n[f"aux.{side}_{short}"])
            for name, short in (("foreground", "fg"), ("background", "bg"))
        }
        for side in ("sup", "qry")
    ]
    assert gap(descriptor_loss(*sides), n["aux.loss"]) < 1e-5


def numpy_mean(features: Array, weights: Array) -> Array:
    """(C, h, w) and (H, W) → (C,)."""
    large = bilinear(features, weights.shape, align_corners=True)
    return (large * weights).sum(axis=(1, 2)) / (weights.sum() + 1e-5)


def numpy_descriptors(
    head: GMRD, features: Array, masks: Array, random: Random
) -> dict[str, Array]:
    """Mean over the shots of (K, C) descriptors, by populated maps of all pixels."""
    square, shots = np.ones((3, 3)), []
    for maps, mask in zip(features, masks == 1, strict=True):
        large = bilinear(maps, mask.shape, align_corners=True).reshape(len(maps), -1)
        eroded = scipy.ndimage.binary_erosion(mask, square, iterations=2, border_value=1)
        dilated = scipy.ndimage.binary_dilation(mask, square, iterations=2)
        found = {}
        for name, pool, ring in (
            ("foreground", mask, mask & ~eroded),
            ("background", ~mask, dilated & ~mask),
        ):
            w = {k: v.double().numpy() for k, v in head.mlps[name].state_dict().items()}
            source = populate(torch.tensor(pool), random).numpy()
            hidden = large[:, source] @ w["first.weight"].T + w["first.bias"]
            made = np.maximum(hidden, 0) @ w["last.weight"].T + w["last.bias"]
            special = [numpy_mean(maps, weights.astype(float)) for weights in (pool, ring)]
            found[name] = np.concatenate([made.T, special])
        shots.append(found)
    return {name: np.mean([shot[name] for shot in shots], axis=0) for name in shots[0]}


def numpy_log_probs(head: GMRD, descriptors: dict[str, Array], maps: Array, size: Any) -> Array:
    logits = []
    for name in ("background", "foreground"):
        d = descriptors[name] / np.linalg.norm(descriptors[name], axis=1, keepdims=True)
        units = maps / np.linalg.norm(maps, axis=1, keepdims=True)
        cosines = np.einsum("nchw,kc->nkhw", units, d)
        decoder = MapDecoder(cosines.shape[1], len(d) - 2, head.options.hidden).double()
        decoder.load_state_dict(head.decoders[name].state_dict())
        with torch.no_grad():
            logits.append(decoder(torch.tensor(cosines)).numpy())
    large = bilinear(np.concatenate(logits, axis=1), size, align_corners=True)
    e = np.exp(large - large.max(axis=1, keepdims=True))
    return np.log((e / e.sum(axis=1, keepdims=True)).clip(EPS, 1 - EPS))


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def numpy_descriptor_loss(s: dict[str, Array], q: dict[str, Array]) -> float:
    loss = 2.0
    for name in s:
        cosines = unit(s[name]) @ unit(q[name]).T
        best = [row[:-2].max() for row in cosines[:-2]]
        loss -= float(np.mean([*best, cosines[-2, -2], cosines[-1, -1]]))
    for side in (s, q):
        loss += max(0.0, float((unit(side["foreground"]) @ unit(side["background"]).T).mean()))
    return loss


def match(head: GMRD, e: tuple[Array, ...], seed: int = 0) -> Prediction:
    support, masks, query, truth = e
    mask, wanted = torch.tensor(masks).float(), torch.tensor(truth).float()
    return head.match(features_of(support), mask, features_of(query), query_masks=wanted, seed=seed)


def test_prediction_and_losses_follow_the_equations() -> None:
    s, s_masks, q, q_masks = episode(4, shots=2, queries=3)
    head, size = gmrd().train(), s_masks.shape[1:]
    prediction = match(head, (s, s_masks, q, q_masks), seed=9)
    random = Random(9)
    own = numpy_descriptors(head, s, s_masks, random)
    expected = numpy_log_probs(head, own, q, size)
    assert_allclose(prediction.log_probs.detach(), expected, rtol=1e-4, atol=1e-5)
    predicted = (expected[:, 1] > expected[:, 0]).astype(float)
    assert predicted.any(axis=(1, 2)).all()
    align, apart = 0.0, 0.0
    for i, mask in enumerate(predicted):
        other = numpy_descriptors(head, q[[i]], mask[None], random)
        align += nll(numpy_log_probs(head, other, s, size), s_masks) / 3
        apart += 0.5 * numpy_descriptor_loss(own, other) / 3
    assert set(prediction.losses) == {"align", "descriptors"}
    assert prediction.losses["align"].item() == pytest.approx(align, rel=1e-4)
    assert prediction.losses["descriptors"].item() == pytest.approx(apart, rel=1e-4)


def test_many_queries_at_once_equal_one_after_the_other() -> None:
    s, s_masks, q, q_masks = episode(2, shots=1, queries=3)
    head = gmrd().eval()
    together = match(head, (s, s_masks, q, q_masks)).log_probs
    single = [match(head, (s, s_masks, q[[i]], q_masks[[i]])).log_probs for i in range(3)]
    assert_allclose(together.detach(), torch.cat(single).detach(), rtol=1e-5, atol=1e-6)


def test_the_seed_alone_decides() -> None:
    e = episode(3, shots=1, queries=1)
    head = gmrd().eval()
    drawn = [match(head, e, seed).log_probs for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_truth_of_the_query_changes_nothing() -> None:
    s, s_masks, q, q_masks = episode(3, shots=1, queries=1)
    head = gmrd().train()
    one, two = (match(head, (s, s_masks, q, truth)) for truth in (q_masks, 1 - q_masks))
    assert torch.equal(one.log_probs, two.log_probs)
    assert {k: v.item() for k, v in one.losses.items()} == {
        k: v.item() for k, v in two.losses.items()
    }


def test_the_signed_ring_changes_the_prediction() -> None:
    e = episode(3, shots=1, queries=1)
    outer, signed = (match(gmrd(ring=ring).eval(), e).log_probs for ring in ("outer", "signed"))
    assert not torch.allclose(outer, signed)


def test_a_shot_without_the_organ_is_left_out() -> None:
    s, s_masks, q, q_masks = episode(3, shots=2, queries=2)
    head = gmrd().eval()
    alone = match(head, (s[1:], s_masks[1:], q, q_masks)).log_probs
    s_masks[0] = 0
    assert torch.equal(match(head, (s, s_masks, q, q_masks)).log_probs, alone)


@pytest.mark.parametrize("train", [False, True])
def test_no_support_with_the_organ_means_background(train: bool) -> None:
    s, s_masks, q, q_masks = episode(3, shots=2, queries=2)
    prediction = match(gmrd().train(train), (s, 0 * s_masks, q, q_masks))
    assert prediction.losses == {}
    assert_allclose(prediction.log_probs.detach().exp()[:, 1], 1 / (1 + np.exp(5)), rtol=1e-5)


@pytest.mark.parametrize("grid", [(31, 43), (16, 24), (64, 64)])
@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_other_grids_and_one_sided_masks_give_finite_losses(
    grid: tuple[int, int], fill: float
) -> None:
    s, s_masks, q, q_masks = episode(3, shots=1, queries=1)
    s_masks[:] = fill
    s_masks[:, 7, 9] = 1
    prediction = match(gmrd(grid=grid).train(), (s, s_masks, q, q_masks))
    total = torch.stack([*prediction.losses.values(), prediction.log_probs.sum()])
    assert torch.isfinite(total).all()


def test_every_parameter_is_trained() -> None:
    head = gmrd(grid=(64, 48)).train()
    images = torch.randn(2, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 64, 48)
    masks[:, 16:40, 10:30] = 1
    prediction = head(Episode(images[:1], masks[:1], images[1:], masks[1:]))
    query_loss = segmentation_loss(prediction.log_probs, masks[1:], CLASS_WEIGHTS)
    (query_loss + torch.stack(list(prediction.losses.values())).sum()).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []
