"""Scores of predictions: a report per table or file, and the mean over folds.

The rule across label sets:

1. Classes are mapped by name, in any usual spelling, never by number.
2. The labels of the model are those of the `prob_<label>` columns, or the ones that are given. A video
   whose target is not among them is dropped and counted: the model cannot be right about it.
3. Without either, nothing tells a label that the model lacks from one that it never chose. The classes
   are then all names in the files, and nothing is dropped.
4. A predicted label that no target has is wrong. It is never dropped, which would raise the score.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from peclip.config import RESAMPLES
from peclip.errors import ConfigError
from peclip.files import replacing, write_rows
from peclip.labels import MAX_LABELS, LabelSet, canonical, in_usual_order
from peclip.metrics.calibration_error import calibration_error
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.folds import FoldMean, mean_over_folds
from peclip.metrics.prediction_file import read_predictions, read_targets
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.report import Report, percent


@dataclass(frozen=True, slots=True)
class FoldReport:
    """The report of one file or fold, and the facts that identify it."""

    facts: Mapping[str, Any]
    """The file, or the data set, fold, split, model and preprocessing."""
    report: Report
    notes: tuple[str, ...] = ()
    """Notes on the predictions, one sentence each."""

    @property
    def name(self) -> str:
        """The first of the facts, for tables."""
        return str(next(iter(self.facts.values())))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks that must be shown with the scores."""
        return (*self.notes, *self.report.remarks)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form of the report, and what was excluded."""
        return {
            **self.facts,
            **self.report.to_dict(),
            "dropped": dict(self.report.dropped),
            "unmatched": dict(self.report.unmatched),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of one file, or of several that are folds."""

    folds: tuple[FoldReport, ...]
    merged: Report
    """Scores of all files merged into one confusion matrix. With several files, there are no intervals and no
    `ece`."""
    mean: FoldMean
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Facts shared by all folds; empty for a single score, which has separate facts."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form of the one file; of folds, their means, each fold and all merged."""
        if len(self.folds) == 1:
            return self.folds[0].to_dict()
        return {
            **self.facts,
            "num_videos": self.merged.num_videos,
            **self.mean.to_dict(),
            "folds": [fold.to_dict() for fold in self.folds],
            "merged": self.merged.to_dict(),
        }

    def save(self, path: str | Path) -> None:
        """Writes a `.json` file, or a `.csv` file with a row per file and, for folds, `mean` and `sd`.

        Raises:
            ConfigError: the ending is another one, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in _REPORT_WRITERS:
            raise ConfigError(
                f"Cannot infer the report format of {path.name!r} from its extension; use "
                f"{', '.join(REPORT_ENDINGS)}."
            )
        try:
            _REPORT_WRITERS[path.suffix.lower()](self, path)
        except OSError as error:
            raise ConfigError(
                f"The output {str(path)!r} cannot be written: {error.strerror}. Choose a file in "
                "an existing, writable folder."
            ) from None

    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows of the `.csv` file."""
        rows = [_flat(fold) for fold in self.folds]
        if len(rows) > 1:
            mean, sd = self.mean, {"uar": self.mean.uar_sd, "war": self.mean.war_sd}
            first = next(iter(self.folds[0].facts))
            rows.append({first: "mean", "uar": percent(mean.uar), "war": percent(mean.war)})
            rows.append({first: "sd", **{key: percent(x) for key, x in sd.items()}})
        return rows


