"""`peclip evaluate`: UAR and WAR of a model on a data set, with their confidence intervals."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peclip.cli import console
from peclip.cli.data import AnnotationsOpt
from peclip.cli.evaluation_table import show, tell
from peclip.cli.options import (
    CaptionsOpt,
    DeviceOpt,
    LabelsOpt,
    OutputOpt,
    OverwriteOpt,
    PrecisionOpt,
    PriorWeightOpt,
    ProgressOpt,
    ReportFormatOpt,
    check_output,
)
from peclip.cli.score import BootstrapOpt, PlotOpt, check_report_outputs, score
from peclip.config import READERS
from peclip.errors import ConfigError
from peclip.literals import FrameOrder, ViewAverage

if TYPE_CHECKING:
    from peclip.metrics.scoring import Evaluation


BATCH, WORKERS = 8, READERS


PredictionsOpt = Annotated[
    list[Path] | None,
    typer.Option(
        "--predictions",
        help="Alias of `peclip score FILE`, with the options of that command. Repeat it for folds.",
    ),
]
DatasetOpt = Annotated[
    str | None, typer.Option("--dataset", help="As `peclip data list` names it.")
]
RootOpt = Annotated[Path | None, typer.Option("--data-root", help="Folder of the data set.")]
FoldOpt = Annotated[
    str | None, typer.Option("--fold", help="A number, or `all` for the mean over folds.")
]
SplitOpt = Annotated[
    str | None, typer.Option("--split", help="By default the one that papers report.")
]
ModelOpt = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="As for predict, or the folder of a run; with --fold all, of a run with all folds.",
    ),
]
FramesOpt = Annotated[
    FrameOrder, typer.Option("--frames", help="Destroys time, to see what a model makes of it.")
]
ViewsOpt = Annotated[
    ViewAverage, typer.Option("--tta", help="flip: the mean over a video and its mirror image.")
]
SkipOpt = Annotated[
    bool, typer.Option("--skip-unreadable", help="Score the rest; they are counted.")
]
MissingOpt = Annotated[
    bool, typer.Option("--allow-missing", help="Leave out listed videos that are not there.")
]
SavePredictionsOpt = Annotated[
    Path | None,
    typer.Option(
        "--save-predictions",
        help="A .csv file for the prediction of every video; with --fold all NAME-fold-1.csv and so on.",
    ),
]
BatchOpt = Annotated[int, typer.Option("-b", "--batch-size", min=1)]
WorkersOpt = Annotated[
    int,
    typer.Option(
        "-j",
        "--workers",
        min=0,
        show_default=False,
        help="Processes that read videos; by default the cores, at most 4.",
    ),
]
ChangesOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.FIELD=VALUE",
        help="Any other field of the data, such as data.targets=votes or data.copies=drop_from_test.",
    ),
]
SeedOpt = Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap and of --frames.")]


def evaluate(
    context: typer.Context,
    predictions: PredictionsOpt = None,
    dataset: DatasetOpt = None,
    data_root: RootOpt = None,
    annotations: AnnotationsOpt = None,
    captions: CaptionsOpt = None,
    fold: FoldOpt = None,
    split: SplitOpt = None,
    model: ModelOpt = None,
    labels: LabelsOpt = None,
    frames: FramesOpt = "as-recorded",
    tta: ViewsOpt = "none",
    prior_weight: PriorWeightOpt = None,
    skip_unreadable: SkipOpt = False,
    allow_missing: MissingOpt = False,
    changes: ChangesOpt = None,
    save_predictions: SavePredictionsOpt = None,
    batch_size: BatchOpt = BATCH,
    workers: WorkersOpt = WORKERS,
    device: DeviceOpt = "auto",
    precision: PrecisionOpt = "auto",
    form: ReportFormatOpt = "table",
    output: OutputOpt = None,
    plot: PlotOpt = None,
    resamples: BootstrapOpt = 1000,
    seed: SeedOpt = 0,
    overwrite: OverwriteOpt = False,
    progress: ProgressOpt = True,
) -> None:
    """Score a model on a data set: UAR, WAR, and recall and F1 of every class.

    UAR is the mean recall of the classes that occur; WAR is the accuracy; the intervals are 95 %.
    With several folds, the mean and the sample standard deviation over them.

    peclip evaluate --dataset folder --data-root crops -m nano

    peclip evaluate --dataset dfew --data-root DFEW --fold all -m runs/dfew -o dfew.json
    """
    if predictions:
        _check_alias(context)
        score(
            predictions,
            labels=labels,
            form=form,
            output=output,
            plot=plot,
            resamples=resamples,
            seed=seed,
            overwrite=overwrite,
        )
        return
    check_report_outputs(output, plot, overwrite=overwrite)
    asked: dict[str, Any] = {"split": split, "labels": labels, "frames": frames, "tta": tta}
    asked["prior_weight"] = prior_weight
    counted: dict[str, Any] = {"seed": seed, "resamples": resamples, "batch_size": batch_size}
    counted |= asked | {"workers": workers, "skip_unreadable": skip_unreadable}
    data: dict[str, Any] = {"dataset": dataset, "root": data_root, "annotations": annotations}
    data |= {"allow_missing": allow_missing, "captions": captions}
    data = _changed(data, changes or [])
    computing: dict[str, Any] = {"device": device, "precision": precision}
    with console.progress_bar(enabled=progress) as bar:
        found = _evaluate(model, data, fold, counted, computing, (save_predictions, overwrite), bar)
    if found is not None:
        tell(found)
        show(found, form, output, plot)


def _check_alias(context: typer.Context) -> None:
    """Says what `--predictions` stands for.

    Raises:
        ConfigError: an option is given that `peclip score` does not have.
    """
    console.note("evaluate --predictions FILE is an alias of peclip score FILE")
    accepted = {*signature(score).parameters, "predictions"}
    for option in context.command.params:
        name = str(option.name)
        source = context.get_parameter_source(name)
        if name not in accepted and source is not None and source.name == "COMMANDLINE":
            raise ConfigError(
                f"--predictions scores a file, as peclip score FILE does, and {option.opts[-1]} was given too. "
                "Leave one of both out."
            )


def _changed(data: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Returns the fields of the data with what --set gives."""
    from peclip.runs.recipe import assignment, merged

    values: dict[str, Any] = {"data": data}
    for change in changes:
        given = assignment(change)
        if set(given) != {"data"} or not isinstance(given["data"], dict):
            raise ConfigError(
                f"evaluate takes --set data.FIELD=VALUE, such as data.targets=votes, and {change!r} was given."
            )
        values = merged(values, given)
    return dict(values["data"])


