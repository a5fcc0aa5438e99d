"""The demo of training: prepare → train a DPCENet → score it beside others → a report."""

from __future__ import annotations

from pathlib import Path

from dpcenet.cli.demo_segment import Say, made_scans
from dpcenet.data.datasets.folder import find_cases
from dpcenet.data.phantom.phantom import PHANTOM_LABELS
from dpcenet.data.prepare import prepare
from dpcenet.errors import DatasetError
from dpcenet.evaluation.evaluate import evaluate
from dpcenet.evaluation.protocols import ProtocolOptions
from dpcenet.evaluation.report.report import report
from dpcenet.evaluation.report.table_formats import as_text
from dpcenet.evaluation.report.tables import tables_of
from dpcenet.system.progress import timed_step
from dpcenet.training.config import load_preset
from dpcenet.training.run_folder import RunFlags
from dpcenet.training.train import train

# Measured on two cores of an AMD EPYC, with the made-up scans.
_PREPARE_S, _TRAIN_S, _EVALUATE_S, _REPORT_S = 10.0, 20.0, 15.0, 5.0


def demo_train(out: Path, data: Path | None, jobs: int, steps: int, say: Say) -> Path:
    """Train on scans without looking at a label, and compare with the labels.

    Args:
        out: folder for everything that is made.
        data: folder of image_* and label_* pairs; made-up scans (phantoms) by default.
        jobs: processes that prepare the scans.
        steps: of training.
        say: is given each line for the person.

    Returns:
        the report.

    Raises:
        DatasetError: `data` holds too few labelled scans.
    """
    folder = made_scans(out / "scans") if data is None else data
    cases = find_cases(folder).cases
    if len(cases) < 4 or any(case.label is None for case in cases):
        raise DatasetError(f"{folder}: training needs at least 4 scans, all with labels")
    labels = PHANTOM_LABELS if data is None else None
    with timed_step(say, "1 of 4: prepare the scans", _PREPARE_S):
        dataset = prepare(folder, out / "prepared", labels=labels, jobs=jobs)
    flags = RunFlags(dataset.folder, fold=0, folds=5 if len(cases) >= 15 else 3)
    trained = (f"train.steps={steps}", "train.validation.every=0")  # few scans: none is held out
    configs = {
        "dpcenet": load_preset("dpcenet/own", trained),
        "incontext": load_preset("incontext/shipped"),  # comes trained
    }
    runs = []
    with timed_step(
        say, "2 of 4: train a DPCENet on the trunk that comes with the package", _TRAIN_S
    ):
        for name, config in configs.items():
            runs.append(train(config, flags, out / "runs" / name, resume=True))
    with timed_step(say, "3 of 4: score it, the shipped network and the pasted mask", _EVALUATE_S):
        for run in runs:
            evaluate(run.folder, ProtocolOptions("paper"))
            evaluate(run.folder, ProtocolOptions("blind"))
    with timed_step(say, "4 of 4: write the report", _REPORT_S):
        page = report([run.folder for run in runs], out)
    say(as_text(tables_of(runs)))
    say(f"report  {page}")
    return page
