"""`peclip evaluate`: UAR and WAR of predictions, with their confidence intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peclip.cli import console
from peclip.cli.options import (
    OutputOpt,
    OverwriteOpt,
    ReportFormat,
    ReportFormatOpt,
    check_output,
)

if TYPE_CHECKING:
    from peclip.metrics import Interval, Report
    from peclip.scoring import Evaluation


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Option(
            help="A .csv or .jsonl file with source, target, label and, for the calibration error, "
            "prob_<label>: one video per row. Repeat it for folds."
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            help="The labels of the model, separated by commas, where the file has no prob_ columns. "
            "Videos of other classes are dropped, and counted."
        ),
    ] = None,
    form: ReportFormatOpt = ReportFormat.table,
    output: OutputOpt = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the confusion matrix: .png, .pdf or .svg (extra `plot`)."),
    ] = None,
    resamples: Annotated[
        int,
        typer.Option(
            "--bootstrap", min=0, max=1_000_000, help="Draws for the intervals; 0 leaves them out."
        ),
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    overwrite: OverwriteOpt = False,
) -> None:
    """Score a file of predictions: UAR, WAR, and recall, precision and F1 of every class.

    UAR is the mean recall of the classes that occur; WAR is the accuracy; the intervals are 95 %.
    With several files, the mean and the sample standard deviation over them. Examples:

    peclip evaluate --predictions answers.csv

    peclip evaluate --predictions fold1.csv --predictions fold2.csv -o folds.json --plot folds.png
    """
    from peclip.plots import FIGURE_ENDINGS
    from peclip.scoring import REPORT_ENDINGS, score_files

    check_output(output, overwrite=overwrite, endings=REPORT_ENDINGS)
    check_output(plot, overwrite=overwrite, endings=FIGURE_ENDINGS)
    names = None if labels is None else labels.split(",")
    evaluation = score_files(predictions, labels=names, resamples=resamples, seed=seed)
    for score in evaluation.folds:
        prefix = f"{score.path}: " if len(evaluation.folds) > 1 else ""
        for remark in score.remarks:
            console.note(prefix + remark)
    if plot is not None:
        _draw(evaluation, plot)
    if output is not None and str(output) != "-":
        evaluation.save(output)
    if form is ReportFormat.json:
        typer.echo(json.dumps(evaluation.to_dict(), indent=2))
    else:
        _print_table(evaluation)


def _draw(evaluation: Evaluation, path: Path) -> None:
    from peclip.plots import plot_confusion, save_figure

    folds = len(evaluation.folds)
    title = None if folds == 1 else f"{_mean(evaluation)}, {folds} folds"
    save_figure(plot_confusion(evaluation.merged, title=title), path)


def _print_table(evaluation: Evaluation) -> None:
    merged, several = evaluation.merged, len(evaluation.folds) > 1
    if several:
        _print_folds(evaluation)
    else:
        rows = [["UAR (%)", _value(merged.uar), _between(merged.uar_ci)]]
        rows.append(["WAR (%)", _value(merged.war), _between(merged.war_ci)])
        rows.append(["macro F1 (%)", _value(merged.macro_f1), ""])
        if merged.ece is not None:
            rows.append(["ECE (0 to 1)", f"{merged.ece:>6.4f}", ""])
        rows.append(["videos", f"{merged.num_videos:>6}", ""])
        console.print_table(["", " value", "95 % interval"], rows)
    typer.echo()
    _print_classes(merged, "class, all files" if several else "class")


def _print_folds(evaluation: Evaluation) -> None:
    rows = []
    for score in evaluation.folds:
        report = score.report
        uar = [_value(report.uar), _between(report.uar_ci)]
        war = [_value(report.war), _between(report.war_ci)]
        ece = "" if report.ece is None else f"{report.ece:.4f}"
        rows.append([str(score.path), f"{report.num_videos:>6}", *uar, *war, ece])
    interval = "95 % interval"
    heading = ["predictions", "videos", f"{'UAR':>6}", interval, f"{'WAR':>6}", interval, "ECE"]
    console.print_table(heading, rows)
    typer.echo(
        f"{_mean(evaluation)}: mean and sample standard deviation of {len(rows)} folds, per cent"
    )


def _print_classes(report: Report, title: str) -> None:
    rows = [
        [
            name,
            f"{report.support[name]:>6}",
            *(_value(values[name]) for values in (report.recall, report.precision)),
            _value(report.f1[name]),
        ]
        for name in report.labels
    ]
    heading = [title, "videos", "recall", "precision", f"{'F1':>6}"]
    for row in rows:
        row[3] = row[3].rjust(len("precision"))
    console.print_table(heading, rows)


def _mean(evaluation: Evaluation) -> str:
    mean = evaluation.mean
    return ", ".join(
        f"{name} {100 * value:.2f} ± {100 * (sd or 0):.2f}"
        for name, value, sd in (("UAR", mean.uar, mean.uar_sd), ("WAR", mean.war, mean.war_sd))
    )


def _value(fraction: float | None) -> str:
    return f"{'-':>6}" if fraction is None else f"{100 * fraction:>6.2f}"


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.2f} - {100 * interval[1]:.2f}"
