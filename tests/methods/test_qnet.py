"""Q-Net against the official numbers, and its refinement against the loss in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from dpcenet.errors import ConfigError
from dpcenet.methods.qnet import Options, QNet, refine_prototypes
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.losses import segmentation_loss
from dpcenet.types import Episode, Features
from heads import gap

Golden = Callable[[str], dict[str, npt.NDArray[np.generic]]]
TINY = EncoderOptions(name="resnet18", layout="64+32", outputs=("layer3", "layer4", "fc"))
C = 16
SCALES = {"layer3": "s4", "layer4": "s8"}
TOLERANCE = 1e-5
ABSOLUTE = 1e-6  # on other inputs, probabilities of 0.003 differ by 1e-7
CLASS_WEIGHTS = (0.1, 1.0)


@pytest.fixture
def numbers(golden: Golden) -> dict[str, Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in golden("qnet").items()}


def qnet(
    scale_weights: tuple[float, float] = (0.9, 0.1), swap: str = "query", steps: int = 7
) -> QNet:
    torch.manual_seed(0)
    return QNet(
        Options(
            encoder=TINY,
            width=C,
            scale_weights=scale_weights,
            refine_steps=steps,
            swap_threshold=swap,
        )
    )


def golden_features(numbers: dict[str, Tensor], grad: bool) -> tuple[Features, Features, Tensor]:
    """Support, query, and the thresholds of both, which the query's row is cut from."""
    thresholds = numbers["tao"].clone().requires_grad_(grad)
    both = []
    for row, side in enumerate(("supp", "qry")):
        maps = {
            name: numbers[f"{side}_fts_{scale}"].clone().requires_grad_(grad)
            for name, scale in SCALES.items()
        }
        both.append(Features(maps | {"threshold": thresholds[[row]]}))
    return both[0], both[1], thresholds


@pytest.mark.parametrize(("case", "alpha"), [("a9", (0.9, 0.1)), ("a6", (0.6, 0.4))])
def test_training_equals_the_official_output_losses_and_gradients(
    numbers: dict[str, Tensor], case: str, alpha: tuple[float, float]
) -> None:
    support, query, thresholds = golden_features(numbers, grad=True)
    prediction = qnet(alpha).train().match(support, numbers["supp_mask"], query)
    loss = segmentation_loss(prediction.log_probs, numbers["qry_mask"], CLASS_WEIGHTS)
    total = loss + prediction.losses["align"]
    total.backward()
    assert_allclose(
        prediction.log_probs.detach().exp(),
        numbers[f"{case}.prob_train"],
        rtol=TOLERANCE,
        atol=ABSOLUTE,
    )
    assert gap(loss, numbers[f"{case}.loss_query"]) < TOLERANCE
    align = prediction.losses["align"].detach()
    assert_allclose(align, numbers[f"{case}.loss_align"][0], rtol=TOLERANCE)
    assert gap(total, numbers[f"{case}.loss_total"][0]) < TOLERANCE
    gradients = query["layer3"].grad, support["layer4"].grad, thresholds.grad
    for found, name in zip(gradients, ("qry_fts_s4", "supp_fts_s8", "tao"), strict=True):
        assert found is not None
        assert gap(found, numbers[f"{case}.grad_{name}"]) < TOLERANCE


@pytest.mark.parametrize(("case", "alpha"), [("a9", (0.9, 0.1)), ("a6", (0.6, 0.4))])
@pytest.mark.parametrize("grad", [False, True])
def test_seven_steps_equal_the_official_prediction(
    numbers: dict[str, Tensor], case: str, alpha: tuple[float, float], grad: bool
) -> None:
    support, query, _ = golden_features(numbers, grad)
    with torch.set_grad_enabled(grad):
        prediction = qnet(alpha).eval().match(support, numbers["supp_mask"], query)
    assert_allclose(
        prediction.log_probs.detach().exp(),
        numbers[f"{case}.prob_test_niters7"],
        rtol=TOLERANCE,
        atol=ABSOLUTE,
    )
    assert prediction.losses == {}
    assert query["layer3"].grad is None  # the steps leave no gradient behind


@pytest.mark.parametrize(("index", "name"), [(0, "layer3"), (1, "layer4")])
def test_each_scale_is_refined_to_the_official_prototype(
    numbers: dict[str, Tensor], index: int, name: str
) -> None:
    _, query, thresholds = golden_features(numbers, grad=False)
    start = numbers[f"proto{index}.initial"]
    with torch.no_grad():
        refined = refine_prototypes(query[name], start, thresholds[1], steps=7, rate=0.01)
    assert gap(refined, numbers[f"proto{index}.refined7"][0]) < TOLERANCE


