"""DPCENet against its equations in NumPy, in float64: two shots, two queries, every reading.

The oracle enlarges features to the mask's size and computes every position, which the network
avoids. Numbers in brackets are the paper's equations.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from dpcenet.methods.dpcenet.model import DPCENet
from dpcenet.methods.dpcenet.options import Options
from dpcenet.nn.encoder import EncoderOptions
from dpcenet.types import Features

Array = npt.NDArray[np.float64]
TINY = EncoderOptions(name="resnet18", outputs=("layer3",), frozen=True)
WIDTH, SIDE, PIXELS, ALPHA = 16, 5, 12, 0.6
COSINE_SCALE, EPS = 4.0, 1e-5


def softmax(x: Array, axis: int = -1) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def interpolation(small: int, large: int) -> Array:
    """(large, small): linear interpolation between the centres of cells."""
    matrix = np.zeros((large, small))
    for i in range(large):
        place = min(max((i + 0.5) * small / large - 0.5, 0), small - 1)
        low = int(place)
        high = min(low + 1, small - 1)
        matrix[i, low] += 1 - (place - low)
        matrix[i, high] += place - low
    return matrix


UP = interpolation(SIDE, PIXELS)


def enlarged(rows: Array) -> Array:
    """Rows of positions (hw, D) → pixels (H·W, D)."""
    maps = rows.reshape(SIDE, SIDE, -1)
    return np.einsum("yi,ijd,xj->yxd", UP, maps, UP).reshape(PIXELS * PIXELS, -1)


class Oracle:
    """The equations, with the weights of a network."""

    def __init__(self, network: DPCENet) -> None:
        self.options = network.options
        state = network.scales["layer3"].state_dict()
        self.w = {name: tensor.detach().numpy() for name, tensor in state.items()}

    def aligned(self, support: Array, query: Array) -> Array:
        """F_s* (hw, D)."""
        if self.options.sqca == "off":
            return support
        asking, giving = (query, support) if self.options.sqca == "literal" else (support, query)
        q, k, v = (
            x @ self.w[f"align.w_{name}.weight"].T
            for x, name in ((asking, "q"), (giving, "k"), (giving, "v"))
        )
        attention = softmax(q @ k.T / np.sqrt(WIDTH))  # (1.1)
        return np.asarray(support + self.w["align.alpha"] * (attention @ v))  # (1.2)

    def attended(self, rows: Array, kind: str) -> Array:
        """softmax(F Fᵀ) F + F (1.3 to 1.5), of positions or of channels."""
        f = rows if kind == "spatial" else rows.T
        if self.options.attention == "literal":
            logits = f @ f.T
        else:
            unit = f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-12)
            logits = self.w[f"enhance.{kind}.temperature"] * unit @ unit.T
        found = softmax(logits) @ f + f
        return np.asarray(found if kind == "spatial" else found.T)

    def enhanced(self, rows: Array, path: str) -> Array:
        """F_i (hw, D) of a path."""
        if not self.options.dpce:
            return rows
        spatial, channel = self.attended(rows, "spatial"), self.attended(rows, "channel")
        pooled = (spatial + channel).mean(axis=0)  # (1.6)
        w_1, w_2 = (self.w[f"enhance.gates.{path}.w_{i}.weight"] for i in (1, 2))
        gate = softmax(w_2 @ np.maximum(w_1 @ pooled, 0))  # (1.7, 1.8)
        return np.asarray(gate[0] * spatial + gate[1] * channel)  # (1.9)

    def prototype(self, supports: Array, masks: Array, query: Array, path: str) -> Array:
        """P_i (D,) of one query (1.10), over the pixels of all shots."""
        total, mass = np.zeros(WIDTH), 0.0
        for support, mask in zip(supports, masks, strict=True):
            rows = self.aligned(support, query)
            if self.options.mask_stage == "input" and self.options.dpce:
                share = (UP.T @ mask @ UP) / (UP.T @ np.ones_like(mask) @ UP)
                rows = rows * share.reshape(-1, 1)
            features = enlarged(self.enhanced(rows, path))
            total += (mask.reshape(-1, 1) * features).sum(axis=0)
            mass += mask.sum()
        return np.asarray(total / max(mass, EPS))

    def probabilities(self, supports: Array, masks: Array, query: Array) -> Array:
        """(2, H, W) of background and foreground."""
        logits = []
        for path, mask in (("background", 1 - masks), ("foreground", masks)):
            p = self.prototype(supports, mask, query, path)
            cosine = query @ p / (np.linalg.norm(query, axis=1) * np.linalg.norm(p))
            logits.append(enlarged(COSINE_SCALE * cosine[:, None]).reshape(PIXELS, PIXELS))
        return softmax(np.stack(logits), axis=0)


def segmentation_loss(probabilities: Array, masks: Array) -> float:
    """Equation 1.11 over (N, 2, H, W) and (N, H, W)."""
    foreground, background = probabilities[:, 1], probabilities[:, 0]
    return float(-(masks * np.log(foreground) + (1 - masks) * np.log(background)).mean())


def network_of(**options: object) -> DPCENet:
    torch.manual_seed(3)
    given = {"encoder": TINY, "width": WIDTH, "decoder_width": 0, "cosine_scale": COSINE_SCALE}
    network = DPCENet(Options(**{**given, **options})).double().eval()
    for name, parameter in network.scales.named_parameters():
        if name.endswith("alpha"):
            parameter.data.fill_(ALPHA)
        elif not name.endswith("temperature"):
            parameter.data.normal_(std=0.4)
    return network


def rows_of(seed: int, count: int = 2) -> Array:
    """Short features, so that no softmax is a maximum."""
    return np.random.default_rng(seed).normal(0.1, 0.35, (count, SIDE * SIDE, WIDTH))


def features_of(rows: Array) -> Features:
    maps = rows.transpose(0, 2, 1).reshape(len(rows), WIDTH, SIDE, SIDE)
    return Features({"layer3": torch.from_numpy(maps.copy())})


MASKS = np.zeros((2, PIXELS, PIXELS))
MASKS[0, 2:7, 3:11] = MASKS[1, 4:10, 1:6] = 1
READINGS = [
    *product(("literal", "support_from_query"), ("literal", "normalised"), ("prototype", "input")),
    ("off", "literal", "prototype"),
]


@pytest.mark.parametrize(("sqca", "attention", "mask_stage"), READINGS)
@pytest.mark.parametrize("dpce", [True, False])
def test_the_network_computes_the_equations(
    sqca: str, attention: str, mask_stage: str, dpce: bool
) -> None:
    network = network_of(sqca=sqca, attention=attention, mask_stage=mask_stage, dpce=dpce)
    supports, queries = rows_of(1), rows_of(2)
    found = network.match(features_of(supports), torch.from_numpy(MASKS), features_of(queries))
    oracle = Oracle(network)
    expected = [oracle.probabilities(supports, MASKS, query) for query in queries]
    assert_allclose(found.log_probs.detach().exp(), np.stack(expected), rtol=1e-9)


def test_each_block_is_worth_something_here() -> None:
    """The readings differ on these numbers, so that no test above passes by chance."""
    supports, queries = features_of(rows_of(1)), features_of(rows_of(2))
    outputs = [
        network_of(sqca=sqca, attention=attention, mask_stage=stage, dpce=dpce)
        .match(supports, torch.from_numpy(MASKS), queries)
        .log_probs.detach()
        for (sqca, attention, stage), dpce in product(READINGS, (True, False))
        if dpce or (attention, stage) == ("literal", "prototype")
    ]
    for i, one in enumerate(outputs):
        assert all(float((one - other).abs().max()) > 1e-4 for other in outputs[:i])


@pytest.mark.parametrize("reverse", ["full", "prototypes"])
def test_the_reverse_path_is_equation_1_12(reverse: str) -> None:
    network = network_of(reverse=reverse).train()
    supports, queries = rows_of(1), rows_of(2)
    found = network.match(features_of(supports), torch.from_numpy(MASKS), features_of(queries))
    oracle = Oracle(network)
    mirror = Oracle(network_of(sqca="off", dpce=False)) if reverse == "prototypes" else oracle
    losses = []
    for query in queries:
        forward = oracle.probabilities(supports, MASKS, query)
        predicted = (forward[1] > forward[0]).astype(float)[None]
        assert 0 < predicted.sum() < predicted.size
        back = [mirror.probabilities(query[None], predicted, support) for support in supports]
        losses.append(segmentation_loss(np.stack(back), MASKS))
    assert_allclose(found.losses["reverse"].detach(), np.mean(losses), rtol=1e-9)


@pytest.mark.parametrize("pixel", [(0, 0), (3, 10), (11, 11)])
@pytest.mark.parametrize("attention", ["literal", "normalised"])
def test_attention_maps_are_the_softmax_of_the_equations(
    pixel: tuple[int, int], attention: str
) -> None:
    network = network_of(attention=attention)
    support, query = rows_of(1, 1), rows_of(2, 1)
    with torch.no_grad():
        maps = network.attention_maps(
            features_of(support), torch.from_numpy(MASKS[:1]), features_of(query), pixel
        )
    assert maps is not None
    oracle = Oracle(network)
    rows = oracle.aligned(support[0], query[0])
    cell = pixel[0] * SIDE // PIXELS * SIDE + pixel[1] * SIDE // PIXELS
    if attention == "literal":
        spatial, channels = softmax(rows @ rows.T), softmax(rows.T @ rows)
    else:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        turned = rows.T / np.linalg.norm(rows.T, axis=1, keepdims=True)
        spatial, channels = softmax(10 * unit @ unit.T), softmax(10 * turned @ turned.T)
    assert_allclose(maps.spatial, spatial[cell].reshape(SIDE, SIDE), rtol=1e-9)
    assert_allclose(maps.channels, channels.mean(axis=0), rtol=1e-9)
    both = oracle.attended(rows, "spatial"), oracle.attended(rows, "channel")
    for path, gate in maps.gates.items():
        fused = oracle.enhanced(rows, path)
        assert_allclose(gate * both[0] + (1 - gate) * both[1], fused, rtol=1e-7, atol=1e-9)


def test_without_dual_perspective_there_is_nothing_to_show() -> None:
    one, mask = features_of(rows_of(1, 1)), torch.from_numpy(MASKS[:1])
    assert network_of(dpce=False).attention_maps(one, mask, one, (0, 0)) is None


def test_the_parameters_have_the_papers_shapes() -> None:
    shapes: dict[str, Tensor] = network_of().scales["layer3"].state_dict()
    assert all(shapes[f"align.w_{name}.weight"].shape == (WIDTH, WIDTH) for name in "qkv")
    assert shapes["enhance.gates.foreground.w_1.weight"].shape == (WIDTH // 8, WIDTH)
    assert shapes["enhance.gates.background.w_2.weight"].shape == (2, WIDTH // 8)
    torch.manual_seed(0)
    assert DPCENet(Options(encoder=TINY, width=WIDTH)).scales["layer3"].align.alpha == 0
