"""`peclip compare`: several models on one data set, zero-shot and after the same short training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.field_options import Fields, flag_of, from_fields
from peclip.cli.interruption import resumable
from peclip.cli.options import (
    DeviceOpt,
    FoldOpt,
    OutputOpt,
    OverwriteOpt,
    ProgressOpt,
    ReportFormat,
    ReportFormatOpt,
    check_output,
    print_report,
)
from peclip.cli.train import configure
from peclip.cli.training_options import (
    FaceCropOpt,
    SetOpt,
    TextsOpt,
    model_changes,
    refuse_with_resume,
)
from peclip.config import check
from peclip.data.config import DataConfig
from peclip.errors import SOME_FAILED, ConfigError
from peclip.literals import ShortTraining
from peclip.runs.evaluate_options import EvaluateOptions
from peclip.text.display import printable
from peclip.training.config import TrainConfig

if TYPE_CHECKING:
    from peclip.runs.comparison_config import ComparisonConfig
    from peclip.runs.comparison_report import ComparisonReport

ENDINGS = (".md", ".csv", ".json")

_DATA = ("dataset", "root", "annotations", "limit")
_TRAIN = ("epochs", "batch_size", "seed", "workers", "precision")
_SHORT = {"train": {"epochs": 5, "warmup_epochs": 1.0}}
"""Without a recipe, a training is short."""

ModelsOpt = Annotated[
    str | None,
    typer.Option(
        "--backbones",
        metavar="A,B,C",
        help="Comma-separated models, as for -m of `peclip train`: BACKBONE/WEIGHTS, a directory, a run folder, "
        "or a hub repository. The others are compared with the first.",
    ),
]
TrainingOpt = Annotated[
    ShortTraining,
    typer.Option(
        "--train",
        help="What is trained besides the zero-shot evaluation: none, a linear classifier of frozen features, "
        "adapters (PE-CLIP's, or those that the name of a model selects), or lora.",
    ),
]


@from_fields
def compare(
    context: typer.Context,
    *,
    backbones: ModelsOpt = None,
    data: Annotated[dict[str, Any], Fields(DataConfig, *_DATA, changes=True)],
    fold: FoldOpt = None,
    train: TrainingOpt = "linear",
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe with the data and the training, as for `peclip train`."),
    ] = None,
    changes: SetOpt = None,
    training: Annotated[dict[str, Any], Fields(TrainConfig, *_TRAIN, changes=True)],
    texts: TextsOpt = None,
    face_crop: FaceCropOpt = None,
    statistics: Annotated[dict[str, Any], Fields(EvaluateOptions, "resamples")],
    device: DeviceOpt = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the comparison; by default, a new one in ./runs."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            help="Continue the comparison in this folder with its original settings; finished models are not "
            "repeated. --backbones may name more models, and --overwrite replaces the file of -o.",
        ),
    ] = None,
    output: OutputOpt = None,
    form: ReportFormatOpt = "table",
    overwrite: OverwriteOpt = False,
    progress: ProgressOpt = True,
) -> None:
    """Compare models on one data set: UAR, WAR, parameters and time, zero-shot and after a short training.

    All models have the same videos, training and seed. Epochs and penalties are selected on validation videos, and
    scores are those of the test videos. A model that fails is reported, and the others are still compared.

    peclip compare --backbones ViT-B-32-quickgelu/openai,ViT-B-16-quickgelu/openai --dataset folder --data-root crops

    peclip compare --backbones debug,lora:debug --train adapters --dataset folder --data-root crops -o table.md
    """
    check_output(output, overwrite=overwrite, endings=ENDINGS)
    models = None if backbones is None else [name.strip() for name in backbones.split(",")]
    if resume is not None:
        begun: dict[str, object] = {
            "--out": out,
            "--recipe": recipe,
            "--fold": fold,
            "--labels": texts,
            "--set": changes,
        }
        begun["--no-face-crop"] = face_crop is not None
        begun |= {
            "--train": _is_given(context, "train"),
            "--bootstrap": _is_given(context, "resamples"),
        }
        refuse_with_resume(
            "comparison", begun | {flag_of(name): True for name in (*data, *training)}
        )
        config = _resumed(resume, models)
    else:
        if not models:
            raise ConfigError("--backbones is required, such as --backbones debug,nano.")
        flags = {"data": data, "train": training, "model": model_changes(texts, face_crop)}
        config = _config(models, train, recipe, flags, fold, changes or [], statistics)
    folder = resume or out or _free_folder(config)
    report = _compare(
        config, folder, device, resuming=resume is not None, overwrite=overwrite, progress=progress
    )
    _show(report, form, output)
    if report.failures:
        raise typer.Exit(SOME_FAILED if report.rows else report.failures[0].exit_code)


def _config(
    models: list[str],
    training: ShortTraining,
    recipe: str | None,
    flags: dict[str, Any],
    fold: str | None,
    changes: list[str],
    statistics: Mapping[str, Any],
) -> ComparisonConfig:
    from peclip.runs.comparison_config import ComparisonConfig
    from peclip.runs.recipe import merged

    if recipe is None:
        flags = merged(_SHORT, flags)
    run = configure(recipe, flags, fold, changes)
    values = {"models": models, "training": training, "run": run.model_dump(), **statistics}
    return check(ComparisonConfig, values)


def _resumed(folder: Path, models: list[str] | None) -> ComparisonConfig:
    from peclip.runs.comparison import read_comparison
    from peclip.runs.comparison_config import ComparisonConfig

    values = read_comparison(folder)
    return check(ComparisonConfig, values if models is None else values | {"models": models})


def _is_given(context: typer.Context, name: str) -> bool:
    """Returns whether an option with a default was given."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _free_folder(config: ComparisonConfig) -> Path:
    from peclip.runs.run_files import free_path

    return free_path(Path("runs"), f"compare-{config.run.data.dataset}")


def _compare(
    config: ComparisonConfig,
    folder: Path,
    device: str,
    *,
    resuming: bool,
    overwrite: bool,
    progress: bool,
) -> ComparisonReport:
    from peclip.cli import evaluation_bar, training_bar
    from peclip.runs.comparison import COMPARISON, compare_models
    from peclip.runs.contender_measurement import ComparisonContext
    from peclip.runs.run_files import command_line
    from peclip.runtime import choose_device

    console.note(f"folder of the comparison: {folder}")
    with console.progress_bar(enabled=progress) as bar:
        context = ComparisonContext(
            folder,
            choose_device(device),
            command=command_line(),
            overwrite=overwrite,
            resume=resuming,
            listen=training_bar.listener(bar),
            on_batch=evaluation_bar.listener(bar),
        )
        with resumable("compare", folder, COMPARISON):
            return compare_models(config, context)


def _show(report: ComparisonReport, form: ReportFormat, output: Path | None) -> None:
    """Prints the table, and writes the file in any case."""
    to_stdout = str(output) == "-"
    try:
        print_report("json" if to_stdout else form, report.to_dict(), lambda: _print_table(report))
    finally:
        if output is not None and not to_stdout:
            report.save(output)


def _print_table(report: ComparisonReport) -> None:
    from peclip.runs.comparison_report import HEADING

    console.print_table(HEADING, [row.cells() for row in report.rows])
    for failure in report.failures:
        base, training = failure.contender
        typer.echo(printable(f"{base} ({training}) failed: {failure.reason}"))
    for said in report.verdicts:
        typer.echo(printable(said))
    for note in report.notes:
        console.note(note)
