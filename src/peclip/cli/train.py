"""`peclip train`: trains a model on a benchmark or on your own videos."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.field_options import Fields, from_fields
from peclip.cli.interruption import resumable
from peclip.cli.options import (
    DeviceOpt,
    FoldOpt,
    ProgressOpt,
    ReportFormat,
    ReportFormatOpt,
    print_report,
    read_fold,
)
from peclip.cli.training_options import (
    FaceCropOpt,
    SetOpt,
    TextsOpt,
    model_changes,
    refuse_with_resume,
)
from peclip.data.config import DataConfig
from peclip.errors import ConfigError
from peclip.training.config import TrainConfig

if TYPE_CHECKING:
    from peclip.runs.recipe import RunConfig
    from peclip.runs.run_report import RunReport
    from peclip.training.distributed import World

_RUNS = Path("runs")


_DATA = ("dataset", "root", "annotations", "captions")
_TRAIN = ("select_on", "epochs", "batch_size", "seed", "workers", "precision")


@from_fields
def train(
    *,
    data: Annotated[dict[str, Any], Fields(DataConfig, *_DATA, changes=True)],
    fold: FoldOpt = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            help="Initial model; by default, the one set in the recipe, otherwise "
            "ViT-B-16-quickgelu/openai.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe: pe-clip-{dfew,ferv39k,afew,mafw}, finecliper-{dfew,ferv39k,mafw}, "
            "pe-clip-l14-lora-{dfew,ferv39k,mafw,cremad,ravdess,stills-dfew}, or a .yaml file."
        ),
    ] = None,
    changes: SetOpt = None,
    training: Annotated[dict[str, Any], Fields(TrainConfig, *_TRAIN, changes=True)],
    texts: TextsOpt = None,
    face_crop: FaceCropOpt = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(
            help="Comma-separated experiment trackers: tensorboard, wandb, mlflow and trackio; "
            "or none."
        ),
    ] = None,
    device: DeviceOpt = "auto",
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run folder in ./runs; by default, the name of the data set."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Path of the run folder (instead of --name).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Resume the run in this folder with its original settings.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run folder if it exists.")
    ] = False,
    form: ReportFormatOpt = "table",
    progress: ProgressOpt = True,
) -> None:
    """Train a model and report its UAR and WAR.

    The run folder contains the model, the predictions and everything needed to resume or repeat the run.
    The best epoch is selected on validation videos. To train on several GPUs:

    torchrun --nproc-per-node N -m peclip train …

    peclip train --recipe pe-clip-dfew --data-root DFEW --fold all

    peclip train --dataset folder --data-root crops -m nano --epochs 10
    """
    flags = {"base": model, "data": data, "train": training, "report_to": _names(report_to)}
    if resume is None:
        flags["model"] = model_changes(texts, face_crop)
        config = configure(recipe, flags, fold, changes or [])
    else:
        begun: dict[str, Any] = {"--name": name, "--out": out, "--fold": fold, "--recipe": recipe}
        begun |= {"-m": model, "--labels": texts, "--no-face-crop": face_crop is not None}
        begun |= {"--dataset": data.get("dataset"), "--data-root": data.get("root")}
        refuse_with_resume("run", begun | {"--overwrite": overwrite})
        config = configure(str(_config_of(resume)), flags, None, changes or [])
    folder = resume or _folder(config, name, out, overwrite=overwrite)
    from peclip.runs.early_checks import check_run

    check_run(config, folder, device, resume=resume is not None, overwrite=overwrite)
    report = _run(config, folder, device, resume is not None, overwrite, progress)
    if report is not None:
        _print(report, folder, form)


def configure(
    recipe: str | None, flags: dict[str, Any], fold: str | None, changes: list[str]
) -> RunConfig:
    """Merges recipe, flags and --set; later ones override earlier ones."""
    from peclip.runs.recipe import assignment, changed, check_reach, merged, read_recipe, run_config

    values: dict[str, Any] = {} if recipe is None else read_recipe(recipe)
    given = {key: value for key, value in flags.items() if value not in (None, {})}
    values = merged(values, given)
    number, all_folds = read_fold(fold)
    if fold is not None:
        values = merged(values, {"data": {"fold": number}, "all_folds": all_folds})
    for change in changes:
        values, given = changed(values, change), merged(given, assignment(change))
    config = run_config(values)
    check_reach(config, {key: value for key, value in given.items() if key != "stages"})
    return config


def _names(lists: list[str] | None) -> list[str] | None:
    if lists is None:
        return None
    names = [name.strip() for part in lists for name in part.split(",")]
    return [] if names == ["none"] else names


def _config_of(folder: Path) -> Path:
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"No config.yaml found in {str(folder)!r}; pass the folder of a run.")
    return folder / "config.yaml"


def _folder(config: RunConfig, name: str | None, out: Path | None, *, overwrite: bool) -> Path:
    from peclip.runs.run_files import free_path

    if name is not None and out is not None:
        raise ConfigError("--name and --out both set the run folder; use only one of them.")
    if name is not None and (Path(name).name != name or name in (".", "..")):
        raise ConfigError(
            f"Invalid --name {name!r}: use a name without folders, or pass a path with --out."
        )
    if out is not None or name is not None:
        return out or _RUNS / str(name)
    plain = config.data.dataset
    return _RUNS / plain if overwrite else free_path(_RUNS, plain)


def _run(
    config: RunConfig, folder: Path, device: str, resume: bool, overwrite: bool, progress: bool
) -> RunReport | None:
    """Runs in every process of the group; returns the report in the main process."""
    from peclip.cli.training_bar import listener
    from peclip.runs.one_fold import RunContext
    from peclip.runs.run_files import command_line
    from peclip.runs.stages import run
    from peclip.training.distributed import joined, world_of

    world = world_of()
    chosen = device_of(device, world)
    with joined(world, chosen), console.progress_bar(enabled=progress and world.is_main) as bar:
        place = RunContext(folder, chosen, world, command_line(), overwrite, resume)
        if world.is_main:
            console.note(f"run folder: {folder}")
        with resumable("train", folder, "config.yaml"):
            report = run(config, place, listener(bar))
    return report if world.is_main else None


def device_of(name: str, world: World) -> Any:
    """Returns the device of this process: one GPU per process on a machine with several."""
    from peclip.runtime import choose_device

    device = choose_device(name)
    if world.size > 1 and device.type == "cuda" and device.index is None:
        return choose_device(f"cuda:{world.local_rank}")
    return device


def _print(report: RunReport, folder: Path, form: ReportFormat) -> None:
    document = report.to_dict() | {"run_folder": str(folder)}
    print_report(form, document, lambda: _print_table(report, folder))


def _print_stages(report: RunReport) -> None:
    from peclip.cli.evaluation_table import percent_text

    heading = ["stage", "data set", "epochs", "minutes", "UAR", "WAR"]
    rows = []
    for stage in (one.to_dict() for one in report.stages):
        scores = [stage.get(key) for key in ("uar", "war")]
        cells = [percent_text(None if value is None else value / 100).strip() for value in scores]
        known = [stage["name"], stage["dataset"], str(stage["epochs"]), f"{stage['minutes']:.1f}"]
        rows.append([*known, *cells])
    console.print_table(heading, rows)


def _print_table(report: RunReport, folder: Path) -> None:
    from peclip.cli.evaluation_table import percent_text
    from peclip.metrics.report import interval_text

    if report.stages:
        _print_stages(report)
    rows = []
    for part in report.folds:
        cells = [part.reported_on or "-", str(part.selected_epoch)]
        if (scores := part.scores) is None:
            rows.append([*cells, "-", "-", "", "-", ""])
            continue
        cells.append(str(scores.num_videos))
        for value, interval in ((scores.uar, scores.uar_ci), (scores.war, scores.war_ci)):
            cells += [percent_text(value).strip(), interval_text(interval)]
        rows.append(cells)
    if (mean := report.mean) is not None:
        for name, uar, war in (
            ("mean", mean.uar, mean.war),
            ("standard deviation", mean.uar_sd, mean.war_sd),
        ):
            rows.append(
                [name, "", "", percent_text(uar).strip(), "", percent_text(war).strip(), ""]
            )
    heading = ["videos", "epoch", "n", "UAR", "95 % interval", "WAR", "95 % interval"]
    console.print_table(heading, rows)
    for part in report.folds:
        if part.scores is not None and part.scores.caution is not None:
            console.note(part.scores.caution)
    for note in report.folds[0].notes if len(report.folds) == 1 else ():
        console.note(note)
    if report.warning is not None:
        console.note(f"warning: {report.warning}")
    if len(report.folds) == 1:
        use = shlex.join(["peclip", "predict", "clip.mp4", "-m", str(folder)])
        console.note(f"to use the model: {use}")