def random_features(count: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    maps = {
        name: torch.randn(count, C, side, side + 1, generator=generator)
        for name, side in (("layer3", 8), ("layer4", 4))
    }
    return Features(maps | {"threshold": torch.randn(count, 1, generator=generator) - 1})


def square(count: int) -> Tensor:
    masks = torch.zeros(count, 31, 33)
    masks[:, 6:15, 8:20] = 1
    return masks


@pytest.mark.parametrize("train", [False, True])
def test_many_queries_at_once_equal_one_after_the_other(train: bool) -> None:
    network = qnet(swap="own").train(train)
    support, query = random_features(2, 1), random_features(3, 2)
    together = network.match(support, square(2), query)
    single = [network.match(support, square(2), query.rows([i])) for i in range(3)]
    assert_allclose(
        together.log_probs.detach(),
        torch.cat([one.log_probs for one in single]).detach(),
        rtol=1e-4,
        atol=1e-6,
    )
    if train:
        mean = sum(float(one.losses["align"]) for one in single) / 3
        assert float(together.losses["align"]) == pytest.approx(mean, rel=1e-5)


def test_the_first_step_goes_down_the_gradient_of_the_loss_in_numpy() -> None:
    """Adam's first step is rate · g / (|g| + 1e-8), with g here by central differences."""
    generator = torch.Generator().manual_seed(5)
    maps = torch.randn(1, 4, 5, 6, generator=generator)
    start = torch.randn(1, 4, generator=generator)
    threshold = torch.tensor([-1.0])
    features, prototype = maps[0].double().numpy(), start[0].double().numpy()
    cosine = np.einsum("chw,c->hw", features, prototype) / (
        np.linalg.norm(features, axis=0) * np.linalg.norm(prototype)
    )
    mask = 20 * cosine > 1.0
    assert 0 < mask.sum() < mask.size

    def unit(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        scaled = (values - values.min()) / (values.max() - values.min())
        return 1 / (1 + np.exp(-scaled))

    def loss(values: npt.NDArray[np.float64]) -> float:
        target = unit(np.where(mask, values[:, None, None], features))
        given = unit(features)
        return float(-(target * np.log(given) + (1 - target) * np.log(1 - given)).mean())

    steps = 1e-6 * np.eye(4)
    gradient = np.array([(loss(prototype + d) - loss(prototype - d)) / 2e-6 for d in steps])
    expected = prototype - 0.01 * gradient / (np.abs(gradient) + 1e-8)
    refined = refine_prototypes(maps, start, threshold, steps=1, rate=0.01)
    assert_allclose(refined[0].numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_features_are_refined_without_nan(value: float) -> None:
    maps = torch.full((2, C, 4, 4), value)
    start = torch.full((1, C), value)
    refined = refine_prototypes(maps, start, torch.zeros(2), steps=7, rate=0.01)
    assert torch.isfinite(refined).all()


def test_an_empty_support_mask_gives_finite_numbers() -> None:
    for train in (False, True):
        network = qnet().train(train)
        prediction = network.match(random_features(1, 1), 0 * square(1), random_features(1, 2))
        assert torch.isfinite(prediction.log_probs).all()


@pytest.mark.parametrize(("swap", "trained"), [("query", False), ("own", True)])
def test_the_role_swap_cuts_the_support_with_the_chosen_threshold(swap: str, trained: bool) -> None:
    support, query = random_features(1, 1), random_features(1, 2)
    support["threshold"].requires_grad_()
    query["threshold"].requires_grad_()
    align = qnet(swap=swap).train().match(support, square(1), query).losses["align"]
    align.backward()
    assert float(align.detach()) > 0
    assert (support["threshold"].grad is not None) == trained
    assert (query["threshold"].grad is None) == trained


def test_every_parameter_of_the_head_gets_a_gradient() -> None:
    network = qnet(swap="own").train()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 64, 64, generator=generator)
    masks = torch.zeros(2, 64, 64)
    masks[:, 16:40, 16:40] = 1
    prediction = network(Episode(images[:1], masks[:1], images[1:], masks[1:]))
    loss = segmentation_loss(prediction.log_probs, masks[1:], CLASS_WEIGHTS)
    (loss + prediction.losses["align"]).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None]
    assert missing == []
    assert all(float(p.grad.abs().sum()) > 0 for p in network.reduce.parameters())


def test_wrong_outputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="one layer for each weight"):
        QNet(Options(encoder=EncoderOptions("resnet18", "64+32", ("layer3", "fc"))))


def test_refinement_changes_the_prediction_and_zero_steps_do_not() -> None:
    support, query = random_features(1, 1), random_features(1, 2)
    trained = qnet().train().match(support, square(1), query).log_probs
    none = qnet(steps=0).eval().match(support, square(1), query).log_probs
    seven = qnet().eval().match(support, square(1), query).log_probs
    assert_allclose(none, trained.detach(), rtol=1e-6)
    assert not torch.equal(none, seven)
