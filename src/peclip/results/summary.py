"""Summaries of predictions: one line per person or group, with episodes and transitions.

Times and probabilities are weighted by each window's slot (`peclip.results.slots`), so that overlapping time
counts only once. docs/output.md contains the formula for each column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclip.errors import ConfigError, MissingExtraError
from peclip.results.episodes import Episode, timeline_of
from peclip.results.interface import KEYS
from peclip.results.rows import Row
from peclip.results.table_file import write_table
from peclip.results.totals import Totals, add, totals_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """One person, or a group of people."""

    keys: Mapping[str, Any]
    """The identity of the line, by column: `source`, `track_id` and joined columns."""
    totals: Totals

    def to_dict(self) -> dict[str, Any]:
        """Returns the flat form used by all file formats."""
        return {**self.keys, **self.totals.to_dict()}


@dataclass(frozen=True, slots=True)
class Summary:
    """The lines of a summary, and the episodes of all people."""

    labels: tuple[str, ...]
    lines: tuple[SummaryLine, ...]
    episodes: tuple[Episode, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Returns one flat row per line."""
        return [line.to_dict() for line in self.lines]

    def episode_rows(self) -> list[dict[str, Any]]:
        """Returns one flat row per episode."""
        return [episode.to_dict() for episode in self.episodes]

    def transition_rows(self) -> list[dict[str, Any]]:
        """Returns one flat row per line and pair of consecutive labels, with its count."""
        return [
            {**line.keys, "from_label": before, "to_label": after, "count": count}
            for line in self.lines
            for (before, after), count in sorted(
                line.totals.transitions.items(),
                key=lambda item: [self.labels.index(name) for name in item[0]],
            )
        ]

    def with_columns(self, columns: Mapping[str, Mapping[str, Any]]) -> Summary:
        """Returns the summary with additional columns by source; missing cells are `None`.

        Raises:
            ConfigError: a column has the same name as a summary column.
        """
        names = list(dict.fromkeys(name for cells in columns.values() for name in cells))
        taken = [name for line in self.lines[:1] for name in names if name in line.to_dict()]
        if taken:
            raise ConfigError(
                f"The column {taken[0]!r} to be joined is also a column of the summary; rename it."
            )
        lines = []
        for line in self.lines:
            cells = columns.get(line.keys["source"], {})
            keys = {**line.keys, **{name: cells.get(name) for name in names}}
            lines.append(replace(line, keys=keys))
        return replace(self, lines=tuple(lines))

    def grouped(self, by: Sequence[str]) -> Summary:
        """Returns one line per group: the sums over its people.

        Columns joined by source are kept if `source` is one of the keys.

        Args:
            by: the keys that define a group, from `source`, `track_id` and joined columns.

        Raises:
            ConfigError: a key is unknown or duplicate.
        """
        known = list(self.lines[0].keys) if self.lines else list(KEYS)
        unknown = [name for name in by if name not in known]
        if unknown or not by or len(set(by)) < len(by):
            raise ConfigError(
                f"Cannot group by {','.join(by)!r}; use one or more of {', '.join(known)}, each "
                "once. To use the columns of a participant table, add --join."
            )
        kept = [name for name in known if name not in KEYS and name not in by]
        names = [*by, *(kept if "source" in by else [])]
        groups = dict[tuple[Any, ...], list[SummaryLine]]()
        for line in self.lines:
            groups.setdefault(tuple(line.keys[name] for name in by), []).append(line)
        lines = [
            SummaryLine(
                {name: group[0].keys[name] for name in names}, add([one.totals for one in group])
            )
            for group in groups.values()
        ]
        return replace(self, lines=tuple(lines))

    def to_dataframe(self) -> pd.DataFrame:
        """Returns the lines as a pandas table.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("Summary.to_dataframe()", "data") from None
        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        lines, episodes = len(self.lines), len(self.episodes)
        counts = f"{lines} {'line' if lines == 1 else 'lines'}, {episodes} episode{'s' * (episodes != 1)}"
        return f"Summary({counts}, labels {', '.join(self.labels)})"

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the table of a report."""
        from peclip.results.page_parts import summary_html

        return summary_html(self)

    def save(self, path: str | Path) -> None:
        """Writes the lines to a `.csv`, `.jsonl`, `.json` or `.parquet` file.

        Raises:
            ConfigError: the extension is unsupported, or the file cannot be written.
            MissingExtraError: it is a parquet file, and pyarrow is not installed.
        """
        write_table(Path(path), self.rows())


def summarise(rows: Iterable[Row], labels: Sequence[str]) -> Summary:
    """Returns one line per source and person.

    A source in which no one is detected gets a single line, with the track id -1.

    Args:
        rows: all rows of any number of sources, in any order.
        labels: of the model.
    """
    by_source = dict[str, list[Row]]()
    for row in rows:
        by_source.setdefault(row.source, []).append(row)
    lines, episodes = list[SummaryLine](), list[Episode]()
    for source, found in by_source.items():
        timeline = timeline_of(source, found)
        length = timeline.duration_s
        failed = any(row.status == "decode_error" for row in found)
        for person in timeline.people or (None,):
            track = -1 if person is None else person.track_id
            totals = totals_of(person, source, length, failed=failed, labels=labels)
            lines.append(SummaryLine({"source": source, "track_id": track}, totals))
            episodes += () if person is None else person.episodes()
    return Summary(tuple(labels), tuple(lines), tuple(episodes))


def joined(parts: Iterable[Summary]) -> Summary:
    """Combines one or more summaries with the same labels into one."""
    parts = list(parts)
    return Summary(
        parts[0].labels,
        tuple(line for part in parts for line in part.lines),
        tuple(episode for part in parts for episode in part.episodes),
    )
