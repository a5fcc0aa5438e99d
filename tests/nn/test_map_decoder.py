"""The decoder of similarity maps against its layers in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import correlate

from dpcenet.nn.map_decoder import MapDecoder

Array = npt.NDArray[np.float64]


def convolve(maps: Array, weights: Array) -> Array:
    """(C, h, w) and (D, C, k, k) → (D, h, w), zeros outside."""
    return np.stack(
        [
            sum(correlate(m, k, mode="constant") for m, k in zip(maps, kernels, strict=True))
            for kernels in weights
        ]
    )


def test_it_is_a_residual_pair_between_pointwise_layers() -> None:
    torch.manual_seed(0)
    decoder = MapDecoder(3, 4, 5).double().eval()
    maps = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    w = {name: tensor.numpy() for name, tensor in decoder.state_dict().items()}
    with torch.no_grad():
        found = decoder(maps)
    assert found.shape == (2, 1, 6, 7)
    for one, got in zip(maps.numpy(), found.numpy(), strict=True):
        x = np.maximum(convolve(one, w["res1.0.weight"]), 0)
        y = np.maximum(convolve(x, w["res2.0.weight"]), 0)
        y = x + np.maximum(convolve(y, w["res2.2.weight"]), 0)
        y = np.maximum(convolve(y, w["down.0.weight"]), 0)
        assert_allclose(got, convolve(y, w["down.3.weight"]), rtol=1e-9, atol=1e-12)


def test_layers_in_bfloat16_keep_the_type_of_the_maps() -> None:
    decoder = MapDecoder(3, 4, 5).to(torch.bfloat16).eval()
    assert decoder(torch.randn(1, 3, 4, 4)).dtype == torch.float32
