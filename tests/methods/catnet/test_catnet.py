"""CAT-Net's repository head against the official numbers; what both heads must hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from dpcenet.methods.catnet.cascade import prior_maps
from dpcenet.methods.catnet.model import CATNet, Options
from dpcenet.methods.catnet.repository import RepositoryHead
from dpcenet.nn.losses import segmentation_loss
from dpcenet.nn.pooling import shrink
from dpcenet.types import Episode, Features
from heads import SMALL, gap

Golden = Callable[[str], dict[str, npt.NDArray[np.generic]]]
C, CELLS = 32, (8, 8)
TOLERANCE = 1e-5
CLASS_WEIGHTS = (0.1, 1.0)


@pytest.fixture
def numbers(golden: Golden) -> dict[str, Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in golden("catnet").items()}


def catnet(head: str, threshold: float = -10.0, mask_on: str = "keys") -> CATNet:
    torch.manual_seed(0)
    return CATNet(
        Options(
            encoder=SMALL,
            width=C,
            threshold=threshold,
            head=head,
            blocks=2,
            mask_on=mask_on,
            cells=CELLS,
        )
    )


def load(head: object, numbers: dict[str, Tensor]) -> RepositoryHead:
    assert isinstance(head, RepositoryHead)
    head.load_state_dict({k[2:]: v for k, v in numbers.items() if k.startswith("w.")})
    return head


def test_the_repository_modules_equal_the_official_ones(numbers: dict[str, Tensor]) -> None:
    head = load(RepositoryHead(C, CELLS), numbers)
    support, query, masks = (numbers[k] for k in ("supp_fts", "qry_fts", "supp_mask"))
    attended = head.self_attention(query, query)
    assert gap(attended, numbers["self_attention_out_qry"]) < TOLERANCE
    prior = prior_maps(attended, support, shrink(masks, CELLS, align_corners=True))
    assert gap(prior, numbers["prior"][0]) < TOLERANCE
    fused = head(support, masks, query)
    assert gap(fused, numbers["fused_qry"]) < TOLERANCE
    assert gap(head.cross_attention(support, fused), numbers["cross_out_supp"]) < TOLERANCE
    assert gap(head.cross_attention(fused, support), numbers["cross_out_qry"]) < TOLERANCE


@pytest.mark.parametrize("case", ["Tm10", "T0"])
def test_the_repository_equals_the_official_output_losses_and_gradients(
    numbers: dict[str, Tensor], case: str
) -> None:
    network = catnet("repository", float(numbers[f"{case}.threshold"])).train()
    load(network.head, numbers)
    support = numbers["supp_fts"].clone().requires_grad_()
    query = numbers["qry_fts"].clone().requires_grad_()
    features = Features({"features": support}), Features({"features": query})
    prediction = network.match(features[0], numbers["supp_mask"], features[1])
    loss = segmentation_loss(prediction.log_probs, numbers["qry_mask"], CLASS_WEIGHTS)
    total = loss + prediction.losses["align"]
    total.backward()
    assert_allclose(
        prediction.log_probs.detach().exp(), numbers[f"{case}.prob_train"], rtol=TOLERANCE
    )
    assert gap(loss, numbers[f"{case}.loss_query"]) < TOLERANCE
    align = prediction.losses["align"].detach()
    assert_allclose(align, numbers[f"{case}.loss_align"][0], rtol=TOLERANCE)
    assert gap(total, numbers[f"{case}.loss_total"][0]) < TOLERANCE
    for tensor, name in ((support, "supp_fts"), (query, "qry_fts")):
        assert tensor.grad is not None
        assert gap(tensor.grad, numbers[f"{case}.grad_{name}"]) < TOLERANCE
    network.eval()
    with torch.no_grad():
        tested = network.match(features[0], numbers["supp_mask"], features[1])
    assert_allclose(
        tested.log_probs.detach().exp(), numbers[f"{case}.prob_test_niters7"], rtol=TOLERANCE
    )
    assert tested.losses == {}


def test_the_repositorys_cross_attention_touches_nothing() -> None:
    network = catnet("repository").eval()
    assert isinstance(network.head, RepositoryHead)
    before = network.match(features(1, 1), square(1), features(2, 2)).log_probs
    with torch.no_grad():
        for parameter in network.head.cross_attention.parameters():
            parameter.add_(1.0)
    after = network.match(features(1, 1), square(1), features(2, 2)).log_probs
    assert torch.equal(before, after)


def features(count: int, seed: int, size: tuple[int, int] = CELLS) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features({"features": torch.randn(count, C, *size, generator=generator)})


def square(count: int) -> Tensor:
    masks = torch.zeros(count, 32, 40)
    masks[:, 6:15, 8:30] = 1
    return masks


HEADS = [("repository", "keys"), ("cascade", "keys"), ("cascade", "queries")]


@pytest.mark.parametrize(("head", "mask_on"), HEADS)
@pytest.mark.parametrize("shots", [1, 3])
def test_many_queries_at_once_equal_one_after_the_other(
    head: str, mask_on: str, shots: int
) -> None:
    network = catnet(head, threshold=0.0, mask_on=mask_on).train()
    support, query = features(shots, 1, (7, 9)), features(3, 2, (7, 9))
    truth = square(3)
    truth[1] = 0
    with torch.no_grad():
        together = network.match(support, square(shots), query, query_masks=truth)
        single = [
            network.match(support, square(shots), query.rows([i]), query_masks=truth[[i]])
            for i in range(3)
        ]
    found = torch.cat([one.log_probs for one in single])
    assert_allclose(together.log_probs, found, rtol=1e-4, atol=1e-6)
    if head == "repository":
        mean = sum(float(one.losses["align"]) for one in single) / 3
        assert float(together.losses["align"]) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("mask_on", ["keys", "queries"])
def test_a_repeated_shot_changes_nothing(mask_on: str) -> None:
    """It doubles the keys of every softmax and halves their weights."""
    network = catnet("cascade", threshold=0.0, mask_on=mask_on).eval()
    one = network.match(features(1, 1), square(1), features(1, 2)).log_probs
    twice = features(1, 1).rows([0, 0])
    assert_allclose(
        network.match(twice, square(2), features(1, 2)).log_probs.detach(),
        one.detach(),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("start", "expected"), [(True, {"block_0", "block_1"}), (False, {"block_1"})]
)
def test_every_block_but_the_last_has_a_loss_of_its_own(start: bool, expected: set[str]) -> None:
    options = Options(encoder=SMALL, width=C, blocks=2, supervise_start=start)
    network = CATNet(options).train()
    arguments = features(1, 1), square(1), features(1, 2)
    assert set(network.match(*arguments, query_masks=square(1)).losses) == expected
    assert network.match(*arguments).losses == {}
    assert network.eval().match(*arguments, query_masks=square(1)).losses == {}


@pytest.mark.parametrize(("head", "mask_on"), HEADS)
def test_an_empty_support_mask_gives_finite_numbers(head: str, mask_on: str) -> None:
    network = catnet(head, mask_on=mask_on).eval()
    prediction = network.match(features(1, 1), 0 * square(1), features(1, 2))
    assert torch.isfinite(prediction.log_probs).all()


@pytest.mark.parametrize(("head", "mask_on"), HEADS)
def test_every_trained_parameter_gets_a_gradient(head: str, mask_on: str) -> None:
    network = catnet(head, threshold=0.0, mask_on=mask_on).train()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 72, 64, generator=generator)  # 9×8 cells: not the norms' own grid
    masks = torch.zeros(2, 72, 64)
    masks[:, 16:40, 16:40] = 1
    prediction = network(Episode(images[:1], masks[:1], images[1:], masks[1:]))
    loss = segmentation_loss(prediction.log_probs, masks[1:], CLASS_WEIGHTS)
    torch.stack([loss, *prediction.losses.values()]).sum().backward()
    without = {name for name, p in network.named_parameters() if p.grad is None}
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert without == frozen
    assert all(name.startswith("head.cross_attention.") for name in frozen)
