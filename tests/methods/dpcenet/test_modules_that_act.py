"""The departures by which SQCA and the dual perspective act: registration, local prototypes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dpcenet.errors import ConfigError
from dpcenet.methods.dpcenet.attention import PATHS, CrossAlignment, DualPerspective
from dpcenet.methods.dpcenet.model import DPCENet
from dpcenet.methods.dpcenet.options import Options
from dpcenet.methods.dpcenet.prototypes import LocalPrototypes, above_unseen
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.types import Features

D, SIDE = 16, 5
TINY = EncoderOptions(name="resnet18", layout="os8", outputs=("layer3",), frozen=True)


def rows(count: int, seed: int) -> Tensor:
    return torch.randn(count, SIDE * SIDE, D, generator=torch.Generator().manual_seed(seed))


def unit(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix, axis=-1, keepdims=True)


def test_as_a_registration_sqca_starts_by_adding_the_places_of_the_query_that_look_alike() -> None:
    align = CrossAlignment(D, "support_from_query", registration=True, alpha=0.5).double()
    support, query = rows(1, 0).double(), rows(1, 1).double()
    found, notes = align(support, query)
    s, q = support[0].numpy(), query[0].numpy()
    weights = np.exp(20 * unit(s) @ unit(q).T)
    attention = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[0].detach(), s + 0.5 * attention @ q, rtol=1e-9)
    assert float(notes["alpha"]) == 0.5


def test_from_a_positive_alpha_all_of_sqca_is_trained_and_from_0_only_alpha() -> None:
    for alpha, trained in ((0.0, {"alpha"}), (1.0, {"alpha", "w_q", "w_k", "w_v"})):
        align = CrossAlignment(D, "support_from_query", alpha=alpha)
        aligned, _ = align(rows(1, 0), rows(1, 1))
        aligned.square().sum().backward()
        moved = {n.split(".")[0] for n, p in align.named_parameters() if bool(p.grad.any())}
        assert moved == trained


@pytest.mark.parametrize("masked", [False, True])
def test_the_fused_maps_are_the_sums_over_one_position_each(masked: bool) -> None:
    torch.manual_seed(0)
    enhance = DualPerspective(D, normalised=True, masked=masked).double()
    shares = {p: torch.rand(2, SIDE * SIDE, dtype=torch.float64) for p in PATHS}
    every = torch.eye(SIDE * SIDE, dtype=torch.float64).expand(2, -1, -1)
    given = rows(2, 3).double()
    fused, notes = enhance.everywhere(given, shares)
    sums, others = enhance(given, shares, dict.fromkeys(PATHS, every))
    for path in PATHS:
        assert torch.allclose(fused[path], sums[path], rtol=1e-9)
    assert {k: round(float(v), 6) for k, v in notes.items()} == {
        k: round(float(v), 6) for k, v in others.items()
    }


def test_local_prototypes_compare_each_cell_with_each_prototype_near_rather_than_far() -> None:
    local = LocalPrototypes().double()
    query, shots = rows(1, 4).double(), 2
    fused = {p: rows(shots, 5 + i).double() for i, p in enumerate(PATHS)}
    share = torch.rand(shots, SIDE * SIDE, dtype=torch.float64)
    shares = {"background": 1 - share, "foreground": share}
    found = local(query.mT.view(1, D, SIDE, SIDE), fused, shares)[0].flatten(1).detach().numpy()
    places = np.array([(r, c) for r in range(SIDE) for c in range(SIDE)]) * 2 / SIDE
    far = ((places[:, None] - places[None]) ** 2).sum(-1)
    logits = []
    for path in PATHS:
        total = np.zeros(SIDE * SIDE)
        for shot in range(shots):
            cosines = unit(query[0].numpy()) @ unit(fused[path][shot].numpy()).T
            weight = shares[path][shot].numpy() + 1e-5
            total += (weight * np.exp(20 * cosines - 15 * far)).sum(axis=1)
        logits.append(np.log(total))
    both = np.stack(logits)
    wanted = both - np.log(np.exp(both).sum(axis=0))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)


def network() -> DPCENet:
    torch.manual_seed(0)
    options = Options(
        encoder=TINY,
        width=D,
        sqca="support_from_query",
        attention="normalised",
        prototypes="local",
        start="registration",
        alpha=1.0,
        decoder_width=4,
        decoder="added",
    )
    return DPCENet(options).eval()


def predicted(method: DPCENet) -> Tensor:
    maps = [rows(n, 7 + n).mT.reshape(n, D, SIDE, SIDE) for n in (1, 2)]
    masks = torch.zeros(1, 20, 20)
    masks[:, 4:12, 6:15] = 1
    with torch.no_grad():
        features = [Features({"layer3": each}) for each in maps]
        return method.match(features[0], masks, features[1]).log_probs


def test_a_module_that_is_taken_out_changes_the_prediction_and_both_leave_the_prototypes() -> None:
    whole = predicted(network())
    found = {}
    for module in ("sqca", "dpce"):
        method = network()
        method.take_out(module)
        found[module] = predicted(method)
        assert not torch.allclose(found[module], whole, atol=1e-3)
    neither = network()
    for module in ("sqca", "dpce"):
        neither.take_out(module)
    plain = DPCENet(Options(TINY, D, "off", False, prototypes="local", decoder_width=0)).eval()
    assert torch.allclose(predicted(neither), predicted(plain), atol=1e-6)


def test_another_module_is_not_known() -> None:
    with pytest.raises(ConfigError, match="sqca, dpce"):
        network().take_out("gate")


def test_logits_that_are_not_seen_give_no_denormal_numbers() -> None:
    """A processor takes many times as long over them: they were half of a training step."""
    given = torch.linspace(-400, 20, 1000)[None].requires_grad_()
    sums = above_unseen(given).logsumexp(dim=-1)
    wanted = np.log(np.exp(np.linspace(-400, 20, 1000)).sum())
    np.testing.assert_allclose(sums.detach(), [wanted], rtol=1e-6)
    (gradient,) = torch.autograd.grad(sums, given)
    left = gradient[gradient > 0]
    assert 100 < len(left) < 200
    assert left.min() > 1e8 * torch.finfo(torch.float32).tiny
