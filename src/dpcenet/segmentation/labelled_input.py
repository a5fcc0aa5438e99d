"""Which network and which labelled scans: what a person names, and what is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dpcenet.errors import ConfigError
from dpcenet.inference.support import Support
from dpcenet.segmentation.check_input import check_labelled
from dpcenet.segmentation.segmenter import Segmenter, ShippedMethod
from dpcenet.segmentation.task_file import read_task
from dpcenet.system.device import Precision
from dpcenet.volumes.mask_files import MaskFile, absolute
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions


@dataclass(frozen=True)
class LabelledInput:
    """The files of a network and its labelled scans; each worker process opens its own.

    Attributes:
        images, masks: labelled scans and the labels of each; empty with a task.
        task: a task file, in place of them.
        labels: values to segment; by default all.
        names: of label values; they replace those of a task.
        run: folder of a trained run; by default a network of the package.
        method: which network of the package.
        modality: of the scans, for the network of the package; None decides by the labelled scan.
        device: where it computes.
        options: how scans are read whose files leave a choice.
        precision: of the trunk; "auto" is the run's, or the faster one, measured.
        fast: the first look only: no alignment, and no window around small organs.
        all_parts: every part of a label is kept, also where the labelled scans have but one.
        learnt: folder in which `learning.learn_into` kept what was learnt from these scans.
    """

    images: tuple[Path, ...] = ()
    masks: tuple[MaskFile, ...] = ()
    task: Path | None = None
    labels: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    run: Path | None = None
    method: ShippedMethod = "incontext"
    modality: Literal["mr", "ct"] | None = None
    device: str = "auto"
    precision: Precision = "auto"
    options: ReadOptions = AS_IT_IS
    fast: bool = False
    all_parts: bool = False
    learnt: Path | None = None

    def open(self) -> tuple[Segmenter, Support]:
        """Load the network; encode the labelled scans, or read the task.

        Raises:
            InputError, RunError: something cannot be used; the message says what to do.
        """
        check_labelled(self.images, self.masks, self.task)
        segmenter = self.segmenter()
        if self.task is None:
            support = segmenter.support(
                self.images, self.masks, self.labels, self.options, self.names
            )
        else:
            support = read_task(self.task, segmenter.predictor)
            support = support.only(self.labels) if self.labels else support
        if unknown := sorted(set(self.names) - set(support.values)):
            raise ConfigError(f"--name {unknown[0]}=…: the labels are {list(support.values)}")
        names = _told_apart({**support.names, **self.names}, support.values, self.names)
        support = replace(support, names=names)
        if self.learnt is None:
            return segmenter, support
        from dpcenet.segmentation.learning import with_learnt  # few need it

        return with_learnt(segmenter, support, self.learnt), support

    def absolute(self) -> LabelledInput:
        """The same with absolute paths, for workers in other folders."""
        return replace(
            self,
            images=tuple(path.absolute() for path in self.images),
            masks=tuple(absolute(mask) for mask in self.masks),
            task=None if self.task is None else self.task.absolute(),
            run=None if self.run is None else self.run.absolute(),
            learnt=None if self.learnt is None else self.learnt.absolute(),
        )

    def segmenter(self) -> Segmenter:
        """The network alone.

        Raises:
            ConfigError: a run and a network of the package are both asked for.
        """
        segmenter = Segmenter.of(self.run, self.method, self.device, self.modality, self.precision)
        predictor = replace(segmenter.predictor, one_part=not self.all_parts)
        return replace(segmenter, predictor=predictor.at_first_look() if self.fast else predictor)


def _told_apart(
    names: Mapping[int, str], values: Sequence[int], given: Mapping[int, str]
) -> dict[int, str]:
    """Names of labels of which no two are alike: the value goes behind those of a file.

    Raises:
        ConfigError: a person gave one name to two labels.
    """
    often = Counter(names.get(value, "") for value in values)
    twice = [value for value in values if names.get(value) and often[names[value]] > 1]
    for value in twice:
        if value in given:
            alike = [each for each in twice if names[each] == names[value]]
            found = f"--name {value}={names[value]}: labels {alike} have this name"
            raise ConfigError(f"{found}; give each its own")
    return {**names, **{value: f"{names[value]} ({value})" for value in twice}}
