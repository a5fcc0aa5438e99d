"""What is batched gives what one after the other gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dpcenet.evaluation.protocols import SameSlices
from dpcenet.inference import looks
from dpcenet.inference.encoded import BATCH, EncodedScan, autocast, encode_scan, predict
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import SliceMap, Tasks
from dpcenet.inference.support import LabelledScan, SliceTask, SupportSlice
from dpcenet.methods.base import MatchJob, Method, SecondLook
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.types import Features

SIZE = 48


@pytest.fixture
def network() -> InContext:
    torch.manual_seed(0)
    network = InContext(NetworkOptions(size=32, widths=(8, 8, 8, 16))).eval()
    network.second_look = SecondLook(size=32, gain=4.0, min_half=8.0)
    with torch.no_grad():
        for parameter in network.parameters():  # some start at zero and would hide differences
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network


def scan(seed: int, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright disc (slices, 48, 48), and the disc as label 1."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    label = np.stack(
        [(y - 24 - random.integers(-6, 6)) ** 2 + (x - 20) ** 2 < 49 for _ in range(slices)]
    )
    image = random.normal(size=label.shape) + 3 * label
    return image.astype(np.float32), label.astype(np.uint8)


def jobs(network: Method) -> list[MatchJob]:
    """Five jobs of one, two or three supports and one to three queries."""
    image, label = scan(0, 9)
    features = network.encode(torch.from_numpy(image)[:, None])
    masks = torch.from_numpy(label.astype(np.float32))
    plan = [([0], [1]), ([1, 2, 3], [4]), ([5], [6, 7, 8]), ([2, 3], [0]), ([4, 5, 6], [7, 8])]
    return [MatchJob(features.rows(s), masks[s], features.rows(q)) for s, q in plan]


@torch.no_grad()
def test_slices_with_supports_of_their_own_share_a_batch_and_do_not_mix(
    network: InContext,
) -> None:
    together = network.match_each(jobs(network), batch=4)
    alone = [network.match(j.support, j.masks, j.query).log_probs for j in jobs(network)]
    assert [len(found) for found in together] == [1, 1, 3, 1, 2]
    for found, wanted in zip(together, alone, strict=True):
        assert_allclose(found, wanted, atol=1e-5)
    assert float(together[0].sub(together[1]).abs().max()) > 1e-3  # the jobs differ


@torch.no_grad()
def test_every_method_answers_each_job(network: InContext) -> None:
    by_rule = Method.match_each(network, jobs(network), batch=2)
    for found, wanted in zip(by_rule, network.match_each(jobs(network), 8), strict=True):
        assert_allclose(found, wanted, atol=1e-5)


@torch.no_grad()
def test_only_a_method_that_allows_it_compares_in_low_precision(
    network: InContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = predict(network, jobs(network), "float32")
    low = predict(network, jobs(network), "bfloat16")
    for one, other in zip(full, low, strict=True):
        assert other.dtype == torch.float32
        assert 0 < float((one - other).abs().max()) < 0.05  # 8 bits of a number, and near
    monkeypatch.setattr(InContext, "low_matching", False)
    for one, other in zip(full, predict(network, jobs(network), "bfloat16"), strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_places_are_told_apart_in_float32_in_low_precision(network: InContext) -> None:
    """2·p·q − q² is −|p − q|² but for a number: rounded to 8 bits, neighbours would be one."""
    seen = []
    network.align.carry = lambda *maps: (
        seen.append(  # type: ignore[assignment]
            torch.is_autocast_enabled("cpu")
        )
        or type(network.align).carry(network.align, *maps)
    )
    predict(network, jobs(network), "bfloat16")
    assert seen and not any(seen)


@pytest.fixture(params=[1, 3, 100])
def group(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(looks, "GROUP", request.param)
    yield request.param


def task(support: tuple[int, ...], query: tuple[int, ...]) -> SliceTask:
    return SliceTask(tuple(SupportSlice(0, z) for z in support), query)


def found(
    network: InContext,
    support: LabelledScan,
    query: EncodedScan,
    tasks: Tasks,
    second_look: bool = True,
) -> dict[int, np.ndarray]:
    """Probabilities of given tasks, without neighbours or alignment."""
    plain = Predictor(network, neighbours=0, align=False, second_look=second_look)
    return plain.segment([support], query, SameSlices(SliceMap(tasks)), list(tasks)).probability


def made_pair(network: InContext, two: bool = False) -> tuple[LabelledScan, EncodedScan]:
    """A labelled scan and a query; with two organs, and where both are: 3."""
    (image, label), (other, _) = scan(1, 6), scan(2, 7)
    if two:
        label = label + np.roll(label, 9, axis=2) * np.uint8(2)
    support, query = (Predictor(network).encode(x, (5.0, 1.0, 1.0)) for x in (image, other))
    return LabelledScan("made", support, label), query


def test_tasks_are_segmented_alike_however_many_go_together(network: InContext, group: int) -> None:
    """With the second look; against single calls, one task at a time."""
    support, query = made_pair(network)
    tasks = [task((0, 1), (0, 1)), task((3,), (2,)), task((4, 5), (5, 3, 4))]
    together = found(network, support, query, {1: tasks})[1]
    for one in tasks:
        alone = found(network, support, query, {1: [one]})[1]
        assert_allclose(together[list(one.query)], alone[list(one.query)], atol=1e-5)
        assert alone[list(one.query)].any()
    assert not together[6].any()  # no task covers it
    once = found(network, support, query, {1: tasks}, second_look=False)[1]
    assert np.abs(together - once).max() > 1e-3  # the second look was taken


def test_labels_share_the_attention_of_the_same_slices(network: InContext, group: int) -> None:
    support, query = made_pair(network, two=True)
    tasks = {
        1: [task((0,), (1,)), task((2, 3), (2, 5))],
        2: [task((2, 3), (2, 5)), task((0,), (1,)), task((4,), (1,))],
    }
    aligned: list[int] = []
    carry = network.align.carry

    def counting(support: torch.Tensor, query: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        aligned.append(len(query))
        return carry(support, query, values)

    network.align.carry = counting  # type: ignore[method-assign]
    together = found(network, support, query, tasks, second_look=False)
    assert sum(aligned) == {1: 7, 3: 4, 100: 4}[group]  # of seven; a group of 1 holds one task
    for value, of_label in tasks.items():
        alone = found(network, support, query, {value: of_label}, second_look=False)
        assert_allclose(together[value], alone[value], atol=1e-5)
    assert np.abs(together[1] - together[2]).max() > 1e-3


def counted(network: InContext) -> list[int]:
    """How many slices each call encodes, from now on."""
    seen: list[int] = []
    plain = network.extract

    def counting(images: torch.Tensor) -> Features:
        seen.append(len(images))
        return plain(images)

    network.extract = counting  # type: ignore[method-assign]
    return seen


def test_a_window_of_a_support_is_encoded_once_for_all_slices_that_it_serves(
    network: InContext,
) -> None:
    support, query = made_pair(network)
    seen = counted(network)
    found(network, support, query, {1: [task((3,), (2,)), task((3,), (4,))]})
    assert sum(seen) == 2 + 1


def test_slices_are_encoded_once_and_as_one_by_one(network: InContext) -> None:
    image, _ = scan(3, 11)
    plain = network.extract
    seen = counted(network)
    encoded = encode_scan(network, image, (5.0, 1.0, 1.0), torch.device("cpu"), "float32")
    assert sum(seen) == 11 and max(seen) <= BATCH
    with torch.no_grad():
        wanted = plain(torch.from_numpy(image[7:8])[:, None])
    for name, maps in wanted.maps.items():
        assert_allclose(encoded.features[name][7:8], maps, atol=1e-5)


def test_autocast_rounds_products_to_bfloat16() -> None:
    a = torch.full((2, 2), 1 + 2**-10)
    with autocast("bfloat16", torch.device("cpu")):
        assert (a @ a).dtype == torch.bfloat16
    with autocast("float32", torch.device("cpu")):
        assert (a @ a).dtype == torch.float32