def score_files(
    paths: Sequence[str | Path],
    *,
    targets: str | Path | None = None,
    labels: Iterable[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Scores files of predictions; several are folds of one experiment.

    Args:
        paths: files that `peclip.metrics.prediction_file.read_predictions` reads.
        targets: a file with source and target, where the files have no targets.
        labels: the labels of the model, where the files have no probabilities.
        resamples: of the bootstrap of the confidence intervals; 0 leaves them out.
        seed: of the bootstrap.

    Raises:
        ConfigError: a file cannot be scored, or the files are of models with different labels.
        MissingExtraError: a file is parquet, and pyarrow is not installed.
    """
    if not paths:
        raise ConfigError("No prediction file was passed; pass at least one.")
    true = None if targets is None else read_targets(targets)
    tables = [(str(path), read_predictions(path, true)) for path in paths]
    known = _model_labels(tables, None if labels is None else LabelSet.of(labels).names)
    classes = known or _all_names([table for _, table in tables])
    folds = []
    for path, table in tables:
        try:
            report = score(table, classes, resamples=resamples, seed=seed)
        except ConfigError as error:
            raise ConfigError(f"The prediction file {path!r} cannot be scored: {error}") from None
        folds.append(FoldReport({"predictions": path}, report, table.notes))
    if true is not None:
        unused = len(true.keys() - {name for _, table in tables for name in table.ids})
        note = (
            f"{unused} of the {len(true)} sources in {targets} have no prediction and are excluded"
        )
        folds[0] = replace(folds[0], notes=(*folds[0].notes, *([note] if unused else [])))
    return together(folds)


def together(folds: Sequence[FoldReport], facts: Mapping[str, Any] | None = None) -> Evaluation:
    """Returns the scores of one file or of several folds, of models with the same labels.

    Args:
        folds: at least one.
        facts: what holds of all of them together.
    """
    reports = [fold.report for fold in folds]
    merged = reports[0]
    if len(reports) > 1:
        # The files may hold the same videos (runs with several seeds), so intervals would be too narrow.
        merged = Report.of(reduce(add, (report.confusion for report in reports)), resamples=0)
    return Evaluation(tuple(folds), merged, mean_over_folds(reports), facts or {})


def score(
    table: PredictionTable,
    classes: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Report:
    """Scores the predictions of a model by the rule of this module.

    Args:
        table: at least one video.
        classes: labels of the model; by default those of the table's probabilities, or all its names.
        resamples: of the bootstrap of the confidence intervals; 0 leaves them out.
        seed: of the bootstrap.

    Raises:
        ConfigError: a predicted label is not one of the classes, or none of the targets is.
    """
    names = [canonical(name) for name in classes or table.classes or _all_names([table])]
    if len(names) > MAX_LABELS:
        raise ConfigError(
            f"there are {len(names):,} different labels; at most {MAX_LABELS:,} are supported."
        )
    targets = [canonical(name) for name in table.targets]
    labels = [canonical(name) for name in table.labels]
    for video, label in zip(table.ids, labels, strict=True):
        if label not in names:
            raise ConfigError(
                f"the video {video!r} has the predicted label {label!r}, but the labels of the "
                f"model are {', '.join(names)}."
            )
    kept = [number for number, target in enumerate(targets) if target in names]
    dropped = Counter(target for target in targets if target not in names)
    if dropped and not kept:
        raise ConfigError(
            f"none of the labels in the targets ({', '.join(sorted(dropped))}) is a label of the "
            f"model ({', '.join(names)})."
        )
    pairs = [(targets[number], labels[number]) for number in kept]
    shown = set(targets)
    unmatched = Counter(label for _, label in pairs if label not in shown)
    confusion = ConfusionMatrix.of(names, [a for a, _ in pairs], [b for _, b in pairs])
    confidences, ece = table.confidences, None
    if confidences is not None and kept:
        ece = calibration_error(confidences[kept], [a == b for a, b in pairs])
    report = Report.of(confusion, ece=ece, resamples=resamples, seed=seed)
    return replace(
        report, dropped=dict(dropped.most_common()), unmatched=dict(unmatched.most_common())
    )


def _model_labels(
    tables: Sequence[tuple[str, PredictionTable]], given: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    known = given
    for path, table in tables:
        if not table.classes:
            continue
        if known is not None and set(table.classes) != set(known):
            raise ConfigError(
                f"The probabilities in {path!r} are for the labels {', '.join(table.classes)}, "
                f"but the expected labels are {', '.join(known)}; score models with different "
                "labels separately."
            )
        known = known or table.classes
    return known


def _all_names(tables: Sequence[PredictionTable]) -> tuple[str, ...]:
    """Returns the names in tables, those of the field first."""
    found = {canonical(name) for table in tables for name in (*table.targets, *table.labels)}
    return tuple(in_usual_order(found))


def _flat(fold: FoldReport) -> dict[str, Any]:
    report = fold.report.to_dict()
    row = {key: _cell(value) for key, value in fold.facts.items()}
    row["num_videos"] = report["num_videos"]
    for key in ("uar", "war"):
        low, high = report[f"{key}_ci"] or (None, None)
        row |= {key: report[key], f"{key}_low": low, f"{key}_high": high}
    row |= {"macro_f1": report["macro_f1"], "ece": report["ece"]}
    for key in ("support", "recall", "precision", "f1"):
        row |= {f"{key}_{name}": value for name, value in report[key].items()}
    return row | {"num_dropped": sum(fold.report.dropped.values())}


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, Mapping | list | tuple) else value


def _write_json(evaluation: Evaluation, path: Path) -> None:
    with replacing(path) as partial:
        text = json.dumps(evaluation.to_dict(), indent=2) + "\n"
        partial.write_text(text, encoding="utf-8", newline="")


_REPORT_WRITERS: dict[str, Callable[[Evaluation, Path], None]] = {
    ".json": _write_json,
    ".csv": lambda evaluation, path: write_rows(path, evaluation.rows()),
}
REPORT_ENDINGS = tuple(_REPORT_WRITERS)
