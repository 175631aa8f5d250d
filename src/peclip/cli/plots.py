"""`peclip plots`: figures of a run or a prediction file, and of the differences between two."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from peclip.cli import console
from peclip.cli.field_options import Fields, from_fields
from peclip.cli.options import DeviceOpt, LabelsOpt, OverwriteOpt, ProgressOpt, read_labels
from peclip.cli.plot_sources import PlotReader, compared, with_features
from peclip.cli.score import TargetsOpt
from peclip.config import check
from peclip.errors import ConfigError
from peclip.files import locked
from peclip.runs.evaluate_options import EvaluateOptions

if TYPE_CHECKING:
    from peclip.metrics.comparison import Comparison
    from peclip.metrics.figures.plot_data import PlotData

COMPARISON = "comparison.json"

SourceArg = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RUN|FILE]",
        help="Run folder of `peclip train`, or a prediction file as for `peclip score`.",
        show_default=False,
    ),
]
CompareOpt = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--compare",
        metavar="RUN_A RUN_B",
        help="Compare two run folders or prediction files on the videos that both contain: differences "
        "B - A with paired bootstrap intervals and p-values.",
    ),
]
OnlyOpt = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="NAMES",
        help="Draw only these figures, separated by commas: confusion, confusion-counts, reliability, "
        "recall, curves, tsne. By default, all that the source has the numbers for, except tsne.",
    ),
]
FolderOpt = Annotated[
    Path, typer.Option("-o", "--output", help="Folder for the figures; created if it is missing.")
]
FormatOpt = Annotated[
    Literal["png", "svg", "pdf"], typer.Option("-f", "--format", help="Format of the figures.")
]
FeaturesOpt = Annotated[
    Path | None,
    typer.Option(
        "--features",
        help="Draw t-SNE of the features in this .npz file, such as the features.npz that --only tsne "
        "writes, instead of computing them with the model of the run.",
    ),
]
RootOpt = Annotated[
    Path | None,
    typer.Option(
        "--data-root", help="Folder of the run's data set for tsne, if it has moved since the run."
    ),
]
SubjectsOpt = Annotated[
    Path | None,
    typer.Option(
        "--subjects",
        help="With --compare: a file with the columns source and subject. Whole subjects are then drawn.",
    ),
]
TitleOpt = Annotated[
    str | None,
    typer.Option(
        "--title",
        help="Data set, fold, split and model of a prediction file, for the titles; with --compare, the data set.",
    ),
]
StatisticsGroup = Annotated[dict[str, Any], Fields(EvaluateOptions, "resamples", "seed")]


@from_fields
def plots(
    *,
    source: SourceArg = None,
    compare: CompareOpt = None,
    only: OnlyOpt = None,
    output: FolderOpt = Path("plots"),
    form: FormatOpt = "png",
    features: FeaturesOpt = None,
    data_root: RootOpt = None,
    subjects: SubjectsOpt = None,
    targets: TargetsOpt = None,
    labels: LabelsOpt = None,
    title: TitleOpt = None,
    statistics: StatisticsGroup,
    device: DeviceOpt = "auto",
    overwrite: OverwriteOpt = False,
    progress: ProgressOpt = True,
) -> None:
    """Draw figures of a run or a prediction file, or compare two (requires the `plot` extra).

    Figures are confusion matrices, a reliability diagram, the recall of every class with its interval, learning
    curves, and t-SNE of video features (requires the `tsne` extra). Titles state the videos, their number, the
    scores with 95 % intervals, and the model.

    peclip plots runs/dfew -o figures

    peclip plots predictions.csv --only confusion,reliability -f pdf

    peclip plots --compare runs/nano runs/vit-b-16 -o figures
    """
    from peclip.metrics.figures.registry import check_numbers

    options = check(EvaluateOptions, statistics)
    reader = PlotReader(
        targets, None if labels is None else list(read_labels(labels)), title, options
    )
    names = _names(source, compare, only, features, subjects)
    if "tsne" in names:
        from peclip.metrics.embedding import check_sklearn
        from peclip.recognizers.early_checks import check_computation

        check_sklearn()
        check_computation(device)
    if data_root is not None and (only is None or "tsne" not in names or features is not None):
        raise ConfigError("--data-root is for computing features with --only tsne; remove it.")
    _check_folder(output, names, form, overwrite=overwrite)
    if compare is not None:
        data = compared(compare, subjects, reader)
    else:
        assert source is not None, "checked by _names"
        data = reader.read(source)
    if only is not None:  # before features are computed
        check_numbers([name for name in names if name != "tsne"], data)
    with locked(folder=output):
        if ("tsne" in names and only is not None) or features is not None:
            data = with_features(data, source, features, output, (data_root, device), progress)
        _draw(data, names, output, form, required=only is not None)
    if data.comparison is not None:
        _print(data.comparison)


def _names(
    source: Path | None,
    compare: tuple[Path, Path] | None,
    only: str | None,
    features: Path | None,
    subjects: Path | None,
) -> tuple[str, ...]:
    """Returns the figures that are drawn, if the source has the numbers for them."""
    from peclip.metrics.figures.registry import FIGURES, check_names
    from peclip.results.figures import check_matplotlib

    if (source is None) == (compare is None):
        raise ConfigError(
            "plots takes a run folder or a prediction file, or --compare RUN_A RUN_B; pass one of them."
        )
    if compare is None and subjects is not None:
        raise ConfigError(
            "--subjects is for --compare RUN_A RUN_B; remove it, or compare two runs."
        )
    if compare is not None and (only, features) != (None, None):
        raise ConfigError(
            "--compare draws the differences alone. Remove --only and --features, and draw the figures of "
            "each run with peclip plots RUN."
        )
    check_matplotlib("Drawing figures")
    if compare is not None:
        return ("differences",)
    chosen = check_names(FIGURES if only is None else only.split(","))
    if only is not None and features is not None and "tsne" not in chosen:
        raise ConfigError("--features is for the figure tsne, which --only leaves out; add it.")
    if only is not None and "differences" in chosen:
        raise ConfigError("The figure 'differences' needs two models: --compare RUN_A RUN_B.")
    unasked = {"differences", *(["tsne"] if only is None and features is None else [])}
    return tuple(name for name in chosen if name not in unasked)


def _check_folder(folder: Path, names: Iterable[str], form: str, *, overwrite: bool) -> None:
    """Checks that no figure in the folder would be replaced without --overwrite.

    Raises:
        ConfigError: the output is a file, or contains one of the figures.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"The output {str(folder)!r} is a file; choose a folder with -o.")
    held = [folder / f"{name}.{form}" for name in names]
    held = [path for path in held if path.exists()]
    if held and not overwrite:
        raise ConfigError(
            f"The figure {str(held[0])!r} already exists. Choose another folder with -o, or add "
            "--overwrite."
        )


