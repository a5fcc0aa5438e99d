"""`dpcenet evaluate`: scores of a run, one row for each case and label.

Protocol "paper" (EP1 of the literature) is told which slices of the query show the organ; protocol
"blind" is told nothing of the query's labels and segments every slice.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.datasets.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.engine import choose_device, encode_slices, masks_of, predict_slices
from dpcenet.episodes.protocol import SliceTask, blind_tasks, organ_tasks
from dpcenet.errors import ConfigError
from dpcenet.files import write_atomically, write_json, write_text
from dpcenet.methods.base import Method
from dpcenet.methods.copy import Copy
from dpcenet.methods.copy import Options as CopyOptions
from dpcenet.metrics import score_mask
from dpcenet.nn.alignment import align_slices, slice_costs
from dpcenet.progress import progress_bar
from dpcenet.runs import Run, open_run
from dpcenet.types import Features, Score

Protocol = Literal["paper", "blind"]
COPY = "copy"  # the row of the pasted mask, which every table carries


@dataclass(frozen=True)
class Encoded:
    """A case with the features of all its slices."""

    case: PreparedCase
    features: Features


def evaluate(
    folder: Path,
    protocol: Protocol = "paper",
    *,
    support: str = "last",
    chunks: int = 3,
    data: Path | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> list[Score]:
    """Score a run on the cases of its fold; writes scores, summary and predictions into it.

    Args:
        folder: of the run.
        protocol: "paper" or "blind".
        support: which scan of the fold is the labelled one: first, last, all, or its index.
        chunks: of protocol "paper".
        data: the prepared data set, if it has moved since the training.
        device: "auto", "cpu", "cuda", …
        quiet: no progress bar.

    Raises:
        RunError, DatasetError, ConfigError: the message says what to do.
    """
    run = open_run(folder)
    dataset = open_dataset(data or run.flags.data)
    place = choose_device(device)
    method = run.load_method(place)
    pairs = run.make_fold(dataset).pairs(support)
    total = sum(len(queries) for _, queries in pairs)
    scores: list[Score] = []
    with progress_bar(f"evaluate {protocol}", total, quiet=quiet) as bar:
        for support_name, queries in pairs:
            source = _encode(method, dataset.case(support_name), place, run)
            for query_name in queries:
                target = _encode(method, dataset.case(query_name), place, run)
                scores += _score_case(run, dataset, method, source, target, protocol, chunks)
                bar(len({(s.support, s.case) for s in scores}), query_name)
    _write(run, dataset, scores, protocol, support, chunks)
    return scores


def _encode(method: Method, case: PreparedCase, device: torch.device, run: Run) -> Encoded:
    return Encoded(case, encode_slices(method, case.image, device, run.precision))


def _score_case(
    run: Run,
    dataset: PreparedDataset,
    method: Method,
    support: Encoded,
    query: Encoded,
    protocol: Protocol,
    chunks: int,
) -> list[Score]:
    """Segment every tested label of one query and score it, beside the pasted mask.

    The run's masks are kept for the report.
    """
    matches = match_slices(method, support, query) if protocol == "blind" else None
    scores: list[Score] = []
    arrays: dict[str, npt.NDArray[Any]] = {}
    for value in run.flags.test_labels or tuple(dataset.labels):
        label, truth = dataset.labels[value], np.asarray(query.case.label == value)
        if matches is None:
            tasks = organ_tasks(support.case.label, query.case.label, value, chunks)
            if not tasks:
                continue  # nothing to score: the organ is missing from one of the two scans
        else:
            tasks = blind_tasks(matches, support.case.label, value)
        for name, judged in ((run.config.preset, method), (COPY, Copy(CopyOptions()))):
            mask = segment_label(judged, support, query, value, tasks) > 0.5
            scores.append(
                Score(
                    method=name,
                    case=query.case.name,
                    label=label,
                    support=support.case.name,
                    fold=-1 if run.flags.fold is None else run.flags.fold,
                    seed=run.flags.seed,
                    protocol=protocol,
                    **score_mask(mask, truth, query.case.spacing)._asdict(),
                )
            )
            if judged is method:
                arrays[f"mask {label}"] = mask
        arrays[f"support slice {label}"] = serving_slices(tasks, len(truth))
    path = run.folder / f"predictions-{protocol}" / f"{query.case.name}-by-{support.case.name}.npz"
    write_atomically(path, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **arrays))
    return scores


def match_slices(method: Method, support: Encoded, query: Encoded) -> npt.NDArray[np.int64]:
    """For each slice of the query the support slice that it matches, from features alone."""
    costs = slice_costs(method.describe(query.features), method.describe(support.features))
    return align_slices(costs, query.case.spacing[0], support.case.spacing[0])


def segment_label(
    method: Method, support: Encoded, query: Encoded, value: int, tasks: Sequence[SliceTask]
) -> npt.NDArray[np.float32]:
    """Foreground probability (Z, H, W) of one label; 0 on slices that no task covers."""
    device = next(iter(support.features.maps.values())).device
    probability = np.zeros(query.case.image.shape, dtype=np.float32)
    for task in tasks:
        probability[list(task.query)] = predict_slices(
            method,
            support.features.rows(list(task.support)),
            masks_of(support.case.label, task.support, value, device),
            query.features.rows(list(task.query)),
        )
    return probability


def serving_slices(tasks: Sequence[SliceTask], count: int) -> npt.NDArray[np.int16]:
    """(Z,) the first support slice that served each query slice, −1 where none did."""
    served = np.full(count, -1, dtype=np.int16)
    for task in tasks:
        served[list(task.query)] = task.support[0]
    return served


def _write(
    run: Run,
    dataset: PreparedDataset,
    scores: Sequence[Score],
    protocol: Protocol,
    support: str,
    chunks: int,
) -> None:
    """scores-<protocol>.csv and summary-<protocol>.json."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(Score)])
    writer.writeheader()
    writer.writerows(dataclasses.asdict(score) for score in scores)
    write_text(run.folder / f"scores-{protocol}.csv", stream.getvalue())
    summary = {
        "protocol": protocol,
        "support": support,
        "chunks": chunks if protocol == "paper" else None,
        "scheme": run.flags.scheme,
        "setting": run.flags.setting,
        "data_hash": dataset.hash,
        "methods": {
            name: summarise([score for score in scores if score.method == name])
            for name in dict.fromkeys(score.method for score in scores)
        },
    }
    write_json(run.folder / f"summary-{protocol}.json", summary)


