"""DPCENet against the golden reading of its equations, in float64, and against its own switches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from dpcenet.methods.dpcenet.attention import PATHS, CrossAlignment, DualPerspective, Similarity
from dpcenet.methods.dpcenet.model import DPCENet
from dpcenet.methods.dpcenet.options import Options
from dpcenet.methods.dpcenet.scale import Scale
from dpcenet.nn.attention import effective_keys
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.nn.losses import segmentation_loss
from dpcenet.nn.similarity import cosine_maps
from dpcenet.types import Features

Golden = Callable[[str], dict[str, np.ndarray]]
TINY = EncoderOptions(name="resnet18", layout="os8", outputs=("layer3",), frozen=True)
D, SIDE = 16, 6
TOLERANCE = 1e-6


@pytest.fixture
def numbers(golden: Golden) -> dict[str, Tensor]:
    return {k: torch.from_numpy(np.asarray(v)) for k, v in golden("dpcenet_derived").items()}


def maps(rows: Tensor) -> Tensor:
    return rows.T.reshape(1, D, SIDE, SIDE)


def load_scale(scale: Scale, numbers: dict[str, Tensor]) -> None:
    """The golden weights stand right of the features (F W); nn.Linear holds Wᵀ."""
    assert scale.align is not None and scale.enhance is not None
    with torch.no_grad():
        scale.align.w_q.weight.copy_(numbers["Wq"].T)
        scale.align.w_k.weight.copy_(numbers["Wk"].T)
        scale.align.w_v.weight.copy_(numbers["Wv"].T)
        scale.align.alpha.copy_(numbers["alpha"])
        for path, letter in (("foreground", "f"), ("background", "b")):
            scale.enhance.gates[path].w_1.weight.copy_(numbers[f"W1_{letter}"])
            scale.enhance.gates[path].w_2.weight.copy_(numbers[f"W2_{letter}"])


def golden_scale(numbers: dict[str, Tensor], sqca: str = "literal") -> Scale:
    scale = Scale(Options(encoder=TINY, width=D, sqca=sqca)).double()
    load_scale(scale, numbers)
    return scale


@pytest.mark.parametrize(
    ("mode", "name"), [("literal", "Fs_star"), ("support_from_query", "Fs_star_swapped")]
)
def test_cross_alignment_is_equations_1_1_and_1_2(
    numbers: dict[str, Tensor], mode: str, name: str
) -> None:
    align = golden_scale(numbers, mode).align
    assert isinstance(align, CrossAlignment)
    aligned, _ = align(numbers["Fs"][None], numbers["Fq"][None])
    assert_allclose(aligned[0].detach(), numbers[name], rtol=TOLERANCE, atol=TOLERANCE)


EVERY_POSITION = torch.eye(SIDE * SIDE, dtype=torch.float64)[None]


def test_both_perspectives_are_equations_1_3_to_1_5(numbers: dict[str, Tensor]) -> None:
    enhance = golden_scale(numbers).enhance
    assert isinstance(enhance, DualPerspective)
    spatial, channel, _ = enhance.perspectives(numbers["Fs_star"][None], EVERY_POSITION)
    assert_allclose(spatial[0], numbers["F_spatial"], rtol=TOLERANCE, atol=TOLERANCE)
    assert_allclose(channel[0], numbers["F_channel"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("masked", [False, True])
def test_gates_are_equations_1_6_to_1_9(numbers: dict[str, Tensor], masked: bool) -> None:
    """With masks of one, masking the input changes nothing."""
    enhance = golden_scale(numbers).enhance
    assert isinstance(enhance, DualPerspective)
    enhance.masked = masked
    whole = dict.fromkeys(PATHS, torch.ones(1, SIDE * SIDE, dtype=torch.float64))
    fused, notes = enhance(numbers["Fs_star"][None], whole, dict.fromkeys(PATHS, EVERY_POSITION))
    for path, letter in (("foreground", "f"), ("background", "b")):
        assert_allclose(fused[path][0].detach(), numbers[f"F_{letter}"], rtol=TOLERANCE)
        assert_allclose(notes[f"gate_spatial.{path}"], numbers[f"w_{letter}"][0], rtol=TOLERANCE)


def test_prototypes_maps_and_loss_are_equations_1_10_and_1_11(numbers: dict[str, Tensor]) -> None:
    support, query = maps(numbers["Fs"]), maps(numbers["Fq"])
    mask = numbers["mask_s"][None].double()
    prototypes, _ = golden_scale(numbers)(support, mask, query)
    assert_allclose(prototypes[0, 0].detach(), numbers["P_bg"], rtol=TOLERANCE)
    assert_allclose(prototypes[0, 1].detach(), numbers["P_fg"], rtol=TOLERANCE)
    cosines = cosine_maps(query, prototypes)
    assert_allclose(cosines[0, 0].flatten().detach(), numbers["cos_bg"], rtol=TOLERANCE)
    assert_allclose(cosines[0, 1].flatten().detach(), numbers["cos_fg"], rtol=TOLERANCE)
    log_probs = cosines.log_softmax(dim=1)
    assert_allclose(log_probs.exp()[0].flatten(1).T.detach(), numbers["prob"], rtol=TOLERANCE)
    loss = segmentation_loss(log_probs, numbers["mask_q"][None])
    assert_allclose(loss.detach(), numbers["loss_seg_identity_decoder"], rtol=TOLERANCE)


def test_whole_network_without_decoder_gives_the_golden_probabilities(
    numbers: dict[str, Tensor],
) -> None:
    network = DPCENet(Options(encoder=TINY, width=D, decoder_width=0)).double().eval()
    load_scale(network.scales["layer3"], numbers)
    prediction = network.match(
        Features({"layer3": maps(numbers["Fs"])}),
        numbers["mask_s"][None].double(),
        Features({"layer3": maps(numbers["Fq"])}),
    )
    probabilities = prediction.log_probs.exp()[0].flatten(1).T.detach()
    assert_allclose(probabilities, numbers["prob"], rtol=TOLERANCE)


def features(count: int, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return Features({"layer3": torch.randn(count, D, SIDE, SIDE, generator=generator)})


def square(count: int) -> Tensor:
    masks = torch.zeros(count, 24, 24)
    masks[:, 6:15, 8:20] = 1
    return masks


@pytest.mark.parametrize("sqca", ["literal", "support_from_query", "off"])
@pytest.mark.parametrize("attention", ["literal", "normalised"])
@pytest.mark.parametrize("mask_stage", ["prototype", "input"])
def test_many_queries_at_once_equal_one_after_the_other(
    sqca: str, attention: str, mask_stage: str
) -> None:
    torch.manual_seed(0)
    options = Options(encoder=TINY, width=D, sqca=sqca, attention=attention, mask_stage=mask_stage)
    network = DPCENet(options).eval()
    with torch.no_grad():
        if network.scales["layer3"].align is not None:
            network.scales["layer3"].align.alpha.fill_(0.7)
        support, query = features(2, 1), features(3, 2)
        together = network.match(support, square(2), query).log_probs
        single = [network.match(support, square(2), query.rows([i])).log_probs for i in range(3)]
    assert_allclose(together, torch.cat(single), rtol=1e-4, atol=1e-6)


def test_the_reverse_path_is_skipped_where_nothing_is_predicted() -> None:
    torch.manual_seed(0)
    network = DPCENet(Options(encoder=TINY, width=D)).train()
    empty = torch.zeros(1, 24, 24)
    assert network._reverse(features(1, 1), square(1), features(1, 2), empty) == {}
    assert set(network._reverse(features(1, 1), square(1), features(1, 2), square(1))) == {
        "reverse"
    }


def test_literal_attention_on_long_features_is_the_identity() -> None:
    """What was seen on real features: one effective key, so the attention learns nothing."""
    noise = torch.randn(1, 100, 64, generator=torch.Generator().manual_seed(0))
    rows = 10 * (1 + noise)  # features after a ReLU share a large mean
    literal_keys = effective_keys(*Similarity(normalised=False)(rows, rows), 1.0)
    normalised_keys = effective_keys(*Similarity(normalised=True)(rows, rows), 1.0)
    assert float(literal_keys) == pytest.approx(1.0, abs=1e-3)
    assert float(normalised_keys) > 2
