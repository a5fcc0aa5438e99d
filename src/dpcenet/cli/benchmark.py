"""The command `dpcenet benchmark`: a plan of many runs."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import Address, Device, OnEngine, Out, Progress, app
from dpcenet.cli.checks import check_files, check_named, stopped
from dpcenet.errors import RunError
from dpcenet.system.words import counted


@app.command("benchmark")
def benchmark_command(
    plan: Annotated[
        str, typer.Argument(help="table1 … table4, own, episodes, smoke, or a YAML file.")
    ],
    out: Out,
    data: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of a prepared data set; repeat.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Pretrained trunk (.safetensors, .pth): FILE, or TRUNK=FILE; repeat."),
    ] = None,
    equal: Annotated[
        bool,
        typer.Option(
            "--equal/--own-trunks", help="One frozen trunk for all, or each its own as published."
        ),
    ] = True,
    steps: Annotated[
        int | None, typer.Option(help="Training steps, in place of the plan's.")
    ] = None,
    folds: Annotated[str, typer.Option(help="Such as 0 or 0,1; default: the plan's.")] = "",
    seeds: Annotated[str, typer.Option(help="Such as 0 or 0,1,2; default: the plan's.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the plan; repeat.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time on this machine.")] = 1,
    engine: OnEngine = "local",
    address: Address = None,
    cpus: Annotated[float, typer.Option(help="Cores per run on the cluster.")] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs per run on the cluster.")] = 0,
    any_code: Annotated[
        bool, typer.Option(help="Keep finished runs of another version of the code.")
    ] = False,
    device: Device = "auto",
    progress: Progress = "bar",
) -> None:
    """Train and evaluate every run of a plan. Call it again to continue."""
    check_named("plan", plan)
    given = weights or []
    check_files("--weights", [Path(w if Path(w).exists() else w.split("=", 1)[-1]) for w in given])
    from dpcenet.evaluation.benchmark.code_version import code_version
    from dpcenet.evaluation.benchmark.experiments import PlanInputs, experiments
    from dpcenet.evaluation.benchmark.phantom_data import PHANTOM, write_phantom_data
    from dpcenet.evaluation.benchmark.plan import load_plan, parse_folders, parse_weights
    from dpcenet.evaluation.benchmark.run_experiment import ExecutionContext
    from dpcenet.evaluation.benchmark.run_plan import PlanCommand, benchmark_precision, run_all
    from dpcenet.system.parallel import Engine, in_processes, in_turn, on_ray

    changes = [*(set_ or [])]
    changes += [f"steps={steps}"] if steps is not None else []
    changes += [f"{key}=[{value}]" for key, value in (("folds", folds), ("seeds", seeds)) if value]
    chosen = load_plan(plan, tuple(changes))
    folders = parse_folders(tuple(data or ()), chosen)
    if chosen.made:
        folders = {**folders, PHANTOM: write_phantom_data(out, chosen.made, workers)}
    trunks = parse_weights(tuple(given))
    inputs = PlanInputs(folders, trunks, equal, benchmark_precision(out, device))
    found = experiments(chosen, inputs)
    threads = 0
    run: Engine = in_turn
    if engine == "ray":
        run, threads = on_ray(address, cpus, gpus), max(1, int(cpus))
    elif workers > 1:
        run, threads = in_processes(workers), max(1, (os.cpu_count() or 1) // workers)
    with stopped("run the same command again: complete runs are kept, others go on"):
        summary = run_all(
            PlanCommand(Path(plan).stem, chosen.title, f"dpcenet {shlex.join(sys.argv[1:])}"),
            found,
            ExecutionContext(out.resolve(), device, threads, code_version()),
            run,
            any_code=any_code,
            say=typer.echo,
        )
    complete = counted(summary.done, "complete run")
    typer.echo(f"{complete}, {summary.skipped} of them from before: {out}")
    if summary.failed:
        lines = "\n".join(f"  {run}: {error}" for run, error in summary.failed.items())
        failed = counted(len(summary.failed), "run")
        raise RunError(f"{failed} failed; the others are complete:\n{lines}")
