"""`dpcenet demo`: the whole way, on made volumes or on a folder of real pairs.

prepare → the network that comes with the package, and a small DPCENet trained here → evaluate →
segment → report
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dpcenet.data.datasets.folder import find_cases
from dpcenet.data.phantom.phantom import PHANTOM_LABELS, write_phantoms
from dpcenet.data.prepare import prepare
from dpcenet.errors import DatasetError
from dpcenet.evaluation.evaluate import evaluate
from dpcenet.evaluation.protocols import ProtocolOptions
from dpcenet.evaluation.report.report import report
from dpcenet.evaluation.report.table_formats import as_text
from dpcenet.evaluation.report.tables import tables_of
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.segment_folder import segment_folder
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.training.config import load_preset
from dpcenet.training.run_folder import RunFlags
from dpcenet.training.train import train

PRESETS = {"incontext/shipped": "incontext", "dpcenet/small": "dpcenet"}  # the first segments
CASES = 7


def demo(out: Path, data: Path | None = None, jobs: int = 2, steps: int | None = None) -> str:
    """Run the main job from scans to a report.

    Args:
        out: folder for everything that is made.
        data: folder of image_* and label_* pairs; made volumes (phantoms) by default.
        jobs: processes that prepare the scans.
        steps: of training, in place of the preset's.

    Returns:
        the table and the path of the report, as text.

    Raises:
        DatasetError: `data` holds too few labelled scans.
    """
    labels = None
    if data is None:
        data, labels = out / "scans", PHANTOM_LABELS
        if not data.is_dir():
            write_phantoms(data, CASES)
    cases = find_cases(data).cases
    if len(cases) < 4 or any(case.label is None for case in cases):
        raise DatasetError(f"{data}: the demo needs at least 4 scans, all with labels")
    dataset = prepare(data, out / "prepared", labels=labels, jobs=jobs)
    folds = 5 if len(cases) >= 15 else 3
    flags = RunFlags(dataset.folder, fold=0, folds=folds)
    runs = []
    for preset, name in PRESETS.items():
        config = load_preset(preset)
        if steps is not None and config.train.steps:  # the shipped network is not trained
            config = replace(config, train=replace(config.train, steps=steps))
        run = train(config, flags, out / "runs" / name, resume=True)
        evaluate(run.folder, ProtocolOptions("paper"))
        evaluate(run.folder, ProtocolOptions("blind"))
        runs.append(run)
    ((support_name, query_names),) = runs[0].make_fold(dataset).pairs("last")
    by_name = {case.name: case for case in cases}
    chosen = by_name[support_name]
    assert chosen.label is not None
    labelled = LabelledInput((Path(str(chosen.image)),), (chosen.label,))
    queries = [str(by_name[name].image) for name in query_names]
    outcomes = segment_folder(queries, labelled, SegmentOptions(out / "masks")).outcomes
    page = report([run.folder for run in runs], out)
    masks = "\n".join(f"  {o.mask or o.error}" for o in outcomes)
    tables = as_text(tables_of(runs))
    return f"{tables}\n\nmasks:\n{masks}\nreport: {page}\nFor research only; not a medical device."
