"""Evaluation: scores that can be recomputed, and a blind protocol that is blind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dpcenet.data.store import open_dataset
from dpcenet.errors import RunError
from dpcenet.evaluation.evaluate import evaluate
from dpcenet.evaluation.protocols import ProtocolOptions
from dpcenet.evaluation.report.report import report
from dpcenet.evaluation.report.run_labels import row_names
from dpcenet.evaluation.report.table_formats import as_markdown
from dpcenet.evaluation.report.tables import table_of, tables_of
from dpcenet.evaluation.scores import read_scores
from dpcenet.training.run_folder import Run, RunFlags
from dpcenet.training.train import train
from made import LABELS, tiny_config, write_prepared
from reports import text_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    flags = RunFlags(data, fold=1, folds=3)
    return train(tiny_config(4), flags, folder, device="cpu", quiet=True)


def test_scores_are_those_of_the_kept_masks(run: Run, data: Path) -> None:
    evaluate(run.folder, ProtocolOptions("paper"), quiet=True)
    dataset = open_dataset(data)
    fold = run.make_fold(dataset)
    ((support, queries),) = fold.pairs("last")
    rows = read_scores(run.folder / "scores-paper.csv")
    assert {row.case for row in rows} == set(queries)
    assert {row.method for row in rows} == {"tiny", "copy"}
    values = {name: value for value, name in LABELS.items()}
    for row in rows:
        truth = np.asarray(dataset.case(row.case).label == values[row.label])
        if row.method == "copy":
            continue
        with np.load(run.folder / f"predictions-paper/{row.case}-by-{support}.npz") as arrays:
            mask = arrays[f"mask {row.label}"]
        assert not mask[~truth.any(axis=(1, 2))].any()  # only organ slices are segmented
        expected = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
        assert row.dice == pytest.approx(expected)
    summary = json.loads((run.folder / "summary-paper.json").read_text())
    for label in LABELS.values():
        dices = [r.dice for r in rows if r.method == "tiny" and r.label == label]
        assert summary["methods"]["tiny"][label]["dice"] == pytest.approx(np.mean(dices))


def test_copy_pastes_the_chunks_support_slices(run: Run, data: Path) -> None:
    """The pasted mask by hand: three chunks of six organ slices, supports at 1, 3 and 5."""
    evaluate(run.folder, ProtocolOptions("paper"), quiet=True)
    dataset = open_dataset(data)
    ((support, queries),) = run.make_fold(dataset).pairs("last")
    source, target = dataset.case(support).label == 1, dataset.case(queries[0]).label == 1
    theirs, ours = (np.flatnonzero(m.any(axis=(1, 2))) for m in (source, target))
    pasted = np.zeros_like(target)
    for support_at, query_at in ((1, (0, 1)), (3, (2, 3)), (5, (4, 5))):
        pasted[ours[list(query_at)]] = source[theirs[support_at]]
    expected = 2 * (pasted & target).sum() / (pasted.sum() + target.sum())
    rows = read_scores(run.folder / "scores-paper.csv")
    (row,) = (r for r in rows if (r.method, r.case, r.label) == ("copy", queries[0], "liver"))
    assert row.dice == pytest.approx(expected)


def test_the_blind_protocol_never_looks_at_the_querys_labels(
    run: Run, data: Path, tmp_path: Path
) -> None:
    evaluate(run.folder, ProtocolOptions("blind"), quiet=True)
    dataset = open_dataset(data)
    ((support, queries),) = run.make_fold(dataset).pairs("last")
    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    for query in queries:
        path = moved / "cases" / query / "label.npy"
        np.save(path, np.roll(np.load(path), 3, axis=0))
    again = tmp_path / "again"
    shutil.copytree(run.folder, again)
    evaluate(again, ProtocolOptions("blind"), data=moved, quiet=True)
    for query in queries:
        name = f"predictions-blind/{query}-by-{support}.npz"
        with np.load(run.folder / name) as one, np.load(again / name) as two:
            assert all(np.array_equal(one[key], two[key]) for key in one.files)


def test_every_support_can_be_asked_for(data: Path, tmp_path: Path) -> None:
    flags = RunFlags(data, fold=0, folds=3, scheme="lineage")
    lineage = train(tiny_config(2), flags, tmp_path / "run", device="cpu", quiet=True)
    scores = evaluate(lineage.folder, ProtocolOptions("paper", support="all"), quiet=True)
    pairs = {(score.support, score.case) for score in scores}
    assert len(pairs) == 3 * 2


def test_a_run_on_every_case_has_none_left_to_evaluate(data: Path, tmp_path: Path) -> None:
    whole = train(tiny_config(2), RunFlags(data), tmp_path / "run", device="cpu", quiet=True)
    with pytest.raises(RunError, match="--fold"):
        evaluate(whole.folder, quiet=True)


def test_the_report_prints_what_the_scores_say(run: Run, tmp_path: Path) -> None:
    evaluate(run.folder, ProtocolOptions("paper"), quiet=True)
    page = report([run.folder], tmp_path).read_text()
    rows = read_scores(run.folder / "scores-paper.csv")
    for method in ("tiny", "copy"):
        for label in LABELS.values():
            dices = [100 * r.dice for r in rows if (r.method, r.label) == (method, label)]
            assert f"{np.mean(dices):.1f} ± {np.std(dices, ddof=1):.1f}" in text_of(page)
    assert "not a medical device" in page
    assert page.count("data:image/png;base64,") >= 2 * 3
    assert "http://" not in page and "https://" not in page  # self-contained
    assert table_of("", rows).rows[0].cases == len({r.case for r in rows})


def test_folds_of_one_config_make_one_row(run: Run, data: Path, tmp_path: Path) -> None:
    other = train(
        tiny_config(4),
        RunFlags(data, fold=0, folds=3),
        tmp_path / "other",
        device="cpu",
        quiet=True,
    )
    rows = []
    for one in (run, other):
        rows += evaluate(one.folder, ProtocolOptions("ep2"), quiet=True)
    tables = tables_of([run, other])
    (table,) = (t for t in tables if t.rules[0].key == "rules.ep2")
    assert [row.name for row in table.rows] == ["tiny", "copy"]
    liver = [100 * r.dice for r in rows if (r.method, r.label) == ("tiny", "liver")]
    assert table.rows[0].cells[0].mean == pytest.approx(np.mean(liver))
    assert f"{np.mean(liver):.1f} ± {np.std(liver, ddof=1):.1f}" in as_markdown(tables)
    longer = train(
        tiny_config(5),
        RunFlags(data, fold=0, folds=3),
        tmp_path / "longer",
        device="cpu",
        quiet=True,
    )
    assert row_names([run, longer]) == ["tiny (run)", "tiny (longer)"]
