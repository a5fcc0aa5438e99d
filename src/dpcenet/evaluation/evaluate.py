"""`dpcenet evaluate`: scores of a run, one row for each case and label.

Protocol "paper" (EP1 of the literature) is told which slices of the query show the organ; "ep2"
segments every slice with one support slice; "blind" segments every slice and finds the support
slice of each from the images alone. The last two are told nothing of the query's labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.data.splits import count_excluded
from dpcenet.data.store import PreparedCase, PreparedDataset, open_dataset
from dpcenet.evaluation.protocols import Bounds, ProtocolOptions, SameSlices
from dpcenet.evaluation.scores import COPY, SAYS, Protocol, Score, summarise, write_scores
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.predictor import Predictor, Request, Segmented
from dpcenet.inference.support import LabelledScan
from dpcenet.methods.copy import Copy
from dpcenet.methods.copy import Options as CopyOptions
from dpcenet.system.device import choose_device
from dpcenet.system.files import write_atomically, write_json
from dpcenet.system.progress import progress_bar
from dpcenet.training.feature_cache import KeptScans
from dpcenet.training.run_folder import Run, open_run
from dpcenet.volumes.metrics import Mask, score_mask


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
        protocol, support, shots, chunks, bounds, neighbours: see `ProtocolOptions`.
        data: the prepared data set, if it has moved since the training.
        device: "auto", "cpu", "cuda", …
        quiet: no progress bar.

    Raises:
        RunError, DatasetError, ConfigError: the message says what to do.
    """
    run = open_run(folder)
    dataset = open_dataset(data or run.flags.data)
    place = choose_device(device)
    options = ProtocolOptions(protocol, support, shots, chunks, bounds, neighbours)
    predictor = Predictor(run.load_method(place), run.precision, place, neighbours)
    scan_of = _reader(run, dataset, predictor)
    sets = run.make_fold(dataset).support_sets(support, shots)
    total = sum(len(queries) for _, queries in sets)
    scores: list[Score] = []
    done = 0
    with progress_bar(f"evaluate {options.tag}", total, quiet=quiet) as bar:
        for support_names, queries in sets:
            labelled = [scan_of(name) for name in support_names]
            for query_name in queries:
                query = scan_of(query_name)
                scores += _score_query(run, dataset, predictor, labelled, query, options)
                done += 1
                bar(done, query_name)
    reach = predictor.method.neighbours if neighbours is None else neighbours
    _write(run, dataset, scores, options, reach)
    return scores


def _reader(
    run: Run, dataset: PreparedDataset, predictor: Predictor
) -> Callable[[str], LabelledScan]:
    """Reads and encodes a case by its name.

    Where the training kept features of a frozen trunk, these are used too.
    """

    def encode(case: PreparedCase) -> EncodedScan:
        return predictor.encode(case.image, case.spacing)

    method = predictor.method
    if method.trunk_frozen and run.config.episodes.views:
        limit = run.config.train.bank_gb
        encode = KeptScans(dataset, method, run.precision, predictor.device, limit).encode

    def scan_of(name: str) -> LabelledScan:
        case = dataset.case(name)
        return LabelledScan(name, encode(case), case.label)

    return scan_of


def _score_query(
    run: Run,
    dataset: PreparedDataset,
    predictor: Predictor,
    support: Sequence[LabelledScan],
    query: LabelledScan,
    options: ProtocolOptions,
) -> list[Score]:
    """Segment every tested label of one query and score it, beside the pasted mask.

    The run's masks are kept for the report.
    """
    values = run.flags.test_labels or tuple(dataset.labels)
    plan = options.plan(query.label)
    found = predictor.segment(support, query.slices, plan, values)
    plain = plan.slices(Request(predictor.method, support, query.slices, values), support)
    pasted = Predictor(Copy(CopyOptions())).segment(
        support, query.slices, SameSlices(plain), values
    )
    scores = []
    for name, segmented in ((run.config.preset, found), (COPY, pasted)):
        for value, mask in _scored(segmented, options).items():
            truth = np.asarray(query.label == value)
            scores.append(
                Score(
                    method=name,
                    case=query.name,
                    label=dataset.labels[value],
                    support="+".join(scan.name for scan in support),
                    fold=-1 if run.flags.fold is None else run.flags.fold,
                    seed=run.flags.seed,
                    protocol=options.tag,
                    **score_mask(mask, truth, query.slices.spacing)._asdict(),
                )
            )
    _save(run, dataset, options, support, query, found)
    return scores


def _scored(segmented: Segmented, options: ProtocolOptions) -> dict[int, Mask]:
    """The masks that count: told where the organ is, a label that one scan lacks has no score."""
    tasks = segmented.slices.tasks
    return {
        value: mask
        for value, mask in segmented.masks.items()
        if tasks[value] or options.protocol == "blind"
    }


def _save(
    run: Run,
    dataset: PreparedDataset,
    options: ProtocolOptions,
    support: Sequence[LabelledScan],
    query: LabelledScan,
    found: Segmented,
) -> None:
    """The masks of a query, and which support slice served each of its slices."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    starts = [0, *accumulate(len(scan.slices) for scan in support)]
    for value, mask in _scored(found, options).items():
        served = np.full(len(mask), -1, dtype=np.int16)
        for task in found.slices.tasks[value]:
            first = task.support[0]
            served[list(task.query)] = starts[first.scan] + first.z
        arrays[f"mask {dataset.labels[value]}"] = mask
        arrays[f"support slice {dataset.labels[value]}"] = served
    names = "+".join(scan.name for scan in support)
    path = run.folder / f"predictions-{options.tag}" / f"{query.name}-by-{names}.npz"
    write_atomically(
        path, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **arrays)
    )


def _write(
    run: Run,
    dataset: PreparedDataset,
    scores: Sequence[Score],
    options: ProtocolOptions,
    neighbours: int,
) -> None:
    """scores-<protocol>.csv and summary-<protocol>.json."""
    write_scores(run.folder / f"scores-{options.tag}.csv", scores)
    fold = run.make_fold(dataset)
    seen = {name for score in scores for name in score.support.split("+")} & set(fold.train)
    summary = {
        "protocol": options.protocol,
        "says": SAYS[options.protocol],
        "support": options.support,
        "shots": options.shots,
        "supports_trained_on": sorted(seen),
        "chunks": options.chunks if options.protocol == "paper" else None,
        "neighbours": neighbours,
        "bounds": options.bounds if options.protocol == "paper" else None,
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
    write_json(run.folder / f"summary-{options.tag}.json", summary)


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
