"""`peclip evaluate`: UAR and WAR of a model on a data set, with their confidence intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.evaluation_table import show, tell
from peclip.cli.field_options import Fields, from_fields
from peclip.cli.logging_options import LOGGING_OPTIONS
from peclip.cli.options import (
    DeviceOpt,
    FoldOpt,
    LabelsOpt,
    OutputOpt,
    OverwriteOpt,
    PrecisionOpt,
    ProgressOpt,
    ReportFormatOpt,
    check_output,
    read_fold,
    read_labels,
)
from peclip.cli.score import PlotOpt, TargetsOpt, check_report_outputs, score
from peclip.config import check
from peclip.data.config import DataConfig
from peclip.errors import ConfigError
from peclip.labels import LabelSet, effective_prior_weight
from peclip.literals import Precision
from peclip.runs.evaluate_options import EvaluateOptions

if TYPE_CHECKING:
    from rich.progress import Progress

    from peclip.data import Split
    from peclip.metrics.scoring import Evaluation

PredictionsOpt = Annotated[
    list[Path] | None,
    typer.Option(
        "--predictions",
        help="Score this prediction file: an alias for `peclip score FILE`, with the same "
        "options. Can be repeated, once per fold.",
    ),
]
ModelOpt = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="Model (as for `peclip predict`) or run folder. If it is the folder of a run over "
        "all folds, --fold all evaluates each fold with its own model.",
    ),
]
SavePredictionsOpt = Annotated[
    Path | None,
    typer.Option(
        "--save-predictions",
        help="Write the prediction for each video to this .csv file; with --fold all, write one "
        "file per fold (NAME-fold-1.csv, NAME-fold-2.csv, ...).",
    ),
]
ChangesOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.FIELD=VALUE",
        help="Set any other field of the data configuration, such as data.targets=votes or "
        "data.copies=drop_from_test.",
    ),
]
_DATA = ("dataset", "root", "annotations", "captions", "allow_missing")


@from_fields
def evaluate(
    *,
    context: typer.Context,
    predictions: PredictionsOpt = None,
    targets: TargetsOpt = None,
    data: Annotated[dict[str, Any], Fields(DataConfig, *_DATA, changes=True)],
    fold: FoldOpt = None,
    model: ModelOpt = None,
    labels: LabelsOpt = None,
    options: Annotated[dict[str, Any], Fields(EvaluateOptions, without=("labels",))],
    changes: ChangesOpt = None,
    save_predictions: SavePredictionsOpt = None,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    form: ReportFormatOpt = "table",
    output: OutputOpt = None,
    plot: PlotOpt = None,
    overwrite: OverwriteOpt = False,
    progress: ProgressOpt = True,
) -> None:
    """Evaluate a model on a data set: UAR, WAR, and the recall and F1 of every class.

    UAR is the mean of the per-class recalls (excluding classes without videos), and WAR is the accuracy.
    Confidence intervals are at the 95 % level. With several folds, the mean and sample standard deviation
    over the folds are also reported.

    peclip evaluate --dataset folder --data-root crops -m nano

    peclip evaluate --dataset dfew --data-root DFEW --fold all -m runs/dfew -o dfew.json
    """
    if predictions:
        _check_alias(context)
        score(
            predictions=predictions,
            targets=targets,
            labels=labels,
            resamples=options["resamples"],
            seed=options["seed"],
            form=form,
            output=output,
            plot=plot,
            overwrite=overwrite,
        )
        return
    data = data if changes is None else _changed(data, changes)
    if targets is not None or not {"dataset", "root"} <= data.keys():
        raise ConfigError(
            "evaluate requires --dataset NAME and --data-root DIR. To score a prediction file "
            "instead, use peclip score FILE."
        )
    model = model or "nano"
    _check_computation(model, device, precision)
    check_report_outputs(output, plot, overwrite=overwrite)
    number, all_folds = read_fold(fold)
    config = check(DataConfig, data | {"fold": number})
    own = {} if labels is None else {"labels": read_labels(labels)}
    checked = check(EvaluateOptions, options | own)
    if save_predictions is not None:
        _check_predictions(save_predictions, config, all_folds=all_folds, overwrite=overwrite)
    splits = _checked_splits(model, config, checked, all_folds=all_folds)
    with console.progress_bar(enabled=progress) as bar:
        computing = device, precision
        found = _evaluate(model, config, checked, splits, computing, save_predictions, bar)
    if found is not None:
        tell(found)
        show(found, form, output, plot)


def _check_alias(context: typer.Context) -> None:
    """Says what `--predictions` stands for.

    Raises:
        ConfigError: an option is given that `peclip score` does not have.
    """
    console.note("evaluate --predictions FILE is an alias for peclip score FILE")
    accepted = {*signature(score).parameters, "predictions", "config", *LOGGING_OPTIONS}
    for option in context.command.params:
        name = str(option.name)
        source = context.get_parameter_source(name)
        given = source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")
        if name not in accepted and given:
            raise ConfigError(
                "--predictions is an alias for peclip score FILE and cannot be combined with "
                f"{option.opts[-1]}. Remove one of them."
            )


def _changed(data: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Returns the fields of the data with what --set gives."""
    from peclip.runs.recipe import assignment, merged

    values: dict[str, Any] = {"data": data}
    for change in changes:
        given = assignment(change)
        if set(given) != {"data"} or not isinstance(given["data"], dict):
            raise ConfigError(
                "evaluate only accepts --set data.FIELD=VALUE, such as data.targets=votes; got "
                f"{change!r}."
            )
        values = merged(values, given)
    return dict(values["data"])


