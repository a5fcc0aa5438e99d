"""SSL-ALPNet against the official numbers, and against its equations written in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dpcenet.methods.ssl_alpnet import (
    Options,
    SSLALPNet,
    assigned_score,
    local_prototypes,
    window_means,
)
from dpcenet.nn.pooling import masked_average, shrink
from dpcenet.types import Features
from heads import SMALL, Array, bilinear, cosine, episode, gap, log_softmax, nll, train_step

Golden = Callable[[str], dict[str, np.ndarray]]
CASES = ["local", "maskfallback"]


@pytest.fixture(scope="module")
def head() -> SSLALPNet:
    return SSLALPNet(Options(encoder=SMALL))


@pytest.fixture(params=CASES)
def numbers(request: pytest.FixtureRequest, golden: Golden) -> dict[str, np.ndarray]:
    """The numbers of one case."""
    prefix = f"{request.param}."
    return {
        k.removeprefix(prefix): v for k, v in golden("ssl_alpnet").items() if k.startswith(prefix)
    }


def test_outputs_losses_and_gradients_are_the_official_ones(
    head: SSLALPNet, numbers: dict[str, np.ndarray]
) -> None:
    step = train_step(
        head,
        *(numbers[k] for k in ("supp_fts", "supp_mask", "qry_fts", "qry_mask")),
        class_weights=(0.05, 1.0),
    )
    wanted = torch.from_numpy(numbers["train_logits"]).softmax(dim=1).numpy()
    assert_allclose(step.prediction.log_probs.detach().exp().numpy(), wanted, rtol=1e-5)
    assert gap(step.query_loss, numbers["loss_query"]) < 1e-5
    assert gap(step.prediction.losses["align"], numbers["loss_align"]) < 1e-5
    assert gap(step.total, numbers["loss_total"]) < 1e-5
    assert gap(step.grad_support, numbers["grad_supp_fts"]) < 1e-5
    assert gap(step.grad_query, numbers["grad_qry_fts"]) < 1e-5


def test_small_windows_in_testing_are_the_official_ones(
    head: SSLALPNet, numbers: dict[str, np.ndarray]
) -> None:
    tensors = {k: torch.from_numpy(np.asarray(v)) for k, v in numbers.items()}
    prediction = head.eval().match(
        Features({"features": tensors["supp_fts"]}),
        tensors["supp_mask"],
        Features({"features": tensors["qry_fts"]}),
    )
    wanted = tensors["eval_logits_wsize2"].softmax(dim=1).numpy()
    assert_allclose(prediction.log_probs.exp().numpy(), wanted, rtol=1e-5)
    assert not prediction.losses


def test_masks_and_scores_of_each_mode_are_the_official_ones(
    numbers: dict[str, np.ndarray],
) -> None:
    tensors = {k: torch.from_numpy(np.asarray(v)) for k, v in numbers.items()}
    support, query = tensors["supp_fts"], tensors["qry_fts"]
    foreground = shrink(tensors["supp_mask"], (16, 16))
    background = shrink(1 - tensors["supp_mask"], (16, 16))
    assert_allclose(foreground[:, None].numpy(), numbers["fg_mask_lowres"], atol=1e-6)
    assert_allclose(background[:, None].numpy(), numbers["bg_mask_lowres"], atol=1e-6)
    covered = window_means(foreground[:, None], 4).max() >= 0.95
    assert bool(covered) == bool(numbers["fg_mode_is_grid"])
    whole = masked_average(support, foreground)
    both = torch.cat([local_prototypes(support, foreground, 4, 0.95), whole])
    for name, prototypes in {
        "bg_gridconv": local_prototypes(support, background, 4, 0.95),
        "fg_gridconvplus": both,
        "fg_mask": whole,
    }.items():
        assert gap(assigned_score(query, prototypes), numbers[f"score_train_{name}"]) < 1e-5


def windows(maps: Array, side: int) -> Array:
    """(C, h, w) → (K, C), row by row, without the rest at the right and below."""
    _, height, width = maps.shape
    return np.array(
        [
            maps[:, y : y + side, x : x + side].mean(axis=(1, 2))
            for y in range(0, height - side + 1, side)
            for x in range(0, width - side + 1, side)
        ]
    )


def local(support: Array, masks: Array, side: int) -> list[Array]:
    pairs = [
        pair
        for f, m in zip(support, masks, strict=True)
        for pair in zip(windows(f, side), windows(m[None], side)[:, 0], strict=True)
    ]
    return [prototype for prototype, share in pairs if share > 0.95]


def score(query: Array, prototypes: list[Array]) -> Array:
    d = np.stack([20 * cosine(query, p) for p in prototypes])
    weights = np.exp(d) / np.exp(d).sum(axis=0)
    return (weights * d).sum(axis=0)


def covers_window(masks: Array) -> bool:
    """Whether masks (Sh, h, w) fill a window of 4 cells in any shot."""
    return bool(max(windows(m[None], 4).max() for m in masks) >= 0.95)


def logits(support: Array, masks: Array, query: Array, side: int) -> Array:
    """(N, 2, h, w) from masks (Sh, H, W) and windows of `side` cells."""
    fg, bg = (bilinear(m, support.shape[2:], False) for m in (masks, 1 - masks))
    whole, whole_bg = (
        [(f * m).sum(axis=(1, 2)) / (m.sum() + 1e-5) for f, m in zip(support, cells, strict=True)]
        for cells in (fg, bg)
    )
    foreground = [np.mean(whole, axis=0)]
    if covers_window(fg):
        foreground = [*local(support, fg, side), *whole]
    background = local(support, bg, side) or [np.mean(whole_bg, axis=0)]
    return np.array([[score(q, background), score(q, foreground)] for q in query])


@pytest.mark.parametrize(("shots", "queries"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("organ", ["large", "small", "everywhere"])
def test_shots_queries_and_odd_sizes_follow_the_equations(
    shots: int, queries: int, organ: str
) -> None:
    support, masks, query, truth = episode(9, shots, queries, zoom=2)
    if organ == "small":
        masks[:, :, :40], masks[:, :, 48:] = 0, 0
    if organ == "everywhere":  # the official code fails without a window of background
        masks[:] = 1
        masks[:, ::2, ::2] = 0
    fg, bg = (bilinear(m, support.shape[2:], False) for m in (masks, 1 - masks))
    assert covers_window(fg) == (organ != "small")
    assert covers_window(bg) == (organ != "everywhere")
    method, size = SSLALPNet(Options(encoder=SMALL)).double(), masks.shape[1:]
    step = train_step(method, support, masks, query, truth, (0.05, 1))
    cells = logits(support, masks, query, 4)
    wanted = log_softmax(bilinear(cells, size, False))
    assert_allclose(step.prediction.log_probs.detach().numpy(), wanted, rtol=1e-9, atol=1e-12)
    predicted = (cells[:, 1] > cells[:, 0]).astype(float)
    align = [
        nll(log_softmax(bilinear(logits(q[None], m[None], support, 4), size, False)), masks)
        for q, m in zip(query, predicted, strict=True)
    ]
    assert_allclose(step.prediction.losses["align"].item(), np.mean(align), rtol=1e-9)
    tested = method.eval().match(
        Features({"features": torch.tensor(support)}),
        torch.tensor(masks),
        Features({"features": torch.tensor(query)}),
    )
    wanted = log_softmax(bilinear(logits(support, masks, query, 2), size, False))
    assert_allclose(tested.log_probs.numpy(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_empty_and_full_masks_give_finite_losses_and_gradients(fill: float) -> None:
    support, masks, query, truth = (x.astype(np.float32) for x in episode(9, 1, 1))
    head = SSLALPNet(Options(encoder=SMALL))
    step = train_step(head, support, np.full_like(masks, fill), query, truth, (0.05, 1))
    assert step.total.isfinite()
    assert step.grad_support.isfinite().all() and step.grad_query.isfinite().all()


def test_a_query_in_which_nothing_is_predicted_is_swapped_too() -> None:
    support, masks, query, truth = episode(9, 1, 1, zoom=2)
    background = support[:, :, :1, :1]  # a corner cell, which is outside the organ
    flat = np.broadcast_to(background, query.shape).copy()
    step = train_step(
        SSLALPNet(Options(encoder=SMALL)).double(), support, masks, flat, truth, (1, 1)
    )
    cells = logits(support, masks, flat, 4)
    assert (cells[:, 1] < cells[:, 0]).all()
    # The query's windows are alike; its foreground, which has no cell, scores 0.
    back = np.stack([20 * cosine(support[0], background[0, :, 0, 0]), np.zeros((18, 22))])
    align = nll(log_softmax(bilinear(back[None], masks.shape[1:], False)), masks)
    assert_allclose(step.prediction.losses["align"].item(), align, rtol=1e-9)
