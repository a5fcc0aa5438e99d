"""A thinned plan serves every so many slices of each label, by the same supports."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.slice_plans import Request, SliceMap, SlicePlan, Thinned
from dpcenet.inference.support import LabelledScan, SliceTask, SupportSlice
from dpcenet.methods.copy import Copy, Options
from dpcenet.types import Features


class Fixed(SlicePlan):
    """Label 1 on all of ten slices, label 2 on three."""

    def slices(self, request: Request, aligned: Sequence[LabelledScan]) -> SliceMap:
        one, two = SupportSlice(0, 4), SupportSlice(0, 5)
        return SliceMap(
            {
                1: [SliceTask((one,), (0, 1, 2, 3, 4)), SliceTask((two,), (5, 6, 7, 8, 9))],
                2: [SliceTask((one,), (0, 1)), SliceTask((two,), (6,))],
            }
        )


def test_a_thinned_plan_serves_every_third_slice_of_the_labels_that_it_thins() -> None:
    query = EncodedScan(torch.zeros(10, 1, 4, 4), Features({}), (1.0, 1.0, 1.0))
    request = Request(Copy(Options()), [], query, [1, 2])
    plan = Thinned(Fixed(), {1: 3, 2: 1})
    tasks = plan.slices(request, []).tasks
    assert [task.query for task in tasks[1]] == [(1, 4), (7,)]
    assert [task.support[0].z for task in tasks[1]] == [4, 5]
    assert list(range(10)[plan.kept(1)]) == [1, 4, 7]
    assert tasks[2] == Fixed().slices(request, []).tasks[2]
    assert list(range(10)[plan.kept(2)]) == list(range(10))
    assert [task.query for task in Thinned(Fixed(), {1: 3, 2: 2}).slices(request, []).tasks[2]] == [
        (1,)
    ]
