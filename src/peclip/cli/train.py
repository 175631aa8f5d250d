"""`peclip train`: a model for a benchmark, or for videos of one's own."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.data import AnnotationsOpt
from peclip.cli.options import (
    CaptionsOpt,
    DeviceOpt,
    ProgressOpt,
    ReportFormat,
    ReportFormatOpt,
)
from peclip.errors import ConfigError
from peclip.literals import Precision, Selection

if TYPE_CHECKING:
    from peclip.runs.recipe import RunConfig
    from peclip.training.distributed import World

_RUNS = Path("runs")


def train(
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="As `peclip data list` names it.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", help="Folder of the data set.")
    ] = None,
    annotations: AnnotationsOpt = None,
    captions: CaptionsOpt = None,
    fold: Annotated[
        str | None, typer.Option("--fold", help="A number, or `all` for the mean over folds.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            help="The model to start from; by default what the recipe says, or "
            "ViT-B-16-quickgelu/openai.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="pe-clip-dfew, -ferv39k, -afew, -mafw, finecliper-dfew, -ferv39k, -mafw, or a .yaml file."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any field, e.g. train.lr.adapters=1e-4; repeat it.",
        ),
    ] = None,
    select_on: Annotated[
        Selection | None,
        typer.Option(
            "--select-on",
            help="Videos that choose the epoch: val by default; last chooses none; test, which the "
            "report then says.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="train.epochs")] = None,
    batch_size: Annotated[
        int | None, typer.Option("-b", "--batch-size", min=1, help="train.batch_size")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="train.seed")] = None,
    workers: Annotated[
        int | None, typer.Option("-j", "--workers", min=0, help="train.workers")
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="train.precision")] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(
            help="tensorboard, wandb, mlflow or trackio; several with commas between them; or none."
        ),
    ] = None,
    device: DeviceOpt = "auto",
    name: Annotated[
        str | None, typer.Option(help="Of the run folder in ./runs; by default the data set's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder itself.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, as it was begun.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    form: ReportFormatOpt = "table",
    progress: ProgressOpt = True,
) -> None:
    """Train a model, and report UAR and WAR.

    The run folder holds the model, the predictions and all that is needed to resume or repeat it. The
    epoch is chosen on validation videos. With several GPUs: torchrun --nproc-per-node N -m peclip train …

    peclip train --recipe pe-clip-dfew --data-root DFEW --fold all

    peclip train --dataset folder --data-root crops -m nano --epochs 10
    """
    flags = {
        "base": model,
        "data": {
            "dataset": dataset,
            "root": data_root,
            "annotations": annotations,
            "captions": captions,
        },
        "train": {
            "select_on": select_on,
            "epochs": epochs,
            "batch_size": batch_size,
            "seed": seed,
            "workers": workers,
            "precision": precision,
        },
        "report_to": _names(report_to),
    }
    if resume is None:
        config = _configure(recipe, flags, fold, changes or [])
    else:
        begun = {"--name": name, "--out": out, "--fold": fold, "--recipe": recipe, "-m": model}
        _refuse(begun | {"--dataset": dataset, "--data-root": data_root, "--overwrite": overwrite})
        config = _configure(str(_config_of(resume)), flags, None, changes or [])
    folder = resume or _folder(config, name, out, overwrite=overwrite)
    report = _run(config, folder, device, resume is not None, overwrite, progress)
    if report is not None:
        _print(report, folder, form)


def _configure(
    recipe: str | None, flags: dict[str, Any], fold: str | None, changes: list[str]
) -> RunConfig:
    """Puts together recipe, flags and --set, each of which comes before the one before it."""
    from peclip.runs.recipe import assignment, merged, read_recipe, run_config

    values: dict[str, Any] = {} if recipe is None else read_recipe(recipe)
    values = merged(values, _given(flags))
    if fold is not None and fold != "all" and not fold.isdecimal():
        raise ConfigError(f"--fold takes a number or all, and {fold!r} was given.")
    if fold is not None:
        chosen = {"fold": None} if fold == "all" else {"fold": int(fold)}
        values = merged(values, {"data": chosen, "all_folds": fold == "all"})
    for change in changes:
        values = merged(values, assignment(change))
    return run_config(values)


def _names(lists: list[str] | None) -> list[str] | None:
    if lists is None:
        return None
    names = [name.strip() for part in lists for name in part.split(",")]
    return [] if names == ["none"] else names


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    nested = {k: _given(v) if isinstance(v, dict) else v for k, v in flags.items()}
    return {key: value for key, value in nested.items() if value not in (None, {})}


def _refuse(flags: dict[str, Any]) -> None:
    given = [flag for flag, value in flags.items() if value]
    if given:
        raise ConfigError(
            f"--resume goes on with a run as it was begun, and {', '.join(given)} was given too. Leave it "
            "out, or begin a new run without --resume."
        )


def _config_of(folder: Path) -> Path:
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"There is no config.yaml in {str(folder)!r}; give the folder of a run.")
    return folder / "config.yaml"


def _folder(config: RunConfig, name: str | None, out: Path | None, *, overwrite: bool) -> Path:
    from peclip.runs.run_folder import free_path

    if name is not None and out is not None:
        raise ConfigError("--name and --out were both given; the run folder has one place.")
    if name is not None and (Path(name).name != name or name in (".", "..")):
        raise ConfigError(f"--name takes a name and no path, and {name!r} was given. Use --out.")
    if out is not None or name is not None:
        return out or _RUNS / str(name)
    plain = config.data.dataset
    return _RUNS / plain if overwrite else free_path(_RUNS, plain)


def _run(
    config: RunConfig, folder: Path, device: str, resume: bool, overwrite: bool, progress: bool
) -> dict[str, Any] | None:
    """Runs in the processes that there are; returns the report in the first of them."""
    from peclip.cli.training_bar import listener
    from peclip.runs.all_folds import run
    from peclip.runs.one_fold import Place
    from peclip.runs.run_folder import command_line
    from peclip.training.distributed import joined, world_of

    world = world_of()
    chosen = device_of(device, world)
    with joined(world, chosen), console.progress_bar(enabled=progress and world.is_main) as bar:
        place = Place(folder, chosen, world, command_line(), overwrite, resume)
        if world.is_main:
            console.note(f"run folder: {folder}")
        with _terminable(folder):
            report = run(config, place, listener(bar))
    return report if world.is_main else None


def device_of(name: str, world: World) -> Any:
    """Returns the device of this process: on a machine with several GPUs each has its own."""
    from peclip.runtime import choose_device

    device = choose_device(name)
    if world.size > 1 and device.type == "cuda" and device.index is None:
        return choose_device(f"cuda:{world.local_rank}")
    return device


@contextmanager
def _terminable(folder: Path) -> Iterator[None]:
    """Lets SIGTERM end the block as Ctrl-C does: files, trackers and the bar are closed."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if (folder / "config.yaml").is_file():
            resume = shlex.join(["peclip", "train", "--resume", str(folder)])
            console.note(f"interrupted; go on with: {resume}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(report: dict[str, Any], folder: Path, form: ReportFormat) -> None:
    if form == "json":
        typer.echo(json.dumps(report | {"run_folder": str(folder)}, indent=2))
        return
    rows = []
    for part in report.get("folds", [report]):
        scores = [f"{part[key]:.2f}" if key in part else "-" for key in ("uar", "war")]
        rows.append([part.get("reported_on", "-"), str(part["selected_epoch"]), *scores])
    if "folds" in report and "uar" in report:
        for key, title in (("", "mean"), ("_sd", "standard deviation")):
            values = [report[f"{score}{key}"] for score in ("uar", "war")]
            rows.append([title, "", *("-" if v is None else f"{v:.2f}" for v in values)])
    console.print_table(["videos", "epoch", "UAR", "WAR"], rows)
    for note in report.get("notes", ()):
        console.note(note)
    if "warning" in report:
        console.note(f"warning: {report['warning']}")
    console.note(f"run folder: {folder}")
