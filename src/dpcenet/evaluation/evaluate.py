"""`dpcenet evaluate`: scores of a run, one row for each case and label.

Protocol "paper" (EP1 of the literature) is told which slices of the query show the organ; "ep2"
segments every slice with one support slice; "blind" segments every slice and finds the support
slice of each from the images alone. The last two are told nothing of the query's labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.data.splits import Fold, count_excluded
from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.evaluation.protocols import ProtocolOptions, SameSlices
from dpcenet.evaluation.scores import COPY, REGISTER, Score, summarise, write_scores
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.slice_plans import Request, Segmented
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.copy import Copy
from dpcenet.methods.copy import Options as CopyOptions
from dpcenet.system.device import choose_device
from dpcenet.system.files import write_atomically, write_json
from dpcenet.system.progress import progress_bar
from dpcenet.system.texts import words
from dpcenet.training.feature_cache import KeptScans
from dpcenet.training.run_folder import Run, open_run
from dpcenet.volumes.boxes_and_values import Mask
from dpcenet.volumes.metrics import score_mask
from dpcenet.volumes.registration import carry_labels


def evaluate(
    folder: Path,
    options: ProtocolOptions | None = None,
    *,
    data: Path | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> list[Score]:
    """Score a run on the cases of its fold; writes scores, summary and predictions into it.

    Args:
        folder: of the run.
        options: how it is evaluated; by default as `ProtocolOptions` says.
        data: the prepared data set, if it has moved since the training.
        device: "auto", "cpu", "cuda", …
        quiet: no progress bar.

    Raises:
        RunError, DatasetError, ConfigError: the message says what to do.
    """
    run = open_run(folder)
    dataset = open_dataset(data or run.flags.data)
    place, options = choose_device(device), options or ProtocolOptions()
    method = run.load_method(place)
    for module in options.without:
        method.take_out(module)
    seen = options.sees_volume
    predictor = Predictor(method, run.precision, place, options.neighbours, as_volume=seen)
    evaluation = _Evaluation(run, dataset, predictor, options)
    sets = evaluation.fold.support_sets(options.support, options.shots)
    total = sum(len(queries) for _, queries in sets)
    scores: list[Score] = []
    done = 0
    with progress_bar(f"evaluate {options.tag}", total, quiet=quiet) as bar:
        for support_names, queries in sets:
            support = [evaluation.scan(name) for name in support_names]
            for query in queries:
                scores += evaluation.score(support, evaluation.scan(query))
                done += 1
                bar(done, query)
    write_scores(run.folder / f"scores-{options.tag}.csv", scores)
    write_json(run.folder / f"summary-{options.tag}.json", evaluation.summary(scores))
    return scores


@dataclass(frozen=True)
class _Evaluation:
    """A run, the data it is scored on, and how."""

    run: Run
    dataset: PreparedDataset
    predictor: Predictor
    options: ProtocolOptions

    @cached_property
    def fold(self) -> Fold:
        """Which cases were trained on, and which are tested."""
        return self.run.make_fold(self.dataset)

    @cached_property
    def cut(self) -> float:
        """Above which probability a label is.

        Raises:
            RunError: it is to be the checked one, and the training checked none.
        """
        return self.run.checked_cut() if self.options.cut == "checked" else 0.5

    @cached_property
    def _kept(self) -> KeptScans | None:
        """Features of a frozen trunk that the training kept; None where it kept none."""
        method = self.predictor.method
        if not (method.trunk_frozen and self.run.config.episodes.views):
            return None
        limit = self.run.config.train.bank_gb
        return KeptScans(self.dataset, method, self.run.precision, self.predictor.device, limit)

    def scan(self, name: str) -> LabelledScan:
        """Read and encode a case."""
        case = self.dataset.case(name)
        if self._kept is not None:
            return LabelledScan(name, self._kept.encode(case), case.label)
        return LabelledScan(name, self.predictor.encode(case.image, case.spacing), case.label)

    def score(self, support: Sequence[LabelledScan], query: LabelledScan) -> list[Score]:
        """Segment every tested label of a query, score it beside the baselines, and save it."""
        found, pasted = self._segment(support, query)
        rows = {self.run.config.preset: self._scored(found), COPY: self._scored(pasted)}
        if self.options.registered:
            rows[REGISTER] = self._registered(support, query, found)
        scores = [
            self._score(method, value, mask, support, query)
            for method, masks in rows.items()
            for value, mask in masks.items()
        ]
        self._save(support, query, found)
        return scores

    def _segment(
        self, support: Sequence[LabelledScan], query: LabelledScan
    ) -> tuple[Segmented, Segmented]:
        """What the method finds, and what pasting the support's masks on the same slices gives."""
        values, ours = self.run.flags.test_labels or tuple(self.dataset.labels), self.predictor
        plan = self.options.plan(ours, support, query)
        found = ours.segment(support, query.slices, plan, values)
        found = replace(found, cut=self.cut)
        request = Request(ours.method, support, query.slices, values, ours.precision)
        chosen = plan.slices(request, support)
        pasting = Predictor(Copy(CopyOptions()))
        return found, pasting.segment(support, query.slices, SameSlices(chosen), values)

    def _scored(self, segmented: Segmented) -> dict[int, Mask]:
        """The masks that count: told where the organ is, a label that one scan lacks has none."""
        tasks, blind = segmented.slices.tasks, self.options.protocol == "blind"
        return {value: mask for value, mask in segmented.masks.items() if tasks[value] or blind}

    def _registered(
        self, support: Sequence[LabelledScan], query: LabelledScan, found: Segmented
    ) -> dict[int, Mask]:
        """The first labelled scan's labels, carried over by registering its image with the query's.

        Told where the organ is, only slices count that the methods segment too.
        """
        cases = [self.dataset.case(scan.name) for scan in (support[0], query)]
        ours, theirs = (np.asarray(case.image) for case in cases)
        spacings = (cases[0].spacing, cases[1].spacing)
        carried = carry_labels(np.asarray(support[0].label), ours, theirs, spacings)
        masks = {value: carried == value for value in self._scored(found)}
        if self.options.protocol == "paper":
            for value, mask in masks.items():
                served = [z for task in found.slices.tasks[value] for z in task.query]
                mask[np.setdiff1d(np.arange(len(mask)), served)] = False
        return masks

    def _score(
        self,
        method: str,
        value: int,
        mask: Mask,
        support: Sequence[LabelledScan],
        query: LabelledScan,
    ) -> Score:
        flags = self.run.flags
        truth = np.asarray(query.label == value)
        return Score(
            method=method,
            case=query.name,
            label=self.dataset.labels[value],
            support=_joined(support),
            fold=-1 if flags.fold is None else flags.fold,
            seed=flags.seed,
            protocol=self.options.tag,
            **score_mask(mask, truth, query.slices.spacing)._asdict(),
        )

    def _save(self, support: Sequence[LabelledScan], query: LabelledScan, found: Segmented) -> None:
        """Keep the masks for the report, and which support slice served each slice of the query.

        Slices of several supports are numbered through all of them.
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        starts = [0, *accumulate(len(scan.slices) for scan in support)]
        for value, mask in self._scored(found).items():
            served = np.full(len(mask), -1, dtype=np.int16)
            for task in found.slices.tasks[value]:
                first = task.support[0]
                served[list(task.query)] = starts[first.scan] + first.z
            arrays[f"mask {self.dataset.labels[value]}"] = mask
            arrays[f"support slice {self.dataset.labels[value]}"] = served
        folder = self.run.folder / f"predictions-{self.options.tag}"
        write_atomically(
            folder / f"{query.name}-by-{_joined(support)}.npz",
            lambda path: np.savez_compressed(path, allow_pickle=False, **arrays),
        )

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """What summary-<protocol>.json holds: the rules, and the means of the scores."""
        options, flags = self.options, self.run.flags
        told = options.protocol == "paper"
        own = self.predictor.method.neighbours
        seen = {name for score in scores for name in score.support.split("+")}
        return {
            "protocol": options.protocol,
            "says": words()[f"rules.{options.protocol}"],
            "support": options.support,
            "shots": options.shots,
            "supports_trained_on": sorted(seen & set(self.fold.train)),
            "chunks": options.chunks if told else None,
            "neighbours": own if options.neighbours is None else options.neighbours,
            "bounds": options.bounds if told else None,
            "without": list(options.without),
            "cut": self.cut,
            "as_volume": options.as_volume,
            "dataset": self.dataset.origin.name,
            "scheme": flags.scheme,
            "setting": flags.setting,
            "exclusion": self._exclusion(),
            "data_hash": self.dataset.hash,
            "methods": {
                name: summarise([score for score in scores if score.method == name])
                for name in dict.fromkeys(score.method for score in scores)
            },
        }

    def _exclusion(self) -> dict[str, Any] | None:
        """What Setting 2 removed from the training, by its rule and the other; else None."""
        flags = self.run.flags
        if flags.setting == 1:
            return None
        labels = (self.dataset.case(name).label for name in self.fold.train)
        counted = count_excluded(labels, flags.test_labels)
        return {
            "rule": flags.exclusion,
            "labels": [self.dataset.labels[value] for value in flags.test_labels],
            "training_slices": counted.slices,
            "removed_by_any": counted.any_removed,
            "removed_by_all": counted.all_removed,
        }


def _joined(support: Sequence[LabelledScan]) -> str:
    """The name of a set of labelled scans."""
    return "+".join(scan.name for scan in support)
