"""PANet against the official numbers, and against its equations written in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dpcenet.methods.panet import Options, PANet
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.pooling import mean_prototype
from dpcenet.nn.similarity import cosine_maps
from dpcenet.types import Features
from heads import (
    SMALL,
    Array,
    bilinear,
    cosine,
    episode,
    gap,
    log_softmax,
    nll,
    train_step,
)

Golden = Callable[[str], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def head() -> PANet:
    return PANet(Options(encoder=SMALL))


def test_outputs_losses_and_gradients_are_the_official_ones(head: PANet, golden: Golden) -> None:
    numbers = golden("panet")
    step = train_step(
        head,
        *(numbers[k] for k in ("supp_fts", "supp_mask", "qry_fts", "qry_mask")),
        class_weights=(1.0, 1.0),
    )
    wanted = torch.from_numpy(numbers["logits"]).softmax(dim=1).numpy()
    assert_allclose(step.prediction.log_probs.detach().exp().numpy(), wanted, rtol=1e-5)
    assert gap(step.query_loss, numbers["loss_query"]) < 1e-5
    assert gap(step.prediction.losses["align"], numbers["loss_align"]) < 1e-5
    assert gap(step.total, numbers["loss_total"]) < 1e-5
    assert gap(step.grad_support, numbers["grad_supp_fts"]) < 1e-5
    assert gap(step.grad_query, numbers["grad_qry_fts"]) < 1e-5


@pytest.mark.parametrize("path", ["fg", "bg"])
def test_prototypes_and_scores_are_the_official_ones(golden: Golden, path: str) -> None:
    numbers = {k: torch.from_numpy(np.asarray(v)) for k, v in golden("panet").items()}
    mask = numbers["supp_mask"] if path == "fg" else 1 - numbers["supp_mask"]
    prototype = mean_prototype(numbers["supp_fts"], mask)
    assert gap(prototype, numbers[f"{path}_proto"]) < 1e-5
    score = 20 * cosine_maps(numbers["qry_fts"], prototype)
    assert gap(score, numbers[f"dist_{path}_lowres"]) < 1e-5


def prototype(features: Array, masks: Array) -> Array:
    """(B, C, h, w) and (B, H, W) → (C,): upsample, average under the mask, average over shots."""
    large = bilinear(features, masks.shape[1:], align_corners=False)
    sums = (large * masks[:, None]).sum(axis=(2, 3))
    return (sums / (masks.sum(axis=(1, 2))[:, None] + 1e-5)).mean(axis=0)


def logits(support: Array, masks: Array, query: Array) -> Array:
    pair = prototype(support, 1 - masks), prototype(support, masks)
    return 20 * np.array([[cosine(q, p) for p in pair] for q in query])


@pytest.mark.parametrize(("shots", "queries"), [(1, 1), (3, 2)])
def test_shots_queries_and_odd_sizes_follow_the_equations(shots: int, queries: int) -> None:
    support, masks, query, truth = episode(5, shots, queries)
    step = train_step(PANet(Options(encoder=SMALL)).double(), support, masks, query, truth, (1, 1))
    cells = logits(support, masks, query)
    log_probs = log_softmax(bilinear(cells, masks.shape[1:], False))
    assert_allclose(step.prediction.log_probs.detach().numpy(), log_probs, rtol=1e-9, atol=1e-12)
    predicted = (cells[:, 1] > cells[:, 0]).astype(float)
    assert 0 < predicted.mean() < 1
    # All queries are pooled as one image.
    row, mask = np.concatenate(list(query), axis=2), np.concatenate(list(predicted), axis=1)
    back = logits(row[None], mask[None], support)
    align = nll(log_softmax(bilinear(back, masks.shape[1:], False)), masks)
    assert_allclose(step.prediction.losses["align"].item(), align, rtol=1e-9)


def test_without_a_prediction_there_is_no_role_swap_and_gradients_are_finite(head: PANet) -> None:
    support, masks, query, truth = (x.astype(np.float32) for x in episode(5, 1, 1))
    # An empty support has no foreground prototype: it scores 0, the background close to 20.
    step = train_step(head, support + 100, 0 * masks, query + 100, truth, (1, 1))
    assert (step.prediction.log_probs[:, 1] < step.prediction.log_probs[:, 0]).all()
    assert step.prediction.losses["align"].item() == 0
    assert step.grad_support.isfinite().all() and step.grad_query.isfinite().all()


def test_vgg_of_the_paper_has_no_other_parameters() -> None:
    paper = Options(encoder=EncoderOptions(name="vgg16", outputs=("block5",)), width=0)
    method = PANet(paper)
    assert sum(p.numel() for p in method.parameters()) == 14_714_688
    images = torch.randn(2, 1, 33, 40, generator=torch.Generator().manual_seed(0))
    maps = method.encode(images)["features"]
    prediction = method.eval().match(
        Features({"features": maps[:1]}), torch.ones(1, 33, 40), Features({"features": maps[1:]})
    )
    assert prediction.log_probs.shape == (1, 2, 33, 40)
    assert not prediction.losses
