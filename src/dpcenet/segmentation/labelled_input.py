"""Which network and which labelled scans: what a person names, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dpcenet.errors import ConfigError
from dpcenet.inference.support import Support
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.task_file import read_task
from dpcenet.system.device import Precision


@dataclass(frozen=True)
class LabelledInput:
    """A segmenter and its support, by name; a worker process opens its own.

    Attributes:
        images, masks: labelled scans, in pairs; none with a task.
        task: a task file, which stands for them.
        labels: values to segment; default every one.
        names: of label values, in place of a task's.
        run: folder of a trained run; default the network that comes with the package.
        modality: of the scans, for that network; None looks at the labelled scan.
        device: where it computes.
        precision: of the trunk; "auto" is the run's, or the faster one, measured.
    """

    images: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    task: Path | None = None
    labels: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    run: Path | None = None
    modality: Literal["mr", "ct"] | None = None
    device: str = "auto"
    precision: Precision = "auto"

    def open(self) -> tuple[Segmenter, Support]:
        """Load the network; encode the labelled scans, or read the task.

        Raises:
            InputError, RunError: something cannot be used; the message says what to do.
        """
        if self.task is not None and (self.images or self.masks):
            raise ConfigError("give --task, or --support-image with --support-mask, not both")
        if self.task is None and not self.images:
            raise ConfigError(
                "no labelled scan: give --support-image and --support-mask, or --task"
            )
        segmenter = self.segmenter()
        if self.task is None:
            support = segmenter.support(self.images, self.masks, self.labels)
        else:
            support = read_task(self.task, segmenter.predictor)
            support = support.only(self.labels) if self.labels else support
        if unknown := sorted(set(self.names) - set(support.values)):
            raise ConfigError(f"--name {unknown[0]}=…: the labels are {list(support.values)}")
        return segmenter, replace(support, names={**support.names, **self.names})

    def absolute(self) -> LabelledInput:
        """The same with paths that hold in any folder."""
        return replace(
            self,
            images=tuple(path.absolute() for path in self.images),
            masks=tuple(path.absolute() for path in self.masks),
            task=None if self.task is None else self.task.absolute(),
            run=None if self.run is None else self.run.absolute(),
        )

    def segmenter(self) -> Segmenter:
        """The network alone."""
        if self.run is not None:
            return Segmenter.from_run(self.run, self.device, self.precision)
        return Segmenter.shipped(self.device, self.modality, self.precision)
