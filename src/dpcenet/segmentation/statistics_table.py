"""OUT/statistics.csv and OUT/statistics.json: what was measured of each label of each scan.

They are written with and without the check; without it the predicted Dice is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dpcenet.errors import InputError
from dpcenet.inference.support import Support
from dpcenet.segmentation.outputs import statistics_of
from dpcenet.segmentation.queries import Query
from dpcenet.segmentation.review.quality import Quality
from dpcenet.segmentation.review.reviewed_case import read_cases
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.system.files import write_json, write_text
from dpcenet.system.tables import table_text
from dpcenet.volumes.adapters import open_mask
from dpcenet.volumes.label_names import name_for
from dpcenet.volumes.statistics import COLUMNS, LabelStatistics

FORMAT = "dpcenet statistics 1"
PREDICTED = ("predicted dice", "low", "high", "flag")
HEADINGS = ("case", "label", "value", "made by", *COLUMNS, *PREDICTED, "mask")


def write_statistics(
    options: SegmentOptions, queries: Sequence[Query], outcomes: Sequence[Outcome], support: Support
) -> None:
    """Write both files, with a row for each label of each mask.

    Args:
        options: of the call; the files lie in its folder.
        queries: of the call.
        outcomes: of the queries that were reached.
        support: its names of labels are used.
    """
    if any(outcome.final for outcome in outcomes):
        return  # nothing more can be written
    reviewed = {row.case: row.labels for row in read_cases(options.out)} if options.check else {}
    by_name = {query.name: query for query in queries}
    cases = []
    for outcome in outcomes:
        if outcome.mask is None:
            continue
        case = outcome.query.as_posix()
        judged = {} if outcome.corrected else reviewed.get(case, {})
        labels = _measured(by_name[outcome.query], outcome, support)
        rows = [
            {
                "label": name_for(support.names, value),
                "value": value,
                **labels[str(value)],
                **_predicted(judged.get(str(support.names.get(value, value)))),
            }
            for value in support.values
            if str(value) in labels
        ]
        made_by = "a person" if outcome.corrected else "dpcenet"
        mask = outcome.mask.relative_to(options.out).as_posix()
        cases.append({"case": case, "mask": mask, "made by": made_by, "labels": rows})
    about = {"format": FORMAT, "use": "Research use only, not a medical device."}
    write_json(options.out / "statistics.json", {**about, "cases": cases})
    write_text(options.out / "statistics.csv", _table(cases))


def _measured(query: Query, outcome: Outcome, support: Support) -> dict[str, Any]:
    """Statistics of each label; those of a mask that a person changed are measured now.

    Nothing where its files can no longer be read: the call has said so where it matters.
    """
    known: dict[str, Any] = outcome.facts.get("labels", {})
    if known and all("mean" in each or each["voxels"] == 0 for each in known.values()):
        return known
    assert outcome.mask is not None
    try:
        scan = query.read()
        return statistics_of(scan.volume, open_mask(outcome.mask, scan), support.values)
    except (InputError, OSError):
        return {}


def _predicted(quality: Quality | None) -> dict[str, Any]:
    """What the review expects of a mask."""
    if quality is None:
        return {}
    numbers = (round(each, 3) for each in (quality.dice, quality.low, quality.high))
    return dict(zip(PREDICTED, (*numbers, quality.flag), strict=True))


def _table(cases: Sequence[dict[str, Any]]) -> str:
    """statistics.csv."""
    rows = []
    for case in cases:
        for row in case["labels"]:
            measured = (
                LabelStatistics.from_json(row).cells()
                if row["voxels"]
                else {"volume ml": 0.0, "voxels": 0}
            )
            told = {"case": case["case"], "made by": case["made by"], "mask": case["mask"]}
            label = {key: row[key] for key in ("label", "value", *PREDICTED) if key in row}
            rows.append({**told, **label, **measured})
    return table_text(HEADINGS, rows)
