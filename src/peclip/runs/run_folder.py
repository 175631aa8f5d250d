"""The folder of a run: its configuration, log and results."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from platform import platform, python_version
from typing import IO, Any

import torch

from peclip.errors import ConfigError, MissingExtraError, TrainingError
from peclip.files import replacing, write_rows
from peclip.metrics.plots import plot_confusion, plot_curve
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.report import Report
from peclip.results.figures import save_figure
from peclip.runs.recipe import RunConfig, read_recipe, run_config
from peclip.runs.run_files import (
    CONFIG,
    CONFUSION,
    CURVE,
    ENVIRONMENT,
    HISTORY,
    LOG,
    PREDICTIONS,
    REPORT,
    replaceable_files,
)
from peclip.text.comparison import differences
from peclip.training import checkpointer
from peclip.training.state import STATE, STATES, best_weights, writing
from peclip.weights.folder import is_stage

MAY_CHANGE = {
    *("data.root", "data.annotations", "data.captions", "data.votes", "report_to"),
    *(f"train.{name}" for name in checkpointer.MAY_CHANGE),
}
"""Fields that affect neither weights nor scores, so that a resumed run may change them.

The videos they lead to, with labels and captions, must not change: the state records the training and
validation videos.
"""


class RunFolder:
    """Writes the files of a run atomically.

    Args:
        path: made if needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def can_resume(self) -> bool:
        """Whether a state has been saved."""
        return (self.path / STATES / STATE).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the report exists, which is written last."""
        return (self.path / REPORT).is_file()

    def begin(self, *, overwrite: bool) -> None:
        """Makes the folder, or empties one of an earlier run.

        Raises:
            ConfigError: it is not empty, and `overwrite` is false or it is not a run folder.
        """
        held = replaceable_files(self.path, overwrite=overwrite)
        with writing(self.path):
            for entry in held:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            self.path.mkdir(parents=True, exist_ok=True)

    def check_unchanged(self, config: RunConfig) -> None:
        """Compares with the stored configuration of the run, if there is one.

        Raises:
            ConfigError: a field that affects the result differs; the message names it.
        """
        if not (self.path / CONFIG).is_file():
            return
        begun = run_config(read_recipe(str(self.path / CONFIG)))
        ignored = {f"stages.{stage.name}.{name}" for stage in config.stages for name in MAY_CHANGE}
        before, now = map(_comparable, (begun, config))
        changed = differences(before, now, ignored=MAY_CHANGE | ignored)
        if changed:
            raise ConfigError(
                f"The run in {str(self.path)!r} was started with different settings: "
                f"{', '.join(map(str, changed))}. Only {', '.join(sorted(MAY_CHANGE))} may "
                "change. Resume it with its original settings, or start a new "
                f"run.{best_weights(self.path / STATES)}"
            )

    def write(self, name: str, text: str) -> None:
        """Writes a text file."""
        with writing(self.path), replacing(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")

    def log(self, line: str) -> None:
        """Appends a timestamped line to the log.

        Raises:
            TrainingError: it cannot be written, or the folder was removed.
        """
        if not (self.path / CONFIG).is_file():
            raise TrainingError(
                f"The run folder {str(self.path)!r} was removed while it was being written. Start "
                "the run again."
            )
        with writing(self.path), self._open_log() as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def _open_log(self) -> IO[str]:
        return (self.path / LOG).open("a", encoding="utf-8", errors="backslashreplace")

    @contextmanager
    def logging_failures(self) -> Iterator[None]:
        """Logs the reason if the block fails or is interrupted."""
        try:
            yield
        except BaseException as error:
            asked = isinstance(error, (KeyboardInterrupt, SystemExit))
            reason = "interrupted" if asked else str(error) or type(error).__name__
            with suppress(TrainingError):  # with a full disk, logging fails too
                self.log(f"stopped: {reason}")
            raise

    def write_environment(self, device: str, **more: Any) -> None:
        """Writes the versions and the device of the run."""
        packages = ("peclip", "torch", "torchvision", "open_clip_torch", "av", "numpy")
        found = {
            "python": python_version(),
            "platform": platform(),
            "packages": {name: version(name) for name in packages},
            "cuda": torch.version.cuda,
            "device": device,
            **more,
        }
        self.write(ENVIRONMENT, json.dumps(found, indent=2) + "\n")

    def write_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Rewrites the file with one line per epoch, so that a resumed run duplicates none."""
        self.write(HISTORY, "".join(json.dumps(entry) + "\n" for entry in history))

    def draw_curve(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Plots loss, UAR and WAR over the epochs, if matplotlib is installed."""
        self._draw(lambda: plot_curve(history), CURVE)

    def write_predictions(self, table: PredictionTable, report: Report) -> None:
        """Writes the predictions and the confusion matrix."""
        with writing(self.path):
            write_rows(self.path / PREDICTIONS, list(table.rows()))
            self._write_confusion(report)
        self._draw(lambda: plot_confusion(report), f"{CONFUSION}.png")

    def write_report(self, report: Mapping[str, Any]) -> None:
        """Writes the report, which marks the run as finished."""
        self.write(REPORT, json.dumps(report, indent=2) + "\n")

    def _write_confusion(self, report: Report) -> None:
        matrix = zip(report.labels, report.confusion.counts.tolist(), strict=True)
        with (
            replacing(self.path / f"{CONFUSION}.csv") as partial,
            partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
        ):
            # Not by column names: a label may also be called target.
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["target", *report.labels])
            writer.writerows([name, *row] for name, row in matrix)

    def _draw(self, plot: Any, name: str) -> None:
        try:
            figure = plot()
        except (MissingExtraError, ConfigError) as error:
            self.log(f"{name} could not be plotted: {error}")
            return
        with writing(self.path):
            save_figure(figure, self.path / name)


def _comparable(config: RunConfig) -> dict[str, Any]:
    """Returns the settings of a run, with its stages by name."""
    values = config.model_dump(mode="json")
    values["stages"] = {stage["name"]: stage for stage in values["stages"]}
    if is_stage(
        Path(config.base)
    ):  # the run may have moved, with the stage that this one starts from
        values["base"] = Path(config.base).name
    return values
