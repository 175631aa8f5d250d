"""The result of a comparison: a row per model and training, and which differences can be told from chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from peclip.errors import ConfigError
from peclip.files import replacing, write_rows
from peclip.metrics.comparison import Comparison, compare
from peclip.metrics.report import interval_text, percent
from peclip.runs.comparison_config import ComparisonConfig, Contender
from peclip.runs.measured_contender import Measured
from peclip.runs.splits import RunSplits
from peclip.text.display import markdown

HEADING = (
    *("model", "training", "UAR", "95 % interval", "WAR", "95 % interval", "UAR - first", "p"),
    *("trained", "all parameters", "s/window", "train s"),
)
_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Failure:
    """A contender that could not be measured."""

    contender: Contender
    reason: str
    exit_code: int


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonRow:
    """A measured contender, and its difference to the first one with the same training."""

    measured: Measured
    difference: Comparison | None
    """This one minus the first; `None` for the first, and without draws."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form; scores are in per cent, differences in percentage points."""
        one, report = self.measured, self.measured.report
        row: dict[str, Any] = {**one.contender._asdict(), "num_videos": report.num_videos}
        for name, value, ci in (
            ("uar", report.uar, report.uar_ci),
            ("war", report.war, report.war_ci),
        ):
            low, high = (None, None) if ci is None else map(percent, ci)
            row |= {name: percent(value), f"{name}_low": low, f"{name}_high": high}
        uar = None if self.difference is None else self.difference.uar
        low, high = (None, None) if uar is None or uar.interval is None else uar.interval
        row |= {
            "uar_difference": None if uar is None else percent(uar.value),
            "uar_difference_low": percent(low),
            "uar_difference_high": percent(high),
            "p_value": None if uar is None or uar.p_value is None else round(uar.p_value, 6),
        }
        return row | asdict(one.cost) | {"warning": one.facts.get("warning"), "error": None}

    def cells(self) -> list[str]:
        """Returns the cells below `HEADING`."""
        report, cost, difference = self.measured.report, self.measured.cost, self.difference
        scores = []
        for value, ci in ((report.uar, report.uar_ci), (report.war, report.war_ci)):
            scores += [f"{100 * value:.2f}", interval_text(ci)]
        against = (
            [f"{100 * difference.uar.value:+.2f}", difference.uar.p_text]
            if difference
            else ["", ""]
        )
        return [
            *self.measured.contender,
            *scores,
            *against,
            f"{cost.trained:,}",
            f"{cost.total:,}",
            "" if cost.window_s is None else f"{cost.window_s:.3g}",
            "" if cost.train_s is None else f"{cost.train_s:.1f}",
        ]


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonReport:
    """All rows of a comparison, in the order of the models."""

    facts: dict[str, Any]
    """Of the data and the training, which all rows share."""
    rows: tuple[ComparisonRow, ...]
    failures: tuple[Failure, ...]

    @classmethod
    def of(
        cls,
        config: ComparisonConfig,
        splits: RunSplits,
        found: Sequence[Measured | Failure],
    ) -> Self:
        """Compares every measured contender with the first one that has the same training."""
        test, run = splits.test, config.run
        assert test is not None
        subjects = {s.id: s.subject for s in test.samples if s.subject is not None}
        drawn = subjects if len(subjects) == len(test) else None
        first: dict[str, Measured] = {}
        rows = []
        for one in found:
            if isinstance(one, Failure):
                continue
            against = first.setdefault(one.contender.training, one)
            difference = None
            if against is not one:
                difference = compare(
                    *(against.table, one.table),
                    subjects=drawn,
                    resamples=config.resamples,
                    seed=run.train.seed,
                )
            rows.append(ComparisonRow(one, difference))
        facts = {
            "test": test.title,
            "videos": {name: len(split) for name, split in splits.found.items()},
            "limit": run.data.limit,
            "training": config.training,
            "epochs": run.train.epochs,
            "seed": run.train.seed,
            "resamples": config.resamples,
        }
        failures = tuple(one for one in found if isinstance(one, Failure))
        return cls(facts, tuple(rows), failures)

    @property
    def verdicts(self) -> list[str]:
        """For each training, a sentence on whether the best model differs from the first."""
        trainings = dict.fromkeys(row.measured.contender.training for row in self.rows)
        groups = (
            [row for row in self.rows if row.measured.contender.training == one]
            for one in trainings
        )
        return [_verdict(group) for group in groups if len(group) > 1]

    @property
    def notes(self) -> list[str]:
        """What the rows are of, and what must be read with them; one sentence each."""
        numbers = ", ".join(f"{count:,} {name}" for name, count in self.facts["videos"].items())
        limit = self.facts["limit"]
        limited = "" if limit is None else f", at most {limit:,} per class"
        devices = dict.fromkeys(
            f"{row.measured.cost.device} in {row.measured.cost.precision}" for row in self.rows
        )
        said = [f"{self.facts['test']}; videos: {numbers}{limited}; seed {self.facts['seed']}"]
        said += [f"seconds are measured on {', '.join(devices)}"] if devices else []
        warnings = (row.measured.facts.get("warning") for row in self.rows)
        cautions = (row.measured.report.caution for row in self.rows)
        return list(dict.fromkeys([*said, *filter(None, warnings), *filter(None, cautions)]))

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {
            **self.facts,
            "rows": self.flat_rows(),
            "verdicts": self.verdicts,
            "notes": self.notes,
        }

    def flat_rows(self) -> list[dict[str, Any]]:
        """Returns a flat row for each contender, those that failed last."""
        rows = [row.to_dict() for row in self.rows]
        keys = rows[0] if rows else {"base": None, "training": None, "error": None}
        empty = dict.fromkeys(keys)
        return rows + [
            {**empty, **failure.contender._asdict(), "error": failure.reason}
            for failure in self.failures
        ]

    def to_markdown(self) -> str:
        """Returns a table in Markdown, with the verdicts and notes below it."""
        lines = [_line(HEADING), "|" + "---|" * len(HEADING)]
        lines += [_line([markdown(cell) for cell in row.cells()]) for row in self.rows]
        for failure in self.failures:
            reason = f"failed: {failure.reason}"
            cells = [*failure.contender, reason, *[""] * (len(HEADING) - 3)]
            lines.append(_line([markdown(" ".join(cell.split())) for cell in cells]))
        lines += ["", *(f"- {markdown(said)}" for said in (*self.verdicts, *self.notes))]
        return "\n".join(lines) + "\n"

    def save(self, path: Path) -> None:
        """Writes a `.md`, `.csv` or `.json` file.

        Raises:
            ConfigError: it cannot be written.
        """
        try:
            _WRITERS[path.suffix.lower()](self, path)
        except OSError as error:
            raise ConfigError(
                f"The output {str(path)!r} cannot be written: {error.strerror}. Choose a file in an existing, "
                "writable folder."
            ) from None


