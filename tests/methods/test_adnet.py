"""ADNet against the official numbers, and against its equations written in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dpcenet.methods.adnet import ADNet, Options
from dpcenet.nn.pooling import mean_prototype
from dpcenet.nn.similarity import cosine_maps
from dpcenet.types import Features
from heads import SMALL, Array, bilinear, cosine, episode, gap, nll, train_step

Golden = Callable[[str], dict[str, np.ndarray]]
EPS = float(np.finfo(np.float32).eps)


@pytest.mark.parametrize("case", ["T10", "T6"])
def test_outputs_losses_and_gradients_are_the_official_ones(golden: Golden, case: str) -> None:
    numbers = golden("adnet")
    head = ADNet(Options(encoder=SMALL, threshold=float(numbers[f"{case}.threshold"][0])))
    step = train_step(
        head,
        *(numbers[k] for k in ("supp_fts", "supp_mask", "qry_fts", "qry_mask")),
        class_weights=(0.1, 1.0),
    )
    probabilities = step.prediction.log_probs.detach().exp().numpy()
    assert_allclose(probabilities, numbers[f"{case}.prob"], rtol=1e-5)
    assert gap(step.query_loss, numbers[f"{case}.loss_query"]) < 1e-5
    assert gap(step.prediction.losses["align"], numbers[f"{case}.loss_align"]) < 1e-5
    assert gap(step.prediction.losses["threshold"], numbers[f"{case}.loss_thresh"]) < 1e-5
    assert gap(step.total, numbers[f"{case}.loss_total"]) < 1e-5
    assert gap(step.grad_support, numbers[f"{case}.grad_supp_fts"]) < 1e-5
    assert gap(step.grad_query, numbers[f"{case}.grad_qry_fts"]) < 1e-5
    assert head.threshold.grad is not None
    assert gap(head.threshold.grad, numbers[f"{case}.grad_t"]) < 1e-5


def test_prototype_and_anomaly_score_are_the_official_ones(golden: Golden) -> None:
    numbers = {k: torch.from_numpy(np.asarray(v)) for k, v in golden("adnet").items()}
    prototype = mean_prototype(numbers["supp_fts"], numbers["supp_mask"])
    assert gap(prototype, numbers["fg_proto"]) < 1e-5
    score = -20 * cosine_maps(numbers["qry_fts"], prototype)
    assert gap(score, numbers["anom_score_lowres"]) < 1e-5


def prototype(features: Array, masks: Array) -> Array:
    """(Sh, C, h, w) and (Sh, H, W) → (C,): of upsampled features, mean over the shots."""
    large = bilinear(features, masks.shape[1:], align_corners=False)
    areas = masks.sum(axis=(1, 2))[:, None] + 1e-5
    return ((large * masks[:, None]).sum(axis=(2, 3)) / areas).mean(axis=0)


def probability(support: Array, masks: Array, query: Array, threshold: float) -> Array:
    """(N, h, w): the anomaly score of every cell under a soft threshold."""
    score = np.stack([-20 * cosine(q, prototype(support, masks)) for q in query])
    return 1 - 1 / (1 + np.exp(-0.5 * (score - threshold)))


def log_probs(cells: Array, size: tuple[int, int]) -> Array:
    large = bilinear(cells, size, align_corners=True)
    return np.log(np.stack([1 - large, large], axis=1))


@pytest.mark.parametrize(("shots", "queries"), [(1, 1), (3, 2)])
def test_shots_queries_and_odd_sizes_follow_the_equations(shots: int, queries: int) -> None:
    support, masks, query, truth = episode(7, shots, queries)
    head = ADNet(Options(encoder=SMALL, threshold=-9.0, threshold_weight=2.0)).double()
    step = train_step(head, support, masks, query, truth, (0.1, 1))
    cells, size = probability(support, masks, query, -9.0), masks.shape[1:]
    assert_allclose(step.prediction.log_probs.detach().numpy(), log_probs(cells, size), rtol=1e-9)
    predicted = (cells > 0.5).astype(float)
    assert 0 < predicted.mean() < 1
    align = [  # every query by itself, as if each were an episode
        nll(log_probs(probability(q[None], m[None], support, -9.0), size), masks)
        for q, m in zip(query, predicted, strict=True)
    ]
    assert_allclose(step.prediction.losses["align"].item(), np.mean(align), rtol=1e-9)
    assert_allclose(step.prediction.losses["threshold"].item(), 2 * -9.0 / 20)


def test_queries_in_which_nothing_is_predicted_count_as_zero_in_the_role_swap() -> None:
    support, masks, query, truth = episode(7, 1, 2)
    head = ADNet(Options(encoder=SMALL)).double()
    alone = train_step(head, support, masks, query[:1], truth[:1], (1, 1))
    query[1] = -prototype(support, masks)[:, None, None]
    both = train_step(head, support, masks, query, truth, (1, 1))
    assert alone.prediction.losses["align"] > 0
    assert_allclose(
        both.prediction.losses["align"].item(), alone.prediction.losses["align"].item() / 2
    )


def test_an_empty_support_gives_background_and_finite_gradients() -> None:
    support, masks, query, truth = (x.astype(np.float32) for x in episode(7, 1, 1))
    head = ADNet(Options(encoder=SMALL))
    step = train_step(head, support, 0 * masks, query, truth, (0.1, 1))
    foreground = step.prediction.log_probs[:, 1].exp()
    # No prototype, no similarity: every cell stands at sigmoid(T / 2).
    assert_allclose(foreground.detach().numpy(), 1 / (1 + np.exp(5.0)), rtol=1e-4)
    assert step.prediction.losses["align"].item() == 0
    assert step.grad_support.isfinite().all() and step.grad_query.isfinite().all()
    assert head.threshold.grad is not None and head.threshold.grad.isfinite().all()


def test_probabilities_of_zero_and_one_stay_a_float_step_away() -> None:
    support, masks, query, truth = (x.astype(np.float32) for x in episode(7, 1, 1))
    head = ADNet(Options(encoder=SMALL, threshold=-100.0))
    step = train_step(head, support, masks, query, truth, (0.1, 1))
    assert_allclose(step.prediction.log_probs[:, 1].detach().numpy(), np.log(EPS), rtol=1e-6)
    assert step.grad_query.abs().sum() == 0


def test_outside_training_there_are_no_extra_losses() -> None:
    support, masks, query, _ = (torch.from_numpy(x) for x in episode(7, 1, 1))
    head = ADNet(Options(encoder=SMALL)).double().eval()
    prediction = head.match(Features({"features": support}), masks, Features({"features": query}))
    assert not prediction.losses