def summarise(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over cases for each label, and the mean of the labels."""
    by_label: dict[str, dict[str, float]] = {}
    for label in dict.fromkeys(score.label for score in scores):
        rows = [score for score in scores if score.label == label]
        dices = [row.dice for row in rows]
        by_label[label] = {
            "cases": len(rows),
            "dice": fmean(dices),
            "dice_sd": stdev(dices) if len(dices) > 1 else 0.0,
            "iou": fmean(row.iou for row in rows),
            "hd95_mm": fmean(row.hd95_mm for row in rows),
            "nsd": fmean(row.nsd for row in rows),
        }
    if by_label:
        names = ("dice", "iou", "hd95_mm", "nsd")
        by_label["mean"] = {k: fmean(row[k] for row in by_label.values()) for k in names}
    return by_label


def read_scores(path: Path) -> list[Score]:
    """The rows of a scores file.

    Raises:
        ConfigError: the file is missing or has other columns.
    """
    kinds = {
        f.name: {"int": int, "float": float}.get(str(f.type), str)
        for f in dataclasses.fields(Score)
    }
    try:
        with path.open(newline="") as stream:
            return [
                Score(**{name: kind(row[name]) for name, kind in kinds.items()})
                for row in csv.DictReader(stream)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: not a scores file ({error}); run `dpcenet evaluate`") from error
