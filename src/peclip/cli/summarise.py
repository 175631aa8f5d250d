"""`peclip summarise`: one line per person or group, from the rows of `peclip predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peclip.cli import console
from peclip.cli.options import ExcelOpt, OutputOpt, OverwriteOpt, check_output
from peclip.errors import ConfigError
from peclip.files import locked
from peclip.text.display import one_line

if TYPE_CHECKING:
    from peclip.results.summary import Summary

RowsArg = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        help="Row files of `peclip predict -o` (.csv, .jsonl, .json or .parquet), such as those of "
        "several shards.",
        show_default=False,
    ),
]
ByOpt = Annotated[
    str,
    typer.Option(
        metavar="KEYS",
        help="One line per combination of these columns: source, track_id and columns of --join, "
        "separated by commas. Values are summed over the people in each group.",
    ),
]
JoinOpt = Annotated[
    Path | None,
    typer.Option(
        help="Participant table (.csv, .jsonl or .parquet) whose columns are added by source. Its "
        "source column contains the path of a video as in the rows, its file name, or its file "
        "name without the extension.",
    ),
]
EpisodesOpt = Annotated[
    Path | None,
    typer.Option(help="Write one line per episode to this file, with onset, apex and offset."),
]
TransitionsOpt = Annotated[
    Path | None,
    typer.Option(
        help="Write a table to this file of how often one label directly follows another."
    ),
]


def summarise(
    *,
    rows: RowsArg,
    by: ByOpt = "source,track_id",
    join: JoinOpt = None,
    output: OutputOpt = None,
    episodes: EpisodesOpt = None,
    transitions: TransitionsOpt = None,
    excel: ExcelOpt = False,
    overwrite: OverwriteOpt = False,
) -> None:
    """Summarise the rows of `peclip predict`, with one line per person or group.

    The summary contains durations, proportions of time, mean probabilities, episodes, transitions and quality. Where
    windows overlap, time is counted only once. Tables are .csv, .jsonl, .json or .parquet files. Without
    -o, a short table is printed; -o - prints the full table as csv. Examples:

    peclip summarise rows.csv -o people.csv

    peclip summarise rows.csv --join participants.csv --by condition
    """
    _check_outputs(output, episodes, transitions, excel=excel, overwrite=overwrite)
    with locked(output, episodes, transitions):
        summary = _summary(rows, join, by)
        _write(summary, output, episodes, transitions, excel=excel)
    if output is None and episodes is None and transitions is None:
        _print(summary)


def _summary(rows: list[Path], join: Path | None, by: str) -> Summary:
    from peclip.results.interface import KEYS
    from peclip.results.participants import read_participants
    from peclip.results.row_file import read_rows
    from peclip.results.summary import summarise as summary_of

    participants = None if join is None else read_participants(join)
    found = read_rows(rows)
    summary = summary_of(found.rows, found.labels)
    if participants is not None:
        columns, remark = participants.join(line.keys["source"] for line in summary.lines)
        summary = summary.with_columns(columns)
        if remark:
            console.note(one_line(remark))
    keys = [name.strip() for name in by.split(",")]
    if keys != list(KEYS):
        summary = summary.grouped(keys)
    return summary


def _write(
    summary: Summary,
    output: Path | None,
    episodes: Path | None,
    transitions: Path | None,
    *,
    excel: bool,
) -> None:
    from peclip.results.episodes import episode_columns
    from peclip.results.table_file import write_table

    if episodes is not None:
        write_table(episodes, summary.episode_rows(), episode_columns(), excel=excel)
    if transitions is not None:
        names = [*summary.lines[0].keys, "from_label", "to_label", "count"]
        write_table(transitions, summary.transition_rows(), names, excel=excel)
    if output is not None:
        write_table(output, summary.rows(), excel=excel)


def _check_outputs(*paths: Path | None, excel: bool, overwrite: bool) -> None:
    from peclip.results.table_file import check_table

    given = [path for path in paths if path is not None]
    for path in given:
        check_output(path, overwrite=overwrite)
        if str(path) != "-":
            check_table(path, excel=excel)
    twice = next((path for path in given if given.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"Two tables would be written to {str(twice)!r}; choose different files.")


def _print(summary: Summary) -> None:
    """Prints the keys and the most important columns."""
    heading = [*summary.lines[0].keys, "seen (s)", "label", "share of time", "episodes", "ok"]
    lines = []
    for line in summary.lines:
        row = line.to_dict()
        shares = {name: row[f"share_{name}"] or 0.0 for name in summary.labels}
        ranked = sorted((name for name in shares if shares[name]), key=lambda n: -shares[n])
        quality = row["quality_ok"]
        lines.append(
            [
                *("(none)" if value in (None, "") else str(value) for value in line.keys.values()),
                f"{row['seen_s']:.1f}",
                row["label"] or "",
                ", ".join(f"{name} {shares[name]:.0%}" for name in ranked[:3]),
                str(sum(line.totals.episodes.values())),
                "" if quality is None else f"{quality:.0%}",
            ]
        )
    console.print_table(heading, [[one_line(cell) for cell in line] for line in lines])
