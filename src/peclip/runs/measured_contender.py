"""What a comparison has measured of one contender, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peclip.errors import ConfigError
from peclip.files import replacing, write_rows
from peclip.metrics.prediction_file import read_predictions
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.report import Report
from peclip.runs.comparison_config import Contender
from peclip.text.bounds import read_text
from peclip.text.parsing import parse_json
from peclip.training.state import writing


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters and time of a contender."""

    trained: int
    """Parameters trained by this comparison."""
    total: int
    """All parameters, those of both towers included."""
    window_s: float | None
    """Seconds for the prediction of one window, without decoding; `None` if the model reads more than frames."""
    train_s: float | None
    """Seconds of training, without validation; `None` without training."""
    device: str
    precision: str


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The predictions of a contender, their scores, and its cost."""

    contender: Contender
    report: Report
    table: PredictionTable
    cost: Cost
    facts: Mapping[str, Any]
    """The penalty of a linear probe, or the epoch of another training, and a warning if there is one."""


def predictions_file(folder: Path, contender: Contender) -> Path:
    """Returns the file of the predictions of a contender in the folder of a comparison."""
    return folder / contender.folder_name / f"{contender.training}.csv"


def write_measured(folder: Path, measured: Measured) -> None:
    """Writes the files of a contender; that with the scores last, which marks it as finished.

    Raises:
        TrainingError: they cannot be written.
    """
    path = predictions_file(folder, measured.contender)
    content = {
        **measured.contender._asdict(),
        "cost": asdict(measured.cost),
        "facts": dict(measured.facts),
        "report": measured.report.to_dict(),
    }
    with writing(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(path, list(measured.table.rows()))
        with replacing(path.with_suffix(".json")) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_measured(folder: Path, contender: Contender) -> Measured | None:
    """Reads a contender that is finished; `None` if it is not.

    Raises:
        ConfigError: a file is corrupt.
    """
    path = predictions_file(folder, contender).with_suffix(".json")
    if not path.is_file():
        return None
    try:
        values = parse_json(read_text(path, limit=None))
        report, cost = Report.from_dict(values["report"]), Cost(**values["cost"])
        facts = dict(values["facts"])
    except Exception:  # a corrupt file lacks fields, or has other types of any depth
        raise ConfigError(
            f"{str(path)!r} is corrupt. Delete it and resume the comparison, which measures the model again."
        ) from None
    return Measured(contender, report, read_predictions(path.with_suffix(".csv")), cost, facts)
