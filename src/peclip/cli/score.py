"""`peclip score`: UAR and WAR of files of predictions, with their confidence intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from peclip.cli.evaluation_table import show
from peclip.cli.field_options import Fields, from_fields
from peclip.cli.options import (
    LabelsOpt,
    OutputOpt,
    OverwriteOpt,
    ReportFormatOpt,
    check_output,
    read_labels,
)
from peclip.config import check
from peclip.runs.evaluate_options import EvaluateOptions

PredictionsArg = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        help="Prediction file: a .csv or .jsonl file with one row per video and the columns "
        "source, target and label (and prob_<label>, for the calibration error), or the "
        "output of `peclip predict -o`. Each file is treated as one fold.",
        show_default=False,
    ),
]
TargetsOpt = Annotated[
    Path | None,
    typer.Option(
        "--targets",
        help="A .csv file with the columns source and target, for prediction files without a "
        "target column.",
    ),
]
PlotOpt = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        help="Plot the confusion matrix to this .png, .pdf or .svg file (requires the `plot` extra).",
    ),
]
StatisticsGroup = Annotated[dict[str, Any], Fields(EvaluateOptions, "resamples", "seed")]


@from_fields
def score(
    *,
    predictions: PredictionsArg,
    targets: TargetsOpt = None,
    labels: LabelsOpt = None,
    form: ReportFormatOpt = "table",
    output: OutputOpt = None,
    plot: PlotOpt = None,
    statistics: StatisticsGroup,
    overwrite: OverwriteOpt = False,
) -> None:
    """Score prediction files: UAR, WAR, and the recall and F1 of every class.

    UAR is the mean of the per-class recalls (excluding classes without videos), and WAR is the accuracy.
    Confidence intervals are at the 95 % level. With several files, the mean and sample standard deviation
    over the files are also reported. For the output of `peclip predict`, the prediction for a video is the
    mean over the `ok` windows of the person who is visible the longest.

    peclip score predictions.csv

    peclip score rows.parquet --targets targets.csv
    """
    options = check(EvaluateOptions, statistics)
    check_report_outputs(output, plot, overwrite=overwrite)
    from peclip.metrics.scoring import score_files

    evaluation = score_files(
        predictions,
        targets=targets,
        labels=None if labels is None else read_labels(labels),
        resamples=options.resamples,
        seed=options.seed,
    )
    show(evaluation, form, output, plot)


def check_report_outputs(output: Path | None, plot: Path | None, *, overwrite: bool) -> None:
    """Checks that the report and the plot can be written, before anything is computed.

    Raises:
        ConfigError: see `peclip.cli.options.check_output`.
        MissingExtraError: a plot was requested, but matplotlib is not installed.
    """
    from peclip.metrics.scoring import REPORT_ENDINGS
    from peclip.results.figures import FIGURE_ENDINGS, check_matplotlib

    check_output(output, overwrite=overwrite, endings=REPORT_ENDINGS)
    check_output(plot, overwrite=overwrite, endings=FIGURE_ENDINGS)
    if plot is not None:
        check_matplotlib("Plotting the confusion matrix")