def _draw(data: PlotData, names: Iterable[str], folder: Path, form: str, *, required: bool) -> None:
    """Draws the figures, and prints the path of each; one without numbers is skipped unless it is required."""
    from peclip.files import replacing
    from peclip.metrics.figures.registry import FIGURES, draw_figure
    from peclip.results.figures import save_figure

    drawable = [name for name in names if required or FIGURES[name].has_numbers(data)]
    for name in names:
        if name not in drawable:
            console.note(f"{name} is not drawn: it needs {FIGURES[name].needs}")
    if not drawable:
        raise ConfigError(
            "No figure can be drawn from this source: it has no predictions and no history."
        )
    if data.report is not None:
        for remark in (*data.report.remarks, data.report.caution):
            if remark is not None:
                console.note(remark)
    if data.warning is not None:
        console.note(f"warning: {data.warning}")
    for name in drawable:
        path = folder / f"{name}.{form}"
        save_figure(draw_figure(name, data), path)
        typer.echo(str(path))
    if data.comparison is not None:
        with replacing(folder / COMPARISON) as partial:
            text = json.dumps(data.comparison.to_dict(), indent=2) + "\n"
            partial.write_text(text, encoding="utf-8")
        typer.echo(str(folder / COMPARISON))


def _print(comparison: Comparison) -> None:
    """Prints the comparison as a table."""
    from peclip.cli.evaluation_table import percent_text

    for note in comparison.notes:
        console.note(note)
    rows = []
    for one in (comparison.uar, comparison.war, *comparison.recall):
        name = one.name.upper() if one in (comparison.uar, comparison.war) else one.name
        change = f"{100 * one.value:+.2f}"
        numbers = [f"{one.num_videos:>6}", percent_text(one.first), percent_text(one.second)]
        rows.append([name, *numbers, f"{change:>10}", one.interval_text, one.p_text])
    heading = ["score (%)", "videos", " first", "second", "difference", "95 % interval", "p"]
    console.print_table(heading, rows)
    people = "" if comparison.num_subjects is None else f", {comparison.num_subjects} subjects"
    typer.echo(
        f"n = {comparison.num_videos} videos{people}: both right {comparison.both_right}, only first "
        f"{comparison.only_first}, only second {comparison.only_second}, both wrong {comparison.both_wrong}"
    )
