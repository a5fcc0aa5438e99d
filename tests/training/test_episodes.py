"""Training episodes: what they hold, and that episode n never depends on who draws it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.training.augmentation import AugmentOptions
from dpcenet.training.episodes import EpisodeOptions, EpisodeSampler
from dpcenet.types import Episode
from made import write_prepared


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return open_dataset(write_prepared(tmp_path_factory.mktemp("prepared")))


def same(one: Episode, two: Episode) -> bool:
    assert one.query_masks is not None and two.query_masks is not None
    return (
        torch.equal(one.support_images, two.support_images)
        and torch.equal(one.support_masks, two.support_masks)
        and torch.equal(one.query_images, two.query_images)
        and torch.equal(one.query_masks, two.query_masks)
        and one.seed == two.seed
    )


def test_slices_are_warped_where_the_network_is(dataset: PreparedDataset) -> None:
    """Tensors of the device "meta" have no numbers: whatever fell back to the CPU would raise."""
    sampler = EpisodeSampler(dataset.cases, EpisodeOptions(min_area=20), seed=3, device="meta")
    for n in range(6):
        episode = sampler.render(sampler.plan(n))
        assert episode.query_masks is not None
        for tensor in (episode.support_images, episode.query_masks):
            assert tensor.device.type == "meta"


@pytest.mark.parametrize("workers", [1, 2])
def test_episodes_do_not_depend_on_the_number_of_workers(
    dataset: PreparedDataset, workers: int
) -> None:
    sampler = EpisodeSampler(dataset.cases, EpisodeOptions(min_area=20), seed=3)
    loader = DataLoader(sampler, batch_size=None, sampler=range(5, 9), num_workers=workers)
    for n, episode in zip(range(5, 9), loader, strict=True):
        assert same(episode, sampler[n])


def test_other_numbers_and_seeds_give_other_episodes(dataset: PreparedDataset) -> None:
    options = EpisodeOptions(min_area=20)
    sampler = EpisodeSampler(dataset.cases, options, seed=3)
    assert not same(sampler[0], sampler[1])
    assert not same(sampler[0], EpisodeSampler(dataset.cases, options, seed=4)[0])


def test_supervoxel_pairs_are_neighbours_that_both_show_the_target(
    dataset: PreparedDataset,
) -> None:
    sampler = EpisodeSampler(dataset.cases, EpisodeOptions(min_area=150), seed=0)
    orders = set()
    for n in range(60):
        plan = sampler.plan(n)
        assert plan.support.case == plan.query.case
        assert abs(plan.support.z - plan.query.z) == 1
        orders.add(plan.support.z < plan.query.z)
        segments = dataset.cases[plan.support.case].supervoxels
        areas = [(segments[s.z] == s.target).sum() for s in (plan.support, plan.query)]
        assert min(areas) > 0 and max(areas) >= 150
    assert orders == {True, False}


def test_exactly_one_of_support_and_query_gets_each_part(dataset: PreparedDataset) -> None:
    sampler = EpisodeSampler(dataset.cases, EpisodeOptions(min_area=20), seed=0)
    for n in range(30):
        one, two = sampler.plan(n).support.view, sampler.plan(n).query.view
        assert (one.matrix is None) != (two.matrix is None)
        assert (one.gamma is None) != (two.gamma is None)


def test_superpixel_episodes_are_two_views_of_one_slice(dataset: PreparedDataset) -> None:
    options = EpisodeOptions(source="superpixel", augment=AugmentOptions(place="both"))
    sampler = EpisodeSampler(dataset.cases, options, seed=0)
    plan = sampler.plan(0)
    assert (plan.support.case, plan.support.z) == (plan.query.case, plan.query.z)
    assert not torch.equal(sampler[0].support_images, sampler[0].query_images)


def test_label_episodes_show_one_organ_of_two_scans(dataset: PreparedDataset) -> None:
    options = EpisodeOptions(source="labels", min_area=20, augment=AugmentOptions(place="none"))
    sampler = EpisodeSampler(dataset.cases, options, seed=0, labels=[2])
    for n in range(10):
        plan = sampler.plan(n)
        assert plan.support.case != plan.query.case and plan.support.target == 2
        truth = dataset.cases[plan.query.case].label[plan.query.z] == 2
        assert np.array_equal(sampler[n].query_masks[0].numpy() > 0, truth)


def test_setting_2_never_shows_an_excluded_organ(dataset: PreparedDataset) -> None:
    sampler = EpisodeSampler(dataset.cases, EpisodeOptions(min_area=20), seed=0, excluded=[1])
    assert sampler.dropped_slices == 6 * len(dataset.cases)
    with pytest.raises(DatasetError, match="no episode can be drawn"):
        EpisodeSampler(dataset.cases, EpisodeOptions(min_area=5000), seed=0, excluded=[1])
    for n in range(30):
        plan = sampler.plan(n)
        for view in (plan.support, plan.query):
            assert not (dataset.cases[view.case].label[view.z] == 1).any()


def test_fixed_views_are_few_and_the_same_for_each_slice(dataset: PreparedDataset) -> None:
    options = EpisodeOptions(min_area=20, views=3)
    sampler = EpisodeSampler(dataset.cases[:1], options, seed=0)
    seen: dict[tuple[int, int], torch.Tensor] = {}
    for n in range(80):
        plan = sampler.plan(n)
        for which in (plan.support, plan.query):
            image, _ = sampler.slice(which)
            key = (which.z, which.view_index)
            assert torch.equal(seen.setdefault(key, image), image)
    assert len(seen) <= 3 * len(dataset.cases[0].image)


@pytest.mark.parametrize("source", ["synthetic", "mixed"])
def test_made_up_pairs_are_episodes_too(dataset: PreparedDataset, source: str) -> None:
    options = EpisodeOptions(source=source, min_area=20, made_size=64)
    sampler = EpisodeSampler(dataset.cases, options, seed=0)
    assert same(sampler[2], sampler[2]) and not same(sampler[2], sampler[4])
    assert sampler[2].support_images.shape == (1, 1, 64, 64)
    assert sampler[2].support_masks.shape == sampler[2].query_masks.shape == (1, 64, 64)
    if source == "mixed":
        assert sampler.plan(3).support.target > 0 and same(
            sampler[3], EpisodeSampler(dataset.cases, EpisodeOptions(min_area=20), seed=0)[3]
        )
    with pytest.raises(ConfigError, match="no fixed views"):
        EpisodeSampler(dataset.cases, EpisodeOptions(source=source, views=2), seed=0)
