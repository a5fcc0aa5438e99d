"""The pages whose commands are run: what each takes for granted, and what must come out.

A command is run as it stands. Where it would take minutes, it gets more options at its end; each
of them is one that the pages name. What cannot be run here stands in `NOT_RUN`, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from docs_folder import (
    Maker,
    chaos_as_downloaded,
    checkout,
    cine,
    image,
    labels,
    prepared,
    results,
    sabs_as_downloaded,
    scans,
    series,
    trunk,
)

NOT_RUN = {
    r"^pip install ('dpcenet|\./integ)": "goes online; integrations/napari has its own tests",
    r"^(python3 -m venv|env/bin/)": "goes online; tests/test_release.py runs them (slow)",
    r"^docker ": "there is no Docker daemon; tests/test_release.py lints the recipe",
    r"^dpcenet download ": "goes online; tests/nn/test_weights.py downloads from its own server",
    r"^pytest ": "is part of these tests",
    r"RadiomicsFeatureExtractor": "pyradiomics is no dependency, not even of the tests",
    r"ENTRY = Entry": "a part of a package; tests/plugin_example is the whole of it",
}
"""Pattern of a command, or of a block in Python → why it is not run."""

NEEDS = {"monai.bundle": "monai", "export onnx": "onnxscript", "import onnxruntime": "onnxruntime"}
"""Pattern of a command, or of a block in Python → the package without which it is left out."""

SHORTER = {
    ("dpcenet", "train"): "--steps 2",
    ("dpcenet", "adapt"): "--minutes 0.001",
    ("segment", "--learn"): "--learn 0.01",
    ("dpcenet", "pretrain"): "--set steps=2 --set batch=2 --set validation_batches=1",
    ("dpcenet", "benchmark"): "--steps 1 --folds 0 --seeds 0 --workers 1 --set registered=false",
    ("prepare", "CHAOS"): "--size 64",
    ("prepare", "SABS"): "--size 64",
    ("prepare", "ACDC"): "--size 64",
    ("incontext.py", "train"): "--steps 1",
    ("learning.py", "--pairs"): "--minutes 0.01",
}
"""Words of a command → options that are put at its end."""


def shorter(line: str) -> str:
    """The options that make a command short; empty where it is short already."""
    words = [word.rpartition("/")[2] for word in line.split()]
    found = [more for named, more in SHORTER.items() if set(named) <= set(words)]
    return " ".join(found)


@dataclass(frozen=True)
class Page:
    """A page with commands.

    Attributes:
        needs: path in the person's folder → what makes it.
        makes: files and folders that are there in the end.
        given: names that its Python takes for granted.
        slow: pattern of the commands, and blocks in Python, that only the slow tests run.
    """

    needs: Mapping[str, Maker] = field(default_factory=dict)
    makes: Sequence[str] = ()
    given: Mapping[str, object] = field(default_factory=dict)
    slow: str = r"^$"


EVERYTHING = "."
TABLES = {
    "chaos": prepared(14),
    "sabs": prepared(10),
    "acdc": prepared(12),
    "resnet50.safetensors": trunk,
}
PAGES = {
    "README.md": Page(
        {"demo/scans": scans(2), "my/scans": scans(2)},
        ["demo/project/masks/review.html", "demo-scans/project/masks/review.html"],
    ),
    "docs/adapt.md": Page({"scans": scans(2)}, ["masks/image_02_seg.nii.gz", "adapted/adapt.json"]),
    "docs/app.md": Page({"scans": scans(2)}),
    "docs/benchmark.md": Page(TABLES, ["tables/report/report.html"], slow=EVERYTHING),
    "docs/commands.md": Page(
        {"CHAOS": scans(7), "scans": scans(3), "masks": results, "experiments": checkout},
        ["nnUNet_raw/Dataset501_dpcenet/dataset.json"], slow="experiments/fast.py"
    ),
    "docs/datasets.md": Page(
        {"CHAOS": chaos_as_downloaded}, ["chaos/manifest.json"], slow=EVERYTHING
    ),
    "docs/dicom.md": Page(
        {"EXPORT": series, "liver.nii.gz": labels(1, (1,))}, ["masks/patient2/T2/T2_seg.dcm"]
    ),
    "docs/export.md": Page(
        {"scan.nii.gz": image(2), "labelled.nii.gz": image(1), "labels.nii.gz": labels(1, (1,))},
        ["mask.nii.gz"],
        {
            "labelled_slices": np.random.default_rng(0).random((1, 1, 256, 256), np.float32),
            "query_slices": np.random.default_rng(1).random((2, 1, 256, 256), np.float32),
            "masks": np.ones((1, 256, 256), np.float32),
        },
        "onnx",
    ),
    "docs/for-clinical-engineers.md": Page(
        {"scans": scans(3)}, ["masks/review.html", "masks-task/image_02_seg.nii.gz"]
    ),
    "docs/for-researchers.md": Page(
        {"scans": scans(6)}, ["report/report.html", "masks-dpcenet/image_02_seg.nii.gz"]
    ),
    "docs/formats.md": Page({"scans": scans(2), "scan.nii.gz": cine}),
    "docs/install.md": Page(),
    "docs/integrations.md": Page(
        {
            "scans": scans(2),
            "label_01.nii.gz": labels(1),
            "integrations": checkout,
        },
        slow="client.py",  # tests/app/test_rest_client.py runs it each time
    ),
    "docs/log.md": Page({**TABLES, "experiments": checkout}, slow=EVERYTHING),
    "docs/methods/incontext.md": Page(
        {
            "prepared": prepared(4),
            "scans": scans(2),
            "a.nii.gz": image(3),
            "a_label.nii.gz": labels(3),
            "experiments": checkout,
        },
        ["own/card.md", "masks/image_01_seg.nii.gz", "long/weights.safetensors"],
    ),
    "docs/plugins.md": Page(),
    "docs/quality.md": Page(
        {"chaos": prepared(14), "sabs": prepared(6, split=True), "acdc": prepared(6),
         "src": checkout, "experiments": checkout},
        ["quality/quality.json", "quality/quality.md"],
        slow=EVERYTHING,
    ),
    "docs/reproduces.md": Page(TABLES, ["own/runs"], slow=EVERYTHING),
    "docs/results.md": Page(
        {"CHAOS": scans(14), "ACDC": scans(7, (1, 2, 3)), "resnet50.safetensors": trunk,
         "sabs": prepared(6, split=True), "ct": prepared(10, split=True),
         "experiments": checkout},
        ["shipped-chaos/report.html", "adapted/summary-paper.json", "episodes/report/report.html"],
        slow=EVERYTHING,
    ),
    "docs/segment.md": Page(
        {
            "scans": scans(2),
            "image_01.nii.gz": image(1),
            "label_01.nii.gz": labels(1),
            "scan.nii.gz": image(1),
            "drawn.nii.gz": labels(1, every=3),
            "liver.nii.gz": labels(1, (1,), every=3),
            "spleen.nii.gz": labels(1, (4,), every=3),
            "a.nii.gz": image(2),
            "a_label.nii.gz": labels(2),
            "b.nii.gz": image(3),
            "b_label.nii.gz": labels(3),
        },
        ["masks/learn.json", "full.nii.gz", "full.seg.nrrd", "liver.task"],
    ),
    "docs/statistics.md": Page(),
    "docs/tables.md": Page(
        {**TABLES, "ct": prepared(10), "experiments": checkout},
        ["scores/own/runs", "report/tables.md", "report-ct/tables.md", "report-acdc/tables.md"],
        slow=EVERYTHING,
    ),
    "docs/tutorials/add-a-data-set.md": Page(
        {"demo/scans": scans(2)}, ["prepared/inspect/index.html"]
    ),
    "docs/tutorials/add-a-method.md": Page(
        {"demo/scans": scans(4)}, ["runs/panet/summary-paper.json"]
    ),
    "docs/tutorials/first-segmentation.md": Page(
        {"demo/scans": scans(2)}, ["masks/review.html", "demo/project/masks/review.html"]
    ),
    "docs/tutorials/reproduce-a-table.md": Page(
        {
            "CHAOS": chaos_as_downloaded,
            "SABS": sabs_as_downloaded,
            "weights/resnet50-0676ba61.pth": trunk,
        },
        ["small/report/report.html"],
        slow="CHAOS|SABS|chaos|tables",
    ),
}  # fmt: skip
