"""Prints an evaluation as a table, and plots it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from peclip.cli import console
from peclip.cli.options import ReportFormat, print_report
from peclip.files import locked

if TYPE_CHECKING:
    from peclip.metrics.report import Report
    from peclip.metrics.scoring import Evaluation


def show(
    evaluation: Evaluation, form: ReportFormat, output: Path | None, plot: Path | None
) -> None:
    """Prints an evaluation and its remarks, and writes the requested files."""
    for fold in evaluation.folds:
        prefix = f"{fold.name}: " if len(evaluation.folds) > 1 else ""
        for remark in (*fold.remarks, fold.report.caution):
            if remark is not None:
                console.note(prefix + remark)
    to_stdout = str(output) == "-"
    # Printed first, so that no disk that is full costs the numbers; and saved in any case, so that no
    # reader that has gone, as in `| head`, costs the file.
    try:
        print_report(
            "json" if to_stdout else form,
            evaluation.to_dict(),
            lambda: print_evaluation(evaluation),
        )
    finally:
        if output is not None and not to_stdout:
            with locked(output):
                evaluation.save(output)
    if plot is not None:  # last, so that no picture that fails costs the numbers
        with locked(plot):
            draw(evaluation, plot)


def tell(evaluation: Evaluation) -> None:
    """Prints the settings behind the scores, and the effect of the frame order."""
    facts = evaluation.folds[0].facts
    size = facts["preprocessing"]["image_size"]
    used = facts["prior_weight"]
    weight = "" if used is None else f", prior weight {used:g}"
    console.note(
        f"{facts['model']} ({facts['backbone']}) on {facts['dataset']} {facts['split']}, frames "
        f"{facts['frames']}, tta {facts['tta']}{weight}, {facts['num_frames']} frames of {size} px, "
        f"{facts['compute_precision']} on {facts['device']}"
    )
    for fold in evaluation.folds:
        _tell_lost(fold.name, fold.facts, fold.report.uar, fold.report.war)
        counts = [
            f"{fold.facts[key]} {key}" for key in ("missing", "unreadable") if fold.facts[key]
        ]
        for note in fold.facts.get("notes", ()):
            console.note(note)
        if fold.facts.get("silent"):
            console.note(f"{fold.name}: {fold.facts['silent']} videos have no caption")
        if counts:
            console.note(f"{fold.name}: skipped {' and '.join(counts)}")
    _tell_lost("mean", evaluation.facts, evaluation.mean.uar, evaluation.mean.war)


def _tell_lost(name: str, facts: Mapping[str, Any], uar: float, war: float) -> None:
    """Says what destroying time has cost, if it was destroyed."""
    if "lost" in facts:
        parts = [
            f"{key.upper()} {100 * value:.2f}, as recorded {facts['as_recorded'][key]:.2f} "
            f"({0 - facts['lost'][key]:+.2f} points)"
            for key, value in (("uar", uar), ("war", war))
        ]
        console.note(f"{name}, {facts['frames']}: {'; '.join(parts)}")


def draw(evaluation: Evaluation, path: Path) -> None:
    from peclip.metrics.plots import plot_confusion
    from peclip.results.figures import save_figure

    folds = len(evaluation.folds)
    title = None if folds == 1 else f"{_mean(evaluation)}, {folds} folds"
    save_figure(plot_confusion(evaluation.merged, title=title), path)


def print_evaluation(evaluation: Evaluation) -> None:
    from peclip.metrics.report import interval_text

    merged, several = evaluation.merged, len(evaluation.folds) > 1
    if several:
        _print_folds(evaluation)
    else:
        rows = [["UAR (%)", percent_text(merged.uar), interval_text(merged.uar_ci)]]
        rows.append(["WAR (%)", percent_text(merged.war), interval_text(merged.war_ci)])
        rows.append(["macro F1 (%)", percent_text(merged.macro_f1), ""])
        if merged.ece is not None:
            rows.append(["ECE (0 to 1)", f"{merged.ece:>6.4f}", ""])
        rows.append(["videos", f"{merged.num_videos:>6}", ""])
        console.print_table(["", " value", "95 % interval"], rows)
    typer.echo()
    _print_classes(merged, "class, all files" if several else "class")


def _print_folds(evaluation: Evaluation) -> None:
    from peclip.metrics.report import interval_text

    rows = []
    for fold in evaluation.folds:
        report = fold.report
        uar = [percent_text(report.uar), interval_text(report.uar_ci)]
        war = [percent_text(report.war), interval_text(report.war_ci)]
        ece = "" if report.ece is None else f"{report.ece:.4f}"
        rows.append([fold.name, f"{report.num_videos:>6}", *uar, *war, ece])
    interval = "95 % interval"
    heading = [
        next(iter(evaluation.folds[0].facts)),
        "number",
        f"{'UAR':>6}",
        interval,
        f"{'WAR':>6}",
        interval,
        "ECE",
    ]
    console.print_table(heading, rows)
    typer.echo(
        f"{_mean(evaluation)}: mean and sample standard deviation over {len(rows)} folds, in %"
    )


def _print_classes(report: Report, title: str) -> None:
    rows = [
        [
            name,
            f"{report.support[name]:>6}",
            *(percent_text(values[name]) for values in (report.recall, report.precision)),
            percent_text(report.f1[name]),
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


def percent_text(fraction: float | None) -> str:
    """Returns a score as a percentage of 6 characters, without the sign."""
    return f"{'-':>6}" if fraction is None else f"{100 * fraction:>6.2f}"
