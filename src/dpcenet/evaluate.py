"""`dpcenet evaluate`: scores of a run, one row for each case and label.

Protocol "paper" (EP1 of the literature) is told which slices of the query show the organ; protocol
"blind" is told nothing of the query's labels and segments every slice.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.datasets.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.engine import choose_device, encode_slices, match_slices, segment_label
from dpcenet.episodes.protocol import SliceTask, blind_tasks, organ_tasks
from dpcenet.errors import ConfigError
from dpcenet.files import write_atomically, write_json, write_text
from dpcenet.methods.base import Method
from dpcenet.methods.copy import Copy
from dpcenet.methods.copy import Options as CopyOptions
from dpcenet.metrics import score_mask
from dpcenet.progress import progress_bar
from dpcenet.runs import Run, open_run
from dpcenet.types import Encoded, Score

Protocol = Literal["paper", "blind"]
COPY = "copy"  # the row of the pasted mask, which every table carries


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
    done = 0
    with progress_bar(f"evaluate {protocol}", total, quiet=quiet) as bar:
        for support_name, queries in pairs:
            source = _encode(run, method, dataset.case(support_name), place)
            for query_name in queries:
                target = _encode(run, method, dataset.case(query_name), place)
                scores += _score_case(run, dataset, method, source, target, protocol, chunks)
                done += 1
                bar(done, query_name)
    _write(run, dataset, scores, protocol, support, chunks)
    return scores


def _encode(
    run: Run, method: Method, case: PreparedCase, device: torch.device
) -> tuple[PreparedCase, Encoded]:
    features = encode_slices(method, case.image, device, run.precision)
    return case, Encoded(features, case.spacing)


def _score_case(
    run: Run,
    dataset: PreparedDataset,
    method: Method,
    support: tuple[PreparedCase, Encoded],
    query: tuple[PreparedCase, Encoded],
    protocol: Protocol,
    chunks: int,
) -> list[Score]:
    """Segment every tested label of one query and score it, beside the pasted mask.

    The run's masks are kept for the report.
    """
    (source, source_slices), (target, target_slices) = support, query
    blind = protocol == "blind"
    matches = match_slices(method, source_slices, target_slices) if blind else None
    scores: list[Score] = []
    arrays: dict[str, npt.NDArray[Any]] = {}
    for value in run.flags.test_labels or tuple(dataset.labels):
        label, truth = dataset.labels[value], np.asarray(target.label == value)
        if matches is None:
            tasks = organ_tasks(source.label, target.label, value, chunks)
            if not tasks:
                continue  # nothing to score: the organ is missing from one of the two scans
        else:
            tasks = blind_tasks(matches, source.label, value)
        for name, judged in ((run.config.preset, method), (COPY, Copy(CopyOptions()))):
            mask = (
                segment_label(judged, source_slices, source.label, target_slices, value, tasks)
                > 0.5
            )
            scores.append(
                Score(
                    method=name,
                    case=target.name,
                    label=label,
                    support=source.name,
                    fold=-1 if run.flags.fold is None else run.flags.fold,
                    seed=run.flags.seed,
                    protocol=protocol,
                    **score_mask(mask, truth, target.spacing)._asdict(),
                )
            )
            if judged is method:
                arrays[f"mask {label}"] = mask
        arrays[f"support slice {label}"] = serving_slices(tasks, len(truth))
    path = run.folder / f"predictions-{protocol}" / f"{target.name}-by-{source.name}.npz"
    write_atomically(
        path, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **arrays)
    )
    return scores


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