def _evaluate(
    model: str | None,
    data: dict[str, Any],
    fold: str | None,
    values: dict[str, Any],
    computing: dict[str, Any],
    saved: tuple[Path | None, bool],
    bar: Any,
) -> Evaluation | None:
    """Evaluates the model in all processes; returns the scores in the first of them."""
    from peclip.cli.evaluation_bar import listener
    from peclip.cli.predict import read_labels
    from peclip.cli.train import device_of
    from peclip.config import check
    from peclip.data import DataConfig, find_benchmark
    from peclip.metrics.prediction_file import prediction_paths
    from peclip.runs.dataset_evaluation import EvaluateOptions, evaluate_dataset
    from peclip.training.distributed import joined, world_of

    if data["dataset"] is None or data["root"] is None:
        raise ConfigError(
            "evaluate takes --dataset NAME with --data-root DIR and -m MODEL; for a file of predictions there is "
            "peclip score FILE."
        )
    if fold is not None and fold != "all" and not fold.isdecimal():
        raise ConfigError(f"--fold takes a number or all, and {fold!r} was given.")
    one = None if fold in (None, "all") else int(str(fold))
    config = check(DataConfig, data | {"fold": one})
    if values["labels"] is not None:
        values = values | {"labels": read_labels(values["labels"])}
    numbers = find_benchmark(config.dataset).fold_numbers() if fold == "all" else (one,)
    if saved[0] is not None:
        for path in prediction_paths(saved[0], numbers).values():
            check_output(path, overwrite=saved[1], endings=[".csv"])
    world = world_of()
    chosen = device_of(computing["device"], world)
    with joined(world, chosen):
        evaluation = evaluate_dataset(
            model or "nano",
            config,
            check(EvaluateOptions, values),
            all_folds=fold == "all",
            device=str(chosen),
            precision=computing["precision"],
            world=world,
            predictions_path=saved[0],
            on_batch=listener(bar) if world.is_main else None,
        )
    return evaluation if world.is_main else None