def _check_predictions(path: Path, data: DataConfig, *, all_folds: bool, overwrite: bool) -> None:
    """Checks that the predictions of every fold can be written."""
    from peclip.data import find_benchmark
    from peclip.metrics.prediction_file import prediction_paths

    numbers = find_benchmark(data.dataset).fold_numbers() if all_folds else (data.fold,)
    for output in prediction_paths(path, numbers).values():
        check_output(output, overwrite=overwrite, endings=[".csv"])


def _check_computation(model: str, device: str, precision: Precision) -> None:
    """Checks the model, unless it is a folder, and the device before anything else is imported.

    Raises:
        UserError: the model is unknown, or this machine does not have the device.
    """
    from peclip.recognizers.early_checks import check_computation, check_model

    check_computation(device, precision)
    if not os.path.isdir(model):  # the folder of a run may have a model for every fold
        check_model(model)


def _checked_splits(
    model: str, data: DataConfig, options: EvaluateOptions, *, all_folds: bool
) -> dict[int | None, Split]:
    """Reads the splits, and checks the model of every fold before torch is imported.

    Raises:
        UserError: videos are missing, a model is unknown, or its labels or the prior weight do not fit.
    """
    from peclip.recognizers.early_checks import check_model
    from peclip.runs.splits import known_samples, read_fold_splits
    from peclip.weights.folder import model_of

    splits = read_fold_splits(data, options.split, all_folds=all_folds)
    for fold, split in splits.items():
        config = check_model(model_of(model, fold))
        if config is not None:
            effective_prior_weight(config, options.prior_weight)
            known_samples(split, LabelSet.of(options.labels or config.labels))
    return splits


def _evaluate(
    model: str,
    data: DataConfig,
    options: EvaluateOptions,
    splits: Mapping[int | None, Split],
    computing: tuple[str, Precision],
    predictions_path: Path | None,
    bar: Progress,
) -> Evaluation | None:
    """Evaluates the model in all processes; returns the scores in the first of them."""
    from peclip.cli.evaluation_bar import listener
    from peclip.cli.train import device_of
    from peclip.runs.dataset_evaluation import evaluate_dataset
    from peclip.training.distributed import joined, world_of

    world = world_of()
    device = device_of(computing[0], world)
    with joined(world, device):
        evaluation = evaluate_dataset(
            model,
            data,
            options,
            splits=splits,
            device=str(device),
            precision=computing[1],
            world=world,
            predictions_path=predictions_path,
            on_batch=listener(bar) if world.is_main else None,
        )
    return evaluation if world.is_main else None