def _verdict(rows: Sequence[ComparisonRow]) -> str:
    """States whether the best of some rows, or the second if the first is best, differs from the first.

    The best is chosen by its score, so its p-value is multiplied by the number of comparisons (Bonferroni).
    """
    first, *others = rows
    other = max(others, key=lambda row: row.measured.report.uar)
    assert other.difference is not None
    names = [row.measured.contender.base for row in (first, other)]
    uar, tests = other.difference.uar, len(others)
    training = first.measured.contender.training
    what = "zero-shot" if training == "none" else f"with training {training!r}"
    gap = f"{abs(100 * uar.value):.2f} points {'above' if uar.value > 0 else 'below'} that of"
    name = f"the best of the others, {names[1]}," if tests > 1 else names[1]
    level = "equal to that of" if uar.value == 0 else gap
    found = f"{what}: the UAR of {name} is {level} {names[0]}"
    if uar.interval is None or uar.p_value is None:
        return f"{found}; without draws (--bootstrap 0), nothing is known about chance"
    low, high = (100 * end for end in uar.interval)
    p_value = min(1.0, tests * uar.p_value)
    corrected = f", corrected for {tests} comparisons" if tests > 1 else ""
    differs = p_value < _LEVEL and not low <= 0 <= high
    verdict = "they differ" if differs else "this may be chance, so neither is called better"
    return f"{found} (95 % interval {low:+.2f} to {high:+.2f}, p = {p_value:.3f}{corrected}): {verdict}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


_WRITERS: dict[str, Callable[[ComparisonReport, Path], None]] = {
    ".md": lambda report, path: _write_text(path, report.to_markdown()),
    ".csv": lambda report, path: write_rows(path, report.flat_rows()),
    ".json": lambda report, path: _write_text(path, json.dumps(report.to_dict(), indent=2) + "\n"),
}
