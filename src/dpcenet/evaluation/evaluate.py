"""`dpcenet evaluate`: scores of a run, one row for each case and label.

Protocol "paper" (EP1 of the literature) is told which slices of the query show the organ; "ep2"
segments every slice with one support slice; "blind" segments every slice and finds the support
slice of each from the images alone. The last two are told nothing of the query's labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.data.splits import count_excluded
from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.evaluation.protocols import Bounds, Rules, Scans, serving_slices
from dpcenet.evaluation.scores import COPY, SAYS, Protocol, Score, summarise, write_scores
from dpcenet.inference.batched import encode_scan
from dpcenet.inference.encoded import Encoded
from dpcenet.inference.predictor import plain_serving, posed_serving, segment_labels
from dpcenet.methods.base import Method
from dpcenet.methods.copy import Copy
from dpcenet.methods.copy import Options as CopyOptions
from dpcenet.system.device import choose_device
from dpcenet.system.files import write_atomically, write_json
from dpcenet.system.progress import progress_bar
from dpcenet.training.feature_cache import KeptScans
from dpcenet.training.run_folder import Run, open_run
from dpcenet.volumes.metrics import score_mask


def evaluate(
    folder: Path,
    protocol: Protocol = "paper",
    *,
    support: str = "last",
    shots: int = 1,
    chunks: int = 3,
    bounds: Bounds = "number",
    neighbours: int | None = None,
    data: Path | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> list[Score]:
    """Score a run on the cases of its fold; writes scores, summary and predictions into it.

    Args:
        folder: of the run.
        protocol, support, shots, chunks, bounds, neighbours: see `Rules`.
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
    encode = _encoder(run, dataset, method, place)
    rules = Rules(protocol, support, shots, chunks, bounds, neighbours)
    sets = run.make_fold(dataset).support_sets(support, shots)
    total = sum(len(queries) for _, queries in sets)
    scores: list[Score] = []
    done = 0
    with progress_bar(f"evaluate {rules.tag}", total, quiet=quiet) as bar:
        for support_names, queries in sets:
            source = _scans(dataset, support_names, encode)
            for query_name in queries:
                target = _scans(dataset, [query_name], encode)
                scores += _score_case(run, dataset, method, source, target, rules)
                done += 1
                bar(done, query_name)
    _write(run, dataset, scores, rules, rules.reach(method))
    return scores


def _encoder(
    run: Run, dataset: PreparedDataset, method: Method, device: torch.device
) -> Callable[[PreparedCase], Encoded]:
    """How scans are encoded: where the training kept features of a frozen trunk, these are too."""
    if method.trunk_frozen and run.config.episodes.views:
        limit = run.config.train.bank_gb
        return KeptScans(dataset, method, run.precision, device, limit).encode
    return lambda case: encode_scan(method, case.image, case.spacing, device, run.precision)


def _scans(
    dataset: PreparedDataset, names: Sequence[str], encode: Callable[[PreparedCase], Encoded]
) -> Scans:
    cases = tuple(dataset.case(name) for name in names)
    return Scans(cases, Encoded.join([encode(case) for case in cases]))


def _score_case(
    run: Run,
    dataset: PreparedDataset,
    method: Method,
    support: Scans,
    query: Scans,
    rules: Rules,
) -> list[Score]:
    """Segment every tested label of one query and score it, beside the pasted mask.

    The run's masks are kept for the report.
    """
    (target,) = query.cases
    values = run.flags.test_labels or tuple(dataset.labels)
    plain = plain_serving(method, support, query, rules, values)
    posed = posed_serving(method, support, query, rules, plain, run.precision)
    scores: list[Score] = []
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, judged, served in (
        (run.config.preset, method, posed),
        (COPY, Copy(CopyOptions()), plain),
    ):
        found = segment_labels(
            judged, served.slices, served.label, query.slices, served.tasks, run.precision
        )
        for value, probability in found.items():
            if not served.tasks[value] and rules.protocol != "blind":
                continue  # nothing to score: the organ is missing from one of the two scans
            label, truth = dataset.labels[value], np.asarray(target.label == value)
            mask = probability > 0.5
            scores.append(
                Score(
                    method=name,
                    case=target.name,
                    label=label,
                    support=support.name,
                    fold=-1 if run.flags.fold is None else run.flags.fold,
                    seed=run.flags.seed,
                    protocol=rules.tag,
                    **score_mask(mask, truth, target.spacing)._asdict(),
                )
            )
            if judged is method:
                arrays[f"mask {label}"] = mask
                tasks = served.tasks[value]
                arrays[f"support slice {label}"] = serving_slices(tasks, len(truth))
    path = run.folder / f"predictions-{rules.tag}" / f"{target.name}-by-{support.name}.npz"
    write_atomically(
        path, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **arrays)
    )
    return scores


def _write(
    run: Run, dataset: PreparedDataset, scores: Sequence[Score], rules: Rules, neighbours: int
) -> None:
    """scores-<protocol>.csv and summary-<protocol>.json."""
    write_scores(run.folder / f"scores-{rules.tag}.csv", scores)
    fold = run.make_fold(dataset)
    seen = {name for score in scores for name in score.support.split("+")} & set(fold.train)
    summary = {
        "protocol": rules.protocol,
        "says": SAYS[rules.protocol],
        "support": rules.support,
        "shots": rules.shots,
        "supports_trained_on": sorted(seen),
        "chunks": rules.chunks if rules.protocol == "paper" else None,
        "neighbours": neighbours,
        "bounds": rules.bounds if rules.protocol == "paper" else None,
        "dataset": dataset.origin.name,
        "scheme": run.flags.scheme,
        "setting": run.flags.setting,
        "exclusion": _exclusion(run, dataset, fold.train),
        "data_hash": dataset.hash,
        "methods": {
            name: summarise([score for score in scores if score.method == name])
            for name in dict.fromkeys(score.method for score in scores)
        },
    }
    write_json(run.folder / f"summary-{rules.tag}.json", summary)


def _exclusion(run: Run, dataset: PreparedDataset, train: Sequence[str]) -> dict[str, Any] | None:
    """What Setting 2 removed from the training, by its rule and by the other; None in Setting 1."""
    if run.flags.setting == 1:
        return None
    labels = (dataset.case(name).label for name in train)
    counted = count_excluded(labels, run.flags.test_labels)
    return {
        "rule": run.flags.exclusion,
        "labels": [dataset.labels[value] for value in run.flags.test_labels],
        "training_slices": counted.slices,
        "removed_by_any": counted.any_removed,
        "removed_by_all": counted.all_removed,
    }
