"""Scores of files of answers: a report per file, and the mean over folds.

The rule across label sets:

1. Classes are mapped by name, in any usual spelling, never by number.
2. The labels of the model are those of the `prob_<label>` columns, or the ones that are given. A video
   whose target is not among them is dropped and counted: the model cannot be right about it.
3. Without either, nothing tells a label that the model lacks from one that it never chose. The classes
   are then all names in the files, and nothing is dropped.
4. An answer that no target has is a wrong answer. It is never dropped, which would raise the score.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError
from peclip.files import replacing, write_rows
from peclip.labels import EMOTIONS, LabelSet
from peclip.metrics.calibration_error import calibration_error
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.folds import FoldMean, mean_over_folds
from peclip.metrics.intervals import RESAMPLES
from peclip.metrics.prediction_file import Answer, AnswerFile, read_answers
from peclip.metrics.report import Report, percent

REPORT_ENDINGS = (".json", ".csv")


@dataclass(frozen=True, slots=True)
class Score:
    """The report of one file or fold, and what it leaves out."""

    facts: Mapping[str, Any]
    """What the score is of: the file, or the data set, fold, split, model and preprocessing."""
    report: Report
    dropped: Mapping[str, int]
    """Videos by target, where the model has no such label. They are not in the report."""
    unmatched: Mapping[str, int]
    """Answers by label, where no target has this label. They count as wrong."""

    @property
    def name(self) -> str:
        """The first of the facts, for tables."""
        return str(next(iter(self.facts.values())))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences that must stand beside the numbers, for people."""
        found = list[str]()
        if self.dropped:
            found.append(f"dropped {_counted('video', self.dropped)}: the model has no such label")
        if self.unmatched:
            found.append(
                f"{_counted('answer', self.unmatched)}: no target has this label, so they are wrong"
            )
        absent = [name for name, videos in self.report.support.items() if not videos]
        if absent:
            found.append(
                f"no video of {', '.join(absent)}: no recall, and UAR is the mean of the other "
                f"{len(self.report.labels) - len(absent)}"
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form: that of the report, and what was left out."""
        return {
            **self.facts,
            **self.report.to_dict(),
            "dropped": dict(self.dropped),
            "unmatched": dict(self.unmatched),
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of one file, or of several that are folds."""

    folds: tuple[Score, ...]
    merged: Report
    """Of all files in one confusion matrix. With several files it has no intervals and no `ece`."""
    mean: FoldMean
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What holds of all folds together; nothing for a single score, which has its own."""

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
        if path.suffix.lower() not in REPORT_ENDINGS:
            raise ConfigError(
                f"The ending of {path.name!r} does not say a format; use {', '.join(REPORT_ENDINGS)}."
            )
        try:
            if path.suffix.lower() == ".csv":
                write_rows(path, self._rows())
            else:
                with replacing(path) as partial:
                    text = json.dumps(self.to_dict(), indent=2) + "\n"
                    partial.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise ConfigError(
                f"The output {str(path)!r} cannot be written: {error.strerror}. Give a file in a "
                "folder that exists and can be written."
            ) from None

    def _rows(self) -> list[dict[str, Any]]:
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
    labels: Iterable[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Scores files of answers; several are folds of one experiment.

    Args:
        paths: `.csv` or `.jsonl` files, see `peclip.metrics.prediction_file`.
        labels: the labels of the model, where the files have no probabilities.
        resamples: of the bootstrap of the confidence intervals; 0 leaves them out.
        seed: of the bootstrap.

    Raises:
        ConfigError: a file cannot be scored, or the files are of models with different labels.
    """
    if not paths:
        raise ConfigError("No file of predictions was given; give at least one.")
    files = [read_answers(path) for path in paths]
    known = _model_labels(files, None if labels is None else LabelSet.of(labels).names)
    names = known or _all_names(files)
    return together([score_answers(file, names, resamples=resamples, seed=seed) for file in files])


def together(folds: Sequence[Score], facts: Mapping[str, Any] | None = None) -> Evaluation:
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


def _model_labels(
    files: Sequence[AnswerFile], given: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    known = given
    for file in files:
        if file.labels is None:
            continue
        if known is not None and set(file.labels) != set(known):
            raise ConfigError(
                f"The probabilities in {str(file.path)!r} are of {', '.join(file.labels)}, and before "
                f"the labels were {', '.join(known)}; score models with different labels one by one."
            )
        known = known or file.labels
    return known


def _all_names(files: Sequence[AnswerFile]) -> tuple[str, ...]:
    found = {name for file in files for a in file.answers for name in (a.target, a.label)}
    usual = [name for name in EMOTIONS if name in found]
    return (*usual, *sorted(found.difference(usual)))


def score_answers(
    file: AnswerFile,
    names: Sequence[str],
    *,
    facts: Mapping[str, Any] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """Scores the answers of a model with these labels; the rule is that of this module.

    Args:
        file: the answers.
        names: labels of the model.
        facts: what the score is of; by default the file.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ConfigError: an answer is not one of the labels, or none of the targets is.
    """
    stranger = next((a for a in file.answers if a.label not in names), None)
    if stranger is not None:
        raise ConfigError(
            f"The predictions {str(file.path)!r} cannot be scored: line {stranger.line} has the label "
            f"{stranger.label!r}, and the labels of the model are {', '.join(names)}."
        )
    kept = [a for a in file.answers if a.target in names]
    dropped = Counter(a.target for a in file.answers if a.target not in names)
    if not kept:
        raise ConfigError(
            f"The predictions {str(file.path)!r} cannot be scored: the model has none of the targets' "
            f"labels {', '.join(sorted(dropped))}; its labels are {', '.join(names)}."
        )
    targets = {a.target for a in file.answers}
    unmatched = Counter(a.label for a in kept if a.label not in targets)
    confusion = ConfusionMatrix.of(tuple(names), [a.target for a in kept], [a.label for a in kept])
    report = Report.of(confusion, ece=_calibration(kept), resamples=resamples, seed=seed)
    facts = {"predictions": str(file.path)} if facts is None else facts
    return Score(facts, report, dict(dropped.most_common()), dict(unmatched.most_common()))


def _calibration(answers: Sequence[Answer]) -> float | None:
    confidences = [a.confidence for a in answers if a.confidence is not None]
    if not confidences:
        return None
    return calibration_error(confidences, [a.target == a.label for a in answers])


def _counted(noun: str, numbers: Mapping[str, int]) -> str:
    (first, number), *others = numbers.items()
    head = f"{number} {noun}{'' if number == 1 else 's'} of {first}"
    return ", ".join([head, *(f"{count} of {name}" for name, count in others)])


def _flat(fold: Score) -> dict[str, Any]:
    report = fold.report.to_dict()
    row = {key: _cell(value) for key, value in fold.facts.items()}
    row["num_videos"] = report["num_videos"]
    for key in ("uar", "war"):
        low, high = report[f"{key}_ci"] or (None, None)
        row |= {key: report[key], f"{key}_low": low, f"{key}_high": high}
    row |= {"macro_f1": report["macro_f1"], "ece": report["ece"]}
    for key in ("support", "recall", "precision", "f1"):
        row |= {f"{key}_{name}": value for name, value in report[key].items()}
    return row | {"num_dropped": sum(fold.dropped.values())}


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, Mapping | list | tuple) else value
