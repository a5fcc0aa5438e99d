"""Commands about networks: train, evaluate, report, pretrain."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from dpcenet.cli.app import Device, InPrecision, Out, Progress, app
from dpcenet.cli.checks import (
    check_files,
    check_named,
    check_prepared,
    check_run,
    check_runs,
    stopped,
)
from dpcenet.errors import ConfigError
from dpcenet.system.progress import in_words, say
from dpcenet.system.words import counted

if TYPE_CHECKING:
    from dpcenet.data.store import PreparedDataset

Scheme = Annotated[
    Literal["disjoint", "lineage", "official"],
    typer.Option(help="How folds are made (docs/protocols.md)."),
]


@app.command("train")
def train_command(
    preset: Annotated[str, typer.Argument(help="Such as dpcenet/paper, or a YAML file.")],
    data: Annotated[Path, typer.Option(help="Data set made by `dpcenet prepare`.")],
    run: Annotated[Path, typer.Option(help="Folder of the run.")],
    fold: Annotated[
        int | None, typer.Option(help="Fold left out of the training; default: none.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 5,
    scheme: Scheme = "disjoint",
    setting: Annotated[
        int, typer.Option(min=1, max=2, help="2: training never shows the tested organs.")
    ] = 1,
    test_labels: Annotated[
        str, typer.Option(help="Labels to test, by name or value, with commas; default: all.")
    ] = "",
    group: Annotated[str, typer.Option(help="Labels to test, as a group: upper or lower.")] = "",
    exclusion: Annotated[
        Literal["any", "all"],
        typer.Option(help="Setting 2 removes slices that show any or all of them."),
    ] = "any",
    seed: Annotated[int, typer.Option(help="Seed of weights and episodes.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Steps, in place of the preset's.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Pretrained trunk (.safetensors, .pth).")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.key=value of the preset; repeat.")
    ] = None,
    device: Device = "auto",
    workers: Annotated[int, typer.Option(help="Processes that prepare episodes.")] = 0,
    resume: Annotated[bool, typer.Option(help="Continue from the checkpoint.")] = False,
    tensorboard: Annotated[bool, typer.Option(help="Also log for TensorBoard.")] = False,
    progress: Progress = "bar",
) -> None:
    """Train a method without labels, on episodes from pseudo-labels of the scans."""
    check_prepared("--data", data)
    check_named("preset", preset)
    check_files("--weights", [weights])
    from dpcenet.data.store import open_dataset
    from dpcenet.training.config import load_preset
    from dpcenet.training.run_folder import RunFlags
    from dpcenet.training.train import train

    changes = list(set_ or [])
    if steps is not None:
        changes.append(f"train.steps={steps}")
    if weights is not None:
        changes.append(f"options.encoder.weights={weights.resolve()}")
    flags = RunFlags(
        data=data,
        fold=fold,
        folds=folds,
        scheme=scheme,
        setting=cast("Literal[1, 2]", setting),
        test_labels=_tested(open_dataset(data), test_labels, group),
        exclusion=exclusion,
        seed=seed,
    )
    with stopped(f"add --resume to go on from the last checkpoint in {run}"):
        train(
            load_preset(preset, tuple(changes)),
            flags,
            run,
            device=device,
            workers=workers,
            resume=resume,
            tensorboard=tensorboard,
        )
    typer.echo(f"trained: {run}")


@app.command("evaluate")
def evaluate_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    protocol: Annotated[
        Literal["paper", "ep2", "blind"],
        typer.Option(
            help="paper: the organ's slices are known; ep2: one support slice for all; "
            "blind: nothing is known of the query."
        ),
    ] = "paper",
    support: Annotated[str, typer.Option(help="first, last, all, or an index.")] = "last",
    shots: Annotated[int, typer.Option(min=1, help="Labelled scans used together.")] = 1,
    chunks: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of support slices, of protocol paper; default: 3, or with --as-volume one "
            "for each slice.",
        ),
    ] = None,
    bounds: Annotated[
        Literal["number", "range"],
        typer.Option(help="Chunks of equal number (ADNet), or range (SSL-ALPNet)."),
    ] = "number",
    neighbours: Annotated[
        int | None,
        typer.Option(min=0, help="Support slices on either side; default: the method's."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Module taken out after training, such as DPCENet's sqca or dpce; repeat."
        ),
    ] = None,
    cut: Annotated[
        Literal["half", "checked"],
        typer.Option(help="Probability of a label: above a half, or the training's own choice."),
    ] = "half",
    registered: Annotated[
        bool,
        typer.Option("--register", help="Also score a 3-D registration of the scans (minutes)."),
    ] = False,
    as_volume: Annotated[
        bool,
        typer.Option(
            "--as-volume",
            help="Correct the result as one volume, as `segment` and protocol blind do.",
        ),
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Prepared data set, if it has moved.")] = None,
    device: Device = "auto",
    progress: Progress = "bar",
) -> None:
    """Score a run on the test cases of its fold: scores-*.csv, summary-*.json in its folder."""
    check_run("", run)
    check_prepared("--data", data)
    from dpcenet.evaluation.evaluate import evaluate
    from dpcenet.evaluation.protocols import EACH_SLICE, ProtocolOptions
    from dpcenet.evaluation.report.table_formats import as_text
    from dpcenet.evaluation.report.tables import tables_of
    from dpcenet.training.run_folder import open_run

    if chunks is None:
        chunks = EACH_SLICE if as_volume else 3
    options = ProtocolOptions(
        protocol,
        support,
        shots,
        chunks,
        bounds,
        neighbours,
        tuple(without or ()),
        cut,
        registered,
        as_volume,
    )
    with stopped("scores are written at the end: run the same command again"):
        evaluate(run, options, data=data, device=device)
    typer.echo(as_text(tables_of([open_run(run)])))


@app.command("report")
def report_command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or of benchmarks.")],
    out: Out,
    published: Annotated[
        bool,
        typer.Option("--published", help="Add the numbers that papers print for these methods."),
    ] = False,
) -> None:
    """Write tables (Markdown, CSV, LaTeX), figures, and one self-contained HTML page of them."""
    check_runs(runs)
    from dpcenet.evaluation.report.report import report
    from dpcenet.evaluation.report.sections import sections_of
    from dpcenet.evaluation.report.table_formats import as_text
    from dpcenet.evaluation.report.tables import tables_of

    page = report(runs, out, published)
    for section in sections_of(runs):
        typer.echo(as_text(tables_of(section.runs), published))
    typer.echo(str(page))


@app.command("pretrain")
def pretrain_command(
    run: Annotated[Path, typer.Option(help="Folder of the training; it continues there.")],
    config: Annotated[Path | None, typer.Option(help="YAML file; default: the built-in.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.key=value of the config; repeat.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this time.")] = None,
    device: Device = "auto",
) -> None:
    """Train the in-context network on synthetic images. Call it again to continue."""
    check_files("--config", [config])
    from dpcenet.system.allocation import keep_freed_memory
    from dpcenet.training.config import load_options
    from dpcenet.training.incontext_trainer import PretrainConfig
    from dpcenet.training.pretrain import pretrain
    from dpcenet.training.training_run import Pace

    keep_freed_memory()
    options = load_options(PretrainConfig, config, tuple(set_ or ()))
    with stopped(f"run the same command again to go on from the checkpoint in {run}"):
        steps = pretrain(options, run, Pace(minutes=minutes), device)
    typer.echo(f"{counted(steps, 'step')} done: {run / 'weights.safetensors'}")


@app.command("adapt")
def adapt_command(
    data: Annotated[
        Path, typer.Option(help="Data set made by `dpcenet prepare`; labels are not needed.")
    ],
    run: Annotated[Path, typer.Option(help="Folder for the adapted network.")],
    minutes: Annotated[
        float, typer.Option(min=1e-4, help="Time in all, checks and writing included.")
    ] = 20.0,
    start: Annotated[
        Path | None, typer.Option(help="Run to start from; default: the network of the package.")
    ] = None,
    support: Annotated[
        str | None, typer.Option(help="Labelled case for the checks; default: supervoxels.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(help="Fold left out of the training; default: none.")
    ] = None,
    scheme: Scheme = "disjoint",
    seed: Annotated[int, typer.Option(help="Seed of the pairs.")] = 0,
    device: Device = "auto",
    precision: InPrecision = "auto",
    progress: Progress = "bar",
) -> None:
    """Adapt the in-context network to your unlabelled scans; the best state is kept."""
    began = monotonic()  # loading torch counts
    check_prepared("--data", data)
    check_run("--start", start)
    say(f"adapt: loading the network and the scans; ends {in_words(60 * minutes)} from now")
    from dpcenet.system.allocation import keep_freed_memory
    from dpcenet.training.adapt import adapt, kept_state
    from dpcenet.training.checked_training import AdaptOptions
    from dpcenet.training.run_folder import RunFlags

    keep_freed_memory()
    flags = RunFlags(data=data, fold=fold, scheme=scheme, seed=seed)
    options = AdaptOptions(minutes=minutes, seed=seed)
    with stopped(f"the best state so far is in {run}, and segments as it is"):
        adapt(
            flags,
            run,
            options,
            start=start,
            support=support,
            device=device,
            precision=precision,
            began=began,
        )
    typer.echo(kept_state(run))


def _tested(dataset: PreparedDataset, labels: str, group: str) -> tuple[int, ...]:
    """Label values to test: one by one, or as a group."""
    if labels and group:
        raise ConfigError("give --test-labels or --group, not both")
    return dataset.group(group) if group else _label_values(dataset, labels)


def _label_values(dataset: PreparedDataset, text: str) -> tuple[int, ...]:
    """Label values from names or values, separated by commas."""
    by_name = {name: value for value, name in dataset.labels.items()}
    values = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        value = int(part) if part.isdecimal() else by_name.get(part)
        if value not in dataset.labels:
            raise ConfigError(f"--test-labels {part}: the data set has {dataset.labels}")
        values.append(value)
    return tuple(values)
